"""The settings and the networks of learners that adapt: MAML, its variants and training from scratch."""

from __future__ import annotations

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from cactus_tf import plugins
from cactus_tf.backbones import _norms
from cactus_tf.config.schema import TrainingSettings, option
from cactus_tf.contracts import LearnerContext
from cactus_tf.errors import InputError
from cactus_tf.learners._inputs import network_input, network_name

DEFAULTS = TrainingSettings(backbone="conv4", filters=32, norm="batch", on_embeddings=False, query=5, tasks_per_step=8)
"""What CACTUs-MAML trains with on every data set. Hsu et al. 2019, table 5."""

LARGE_SIDE = 64
"""Images of this side and more take the network and the clipping that the authors have for 84x84."""

_LARGE_CLIP = 10.0


@dataclasses.dataclass(frozen=True)
class AdaptationOptions:
    """Settings of every learner that is meta-trained to adapt."""

    inner_lr: float = option(
        0.05,
        "rate of gradient descent on the support loss; the authors' scripts with resnet have 0.005 or 0.001",
        symbol="alpha",
        low=0,
        source="Hsu et al. 2019, table 5",
    )
    inner_steps: int = option(5, "adaptation steps in training", symbol="U", low=1, source="Hsu et al. 2019, table 5")
    eval_steps: int = option(
        50, "adaptation steps in evaluation", low=1, source="Hsu et al. 2019, table 5", evaluation_only=True
    )
    transductive: bool = option(
        True,
        "queries are normalised with their own statistics, as in the paper; false: with those of the support set",
        evaluation_only=True,
    )
    pooled: bool | None = option(None, "max-pooled conv4 in place of the strided one; unsaid, from 64 pixels a side")
    clip: float | None = option(
        None,
        "bound of each element of the outer gradient, 0 for none; unsaid 10 from 64 pixels a side",
        low=0,
    )
    vectorized: bool | None = option(
        None,
        "the tasks of a step share every kernel instead of running side by side; unsaid, on a GPU only",
        evaluation_only=True,
    )


@dataclasses.dataclass(frozen=True)
class Options(AdaptationOptions):
    """Settings of those whose outer loop has a gradient through the inner one."""

    first_order: bool = option(False, "inner gradients count as constants in the outer loop: first-order MAML")
    recompute: bool = option(
        False, "compute inner steps again in the outer gradient instead of keeping them in memory", evaluation_only=True
    )


def build_model(context: LearnerContext, *, pooled: bool | None = None, vectorized: bool = False):
    """The network of a learner that adapts, with the authors' weights at the start, and what it consumes.

    Args:
      context: says which network.
      pooled: max-pooled conv4 in place of the strided one; None by the size of the images.
      vectorized: convolve in the way that `tf.vectorized_map` can carry out for many tasks at once.

    Raises:
      InputError: a norm that keeps running averages, or an input that the backbone cannot take.
    """
    norm = context.norm or DEFAULTS.norm
    if norm == "running":
        raise InputError(
            "--norm=running keeps averages over tasks, and an adapted network has none: batch, layer, none"
        )
    consumes, shape = network_input(context)
    name = network_name(context, DEFAULTS)
    backbone = plugins.load("backbones", name)
    if pooled is not None and name != "conv4":
        raise InputError(f"pooled is a setting of conv4, and the network is {name}: leave it out")
    form: dict[str, Any] = {}
    if name == "conv4":
        form["pooled"] = is_large(shape) if pooled is None else pooled
        form["initialisers"] = "glorot"
        form["head_stddev"] = None if is_large(shape) else 1.0
    if vectorized and name != "mlp":
        form["convolution"] = "patches"
    made = _written_out_batch_norm if vectorized and norm == "batch" else norm
    filters = context.filters or getattr(backbone, "FILTERS", DEFAULTS.filters)
    model = backbone.build(shape, context.way, filters=filters, norm=made, seed=context.seed, **form)
    return model, consumes


def _written_out_batch_norm(name: str) -> keras.layers.Layer:
    return _norms.BatchStatisticsNorm(fused=False, name=name)


def is_vectorized(options: AdaptationOptions) -> bool:
    """Whether the tasks of a step share every kernel. A GPU would starve on a launch per task and kernel."""
    return bool(tf.config.list_physical_devices("GPU")) if options.vectorized is None else options.vectorized


def is_large(shape: tuple[int, ...]) -> bool:
    """Whether images are large enough for what the authors do at 84x84."""
    return len(shape) == 3 and min(shape[:2]) >= LARGE_SIDE


def clip_of(options: AdaptationOptions, model: keras.Model) -> float | None:
    """The bound of the outer gradient's elements. The authors clip on the 84x84 data sets only."""
    usual = _LARGE_CLIP if is_large(model.input_shape[1:]) else None
    return usual if options.clip is None else options.clip or None


def everything_but_norms(layer: keras.layers.Layer) -> bool:
    """What MAML adapts: convolutions, biases and head. Offsets of norms are shared by all tasks."""
    return not isinstance(layer, _norms.LAYERS)


def head_only(layer: keras.layers.Layer) -> bool:
    """What ANIL adapts."""
    return layer.name == "head"


def everything(layer: keras.layers.Layer) -> bool:
    """What Reptile adapts."""
    return True
