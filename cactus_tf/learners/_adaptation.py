"""Gradient descent on a support set: what MAML, its variants and training from scratch share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from cactus_tf import norms, plugins
from cactus_tf.config import TrainingSettings, option
from cactus_tf.errors import InputError
from cactus_tf.learners._inputs import network_input, network_name
from cactus_tf.losses import summed_loss, unit_range
from cactus_tf.types import Array, LearnerContext, Trace

USUAL = TrainingSettings(backbone="conv4", filters=32, norm="batch", on_embeddings=False, query=5, tasks_per_step=8)
"""What CACTUs-MAML trains with on every data set. Hsu et al. 2019, table 5."""

LARGE_SIDE = 64
"""Images of this side and more take the network and the clipping that the authors have for 84x84."""

_LARGE_CLIP = 10.0


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of learners that are meta-trained to adapt."""

    inner_lr: float = option(
        0.05, "rate of gradient descent on the support loss", symbol="alpha", low=0, source="Hsu et al. 2019, table 5"
    )
    inner_steps: int = option(5, "adaptation steps in training", symbol="U", low=1, source="Hsu et al. 2019, table 5")
    eval_steps: int = option(50, "adaptation steps in evaluation", low=1, source="Hsu et al. 2019, table 5")
    first_order: bool = option(False, "inner gradients count as constants in the outer loop: first-order MAML")
    transductive: bool = option(
        True, "queries are normalised with their own statistics, as in the paper; false: with those of the support set"
    )
    pooled: bool | None = option(None, "max-pooled conv4 in place of the strided one; unsaid, from 64 pixels a side")
    clip: float | None = option(
        None, "bound of each element of the outer gradient; unsaid 10 from 64 pixels a side, else none", low=0
    )
    vectorized: bool | None = option(
        None, "the tasks of a step share every kernel instead of running side by side; unsaid, on a GPU only"
    )
    recompute: bool = option(False, "compute inner steps again in the outer gradient instead of keeping them in memory")


