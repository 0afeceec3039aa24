"""The networks that adapt: which network, which of its layers, and the authors' choices by image size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cactus_tf import plugins
from cactus_tf.backbones import LAYERS, BatchStatisticsNorm
from cactus_tf.contracts import LearnerContext
from cactus_tf.errors import InputError
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.learners._adaptation.options import DEFAULTS, AdaptationOptions
from cactus_tf.learners._inputs import network_dtype, network_input, network_name, network_width

LARGE_SIDE = 64
"""From this side on, images get the network and the gradient clipping that the authors use at 84x84."""

_LARGE_CLIP = 10.0


def build_network(
    context: LearnerContext,
    options: AdaptationOptions,
    *,
    adapts: Callable[[keras.layers.Layer], bool],
    rates: Callable[[keras.Variable], Any] | None = None,
) -> AdaptedNetwork:
    """The network of a learner that adapts, with the authors' initial weights.

    Args:
      context: of the learner.
      options: of its adaptation.
      adapts: whether the inner loop changes the variables of a layer.
      rates: variable -> its inner rate; default: `inner_lr` for all.
    """
    norm = context.norm or DEFAULTS.norm
    if norm == "running":
        raise InputError(
            "--norm=running averages statistics over tasks, which an adapted network cannot use: "
            "choose batch, layer or none"
        )
    consumes, shape = network_input(context)
    name = network_name(context, DEFAULTS)
    vectorized = _is_vectorized(name, options)
    backbone = plugins.load("backbones", name)
    model = backbone.build(
        shape,
        context.way,
        filters=network_width(context, backbone.INFO, DEFAULTS),
        norm=_unfused_batch_norm if vectorized and norm == "batch" else norm,
        seed=context.seed,
        **network_dtype(context, name, backbone.INFO),
        **_optional_arguments(name, shape, options.pooled, vectorized),
    )
    rates = rates or (lambda _: options.inner_lr)
    return AdaptedNetwork(model, rates=rates, adapts=adapts, consumes=consumes, vectorized=vectorized)


def _optional_arguments(name: str, shape: tuple[int, ...], pooled: bool | None, vectorized: bool) -> dict[str, Any]:
    """The authors' choices for the arguments that the backbone declares."""
    accepted = plugins.info("backbones", name).arguments
    if pooled is not None and "pooled" not in accepted:
        raise InputError(f"pooled is a setting of conv4, and the network is {name}: leave it out")
    large = is_large(shape)
    arguments = {
        "pooled": large if pooled is None else pooled,
        "initializers": "glorot",
        "head_stddev": None if large else 1.0,
        "convolution": "patches" if vectorized else "kernel",
    }
    return {argument: value for argument, value in arguments.items() if argument in accepted}


def _unfused_batch_norm(name: str) -> keras.layers.Layer:
    return BatchStatisticsNorm(fused=False, name=name)


def _is_vectorized(name: str, options: AdaptationOptions) -> bool:
    """Whether the tasks of a step share every kernel. One launch per task and kernel would leave a GPU idle.

    `tf.vectorized_map` cannot run TensorFlow's convolution with a kernel per task, so a network on images must offer
    another form of it.
    """
    if options.vectorized is not None:
        return options.vectorized
    info = plugins.info("backbones", name)
    possible = info.consumes == "embeddings" or "convolution" in info.arguments
    return possible and bool(tf.config.list_physical_devices("GPU"))


def is_large(shape: tuple[int, ...]) -> bool:
    """Whether images are large enough for the authors' choices at 84x84."""
    return len(shape) == 3 and min(shape[:2]) >= LARGE_SIDE


def gradient_clip(options: AdaptationOptions, model: keras.Model) -> float | None:
    """The bound of the outer gradient's elements. The authors clip on the 84x84 data sets only."""
    default = _LARGE_CLIP if is_large(model.input_shape[1:]) else None
    return default if options.clip is None else options.clip or None


def everything_but_norms(layer: keras.layers.Layer) -> bool:
    """The layers that MAML adapts: convolutions and head. The betas of norms are shared by all tasks."""
    return not isinstance(layer, LAYERS)


def head_only(layer: keras.layers.Layer) -> bool:
    """The layer that ANIL adapts."""
    return layer.name == "head"


def everything(layer: keras.layers.Layer) -> bool:
    """The layers that Reptile adapts."""
    return True