class AdaptedNetwork:
    """A network whose answer comes after gradient descent on the support set, from the same start for every task.

    Args:
      model: Keras backbone from [n, ...] to [n, classes] logits.
      rates: of each adapted variable: a number, or a tensor of the variable's shape.
      adapts: whether the variables of a layer are adapted.
      eval_steps: steps in front of an answer.
      transductive: queries are normalised with their own statistics where the norm is one of the batch.
      consumes: what the rows are.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        rates: Callable[[keras.Variable], Any],
        adapts: Callable[[keras.layers.Layer], bool],
        eval_steps: int,
        transductive: bool = True,
        consumes: Literal["images", "embeddings"] = "images",
    ):
        self.model, self.eval_steps, self.consumes = model, eval_steps, consumes
        adapted = {id(v) for layer in model.layers if adapts(layer) for v in layer.trainable_variables}
        self._adapted = [i for i, v in enumerate(model.trainable_variables) if id(v) in adapted]
        self._rates = rates
        self.transductive = transductive and bool(model.non_trainable_variables)
        self._compiled = tf.function(self._trace, autograph=False)

    @property
    def classes(self) -> int:
        """Logits of the head, the largest way."""
        return self.model.output_shape[-1]

    @property
    def adapted_variables(self) -> list[keras.Variable]:
        """What adaptation changes."""
        return [self.model.trainable_variables[i] for i in self._adapted]

    def start(self) -> list[tf.Tensor]:
        """The weights before adaptation, in the order of the model's trainable variables."""
        return [tf.convert_to_tensor(v) for v in self.model.trainable_variables]

    def logits(self, weights: Sequence[tf.Tensor], rows: tf.Tensor, way: int) -> tf.Tensor:
        """[n, way] logits with the batch's own statistics, the head cut to its first outputs."""
        return self._forward(weights, rows)[0][:, :way]

    def adapt(
        self,
        rows: tf.Tensor,
        labels: tf.Tensor,
        way: int,
        steps: int,
        *,
        first_order: bool = False,
        recompute: bool = False,
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """theta_j+1 = theta_j - alpha grad L(theta_j), so many times. Finn et al. 2017, section 2.2.

        Args:
          rows: [n, ...] support set, images as float32 in 0..1.
          labels: [n] integers.
          way: number of classes.
          steps: U.
          first_order: the gradients count as constants.
          recompute: keep nothing of a step for the outer gradient but its weights.

        Returns:
          The adapted weights, and the support logits [n, way] before adaptation.
        """

        def step(weights):
            adapted, logits, _ = self._step(weights, rows, labels, way, first_order)
            return (*adapted, logits)

        run = recomputed(step) if recompute else step
        weights, first = self.start(), None
        for _ in range(steps):
            *weights, logits = run(weights)
            first = logits if first is None else first
        return weights, first

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> tf.Tensor:
        """Logits [m, way] of the queries after `eval_steps` steps.

        Raises:
          InputError: more classes than the head has outputs.
        """
        return self.trace(support, support_labels, query, way).query[-1]

    def trace(self, support: Array, support_labels: Array, query: Array, way: int) -> Trace:
        """Logits before adaptation and after each of `eval_steps` steps; arguments as of `classify`.

        Raises:
          InputError: more classes than the head has outputs.
        """
        if way > self.classes:
            raise InputError(
                f"{way} classes are more than the {self.classes} outputs of the head, whose number is that of --way: "
                f"lower --eval_ways to {self.classes} or train with a larger --way"
            )
        rows = (tf.convert_to_tensor(x) for x in (support, query))
        return Trace(*self._compiled(*rows, tf.cast(support_labels, tf.int32), way=way))

    def _trace(self, support, query, labels, *, way: int):
        support, query = unit_range(support), unit_range(query)

        def answers(weights, statistics):
            return self._forward(weights, query, None if self.transductive else statistics)[0][:, :way]

        def body(step, weights, support_logits, query_logits):
            adapted, logits, statistics = self._step(weights, support, labels, way, first_order=True)
            told = query_logits.write(step, answers(weights, statistics))
            return step + 1, adapted, support_logits.write(step, logits), told

        arrays = [tf.TensorArray(self.model.compute_dtype, self.eval_steps + 1) for _ in range(2)]
        _, weights, *arrays = tf.while_loop(
            lambda step, *_: step < self.eval_steps, body, (0, self.start(), *arrays), parallel_iterations=1
        )
        logits, statistics = self._forward(weights, support)
        arrays[0] = arrays[0].write(self.eval_steps, logits[:, :way])
        arrays[1] = arrays[1].write(self.eval_steps, answers(weights, statistics))
        return arrays[0].stack(), arrays[1].stack()

    def _step(self, weights, rows, labels, way: int, first_order: bool):
        """The weights after a step, and the logits and statistics of the support set before it."""
        adapted = [weights[i] for i in self._adapted]
        with tf.GradientTape() as tape:
            tape.watch(adapted)
            logits, statistics = self._forward(weights, rows)
            loss = summed_loss(logits[:, :way], labels, way)
        gradients = tape.gradient(loss, adapted, unconnected_gradients="zero")
        after = list(weights)
        for i, weight, gradient in zip(self._adapted, adapted, gradients, strict=True):
            direction = tf.stop_gradient(gradient) if first_order else gradient
            after[i] = weight - self._rates(self.model.trainable_variables[i]) * direction
        return after, logits[:, :way], statistics

    def _forward(self, weights, rows, statistics=None):
        """Logits, and the statistics of the batch; with `statistics` of another batch, normalised with those."""
        kept = [tf.convert_to_tensor(v) for v in self.model.non_trainable_variables]
        return self.model.stateless_call(list(weights), statistics or kept, rows, training=not statistics)


def recomputed(step: Callable) -> Callable:
    """The same function of a list of tensors, of which nothing but the arguments is kept for its gradient.

    `tf.recompute_grad` cannot take a function that has a gradient inside.

    Args:
      step: from a list of tensors to a sequence of tensors; differentiable in the list.
    """

    @tf.custom_gradient
    def run(*weights):
        def gradient(*upstream):
            with tf.control_dependencies(upstream):  # not before the outer gradient gets here
                again = [tf.identity(w) for w in weights]
            with tf.GradientTape() as tape:
                tape.watch(again)
                outputs = step(again)
            return tape.gradient(outputs, again, output_gradients=upstream, unconnected_gradients="zero")

        return tuple(step(list(weights))), gradient

    return lambda weights: run(*weights)


def build_model(context: LearnerContext, *, pooled: bool | None = None, vectorized: bool = False):
    """The network of a learner that adapts, with the authors' weights at the start, and what it consumes.

    Args:
      context: says which network.
      pooled: max-pooled conv4 in place of the strided one; None by the size of the images.
      vectorized: convolve in the way that `tf.vectorized_map` can carry out for many tasks at once.

    Raises:
      InputError: a norm that keeps running averages, or an input that the backbone cannot take.
    """
    norm = context.norm or USUAL.norm
    if norm == "running":
        raise InputError(
            "--norm=running keeps averages over tasks, and an adapted network has none: batch, layer, none"
        )
    consumes, shape = network_input(context)
    name = network_name(context, USUAL)
    form: dict[str, Any] = {}
    if name == "conv4":
        form["pooled"] = is_large(shape) if pooled is None else pooled
        form["initialisers"] = "glorot"
        form["head_stddev"] = None if is_large(shape) else 1.0
    if vectorized and name != "mlp":
        form["convolution"] = "patches"
    made = _written_out_batch_norm if vectorized and norm == "batch" else norm
    model = plugins.load("backbones", name).build(
        shape, context.way, filters=context.filters or USUAL.filters, norm=made, seed=context.seed, **form
    )
    return model, consumes


def _written_out_batch_norm(name: str) -> keras.layers.Layer:
    return norms.BatchStatisticsNorm(fused=False, name=name)


def is_vectorized(options: Options) -> bool:
    """Whether the tasks of a step share every kernel. A GPU would starve on a launch per task and kernel."""
    return bool(tf.config.list_physical_devices("GPU")) if options.vectorized is None else options.vectorized


def is_large(shape: tuple[int, ...]) -> bool:
    """Whether images are large enough for what the authors do at 84x84."""
    return len(shape) == 3 and min(shape[:2]) >= LARGE_SIDE


def clip_of(options: Options, model: keras.Model) -> float | None:
    """The bound of the outer gradient's elements. The authors clip on the 84x84 data sets only."""
    usual = _LARGE_CLIP if is_large(model.input_shape[1:]) else None
    return options.clip if options.clip is not None else usual


def everything_but_norms(layer: keras.layers.Layer) -> bool:
    """What MAML adapts: convolutions, biases and head. Offsets of norms are shared by all tasks."""
    return not isinstance(layer, norms.LAYERS)


def head_only(layer: keras.layers.Layer) -> bool:
    """What ANIL adapts."""
    return layer.name == "head"


def everything(layer: keras.layers.Layer) -> bool:
    """What Reptile adapts."""
    return True
