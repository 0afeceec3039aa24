"""The inner loop: gradient descent on the support loss, from the same initial weights for every task."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from cactus_tf.fewshot.losses import summed_loss, unit_range


class AdaptedNetwork:
    """A network as a function of its weights, and the inner loop that adapts them to a support set.

    Weights are lists of tensors in the order of the model's trainable variables.

    Args:
      model: Keras backbone from [n, ...] to [n, classes] logits.
      rates: variable -> alpha, its inner rate: a number, or a tensor of the variable's shape.
      adapts: whether the inner loop changes the variables of a layer.
      consumes: what the rows are.
      vectorized: whether `tf.vectorized_map` runs the tasks of an outer step through the network.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        rates: Callable[[keras.Variable], Any],
        adapts: Callable[[keras.layers.Layer], bool],
        consumes: Literal["images", "embeddings"] = "images",
        vectorized: bool = False,
    ):
        self.model, self._rates, self.consumes, self.vectorized = model, rates, consumes, vectorized
        adapted = {id(v) for layer in model.layers if adapts(layer) for v in layer.trainable_variables}
        self._adapted = [i for i, v in enumerate(model.trainable_variables) if id(v) in adapted]
        self.compiled_trace = tf.function(self.trace, autograph=False)
        self.compiled_forward = tf.function(self.forward, autograph=False, reduce_retracing=True)
        self.compiled_answer = functools.cache(self._compiled_answer)
        self.compiled_descend = functools.cache(self._compiled_descend)

    @property
    def classes(self) -> int:
        """Number of outputs of the head, the largest way."""
        return self.model.output_shape[-1]

    @property
    def uses_batch_statistics(self) -> bool:
        """Whether a row's logits depend on the other rows."""
        return bool(self.model.non_trainable_variables)

    @property
    def adapted_variables(self) -> list[keras.Variable]:
        """The variables whose values the inner loop starts from and changes."""
        return [self.model.trainable_variables[i] for i in self._adapted]

    def start(self) -> list[tf.Tensor]:
        """theta, the weights before adaptation."""
        return [tf.convert_to_tensor(v) for v in self.model.trainable_variables]

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
        """The inner loop of training: theta_j+1 = theta_j - alpha grad L(theta_j). Finn et al. 2017, section 2.2.

        Args:
          rows: [n, ...] support set, images as float32 in 0..1.
          labels: [n] integers.
          way: N, number of classes.
          steps: U.
          first_order: treat the gradients as constants.
          recompute: store only the weights of each step for the outer gradient.

        Returns:
          theta_U, and the support logits [n, way] before adaptation.
        """
        weights, rates, first = self.start(), self._inner_rates(), None
        learned_rates = rates if all(tf.is_tensor(rate) for rate in rates) else []

        def step(tensors: list[tf.Tensor]) -> tuple[tf.Tensor, ...]:
            now, learned = tensors[: len(weights)], tensors[len(weights) :]
            after, logits, _ = self.inner_step(now, learned or rates, rows, labels, way, first_order)
            return (*after, logits)

        run = recomputed(step) if recompute else step
        for _ in range(steps):
            *weights, logits = run([*weights, *learned_rates])
            first = logits if first is None else first
        return weights, first

    def inner_step(
        self, weights: list[tf.Tensor], rates: list, rows: tf.Tensor, labels: tf.Tensor, way: Any, first_order: bool
    ) -> tuple[list[tf.Tensor], tf.Tensor, list[tf.Tensor]]:
        """One step of gradient descent on the support loss: theta' = theta - alpha grad L(theta).

        Returns:
          theta'; and at theta, the support logits [n, way] and the norms' statistics.
        """
        adapted = [weights[i] for i in self._adapted]
        with tf.GradientTape() as tape:
            tape.watch(adapted)
            logits, statistics = self.forward(weights, rows)
            loss = summed_loss(logits[:, :way], labels, way)
        gradients = tape.gradient(loss, adapted, unconnected_gradients="zero")
        after = list(weights)
        for i, weight, rate, gradient in zip(self._adapted, adapted, rates, gradients, strict=True):
            after[i] = weight - rate * (tf.stop_gradient(gradient) if first_order else gradient)
        return after, logits[:, :way], statistics

    def descend(self, rows: tf.Tensor, labels: tf.Tensor, *, way: Any, steps: int) -> tuple[list, list]:
        """The inner loop of evaluation: adapted weights, and the norms' statistics of the support set with them."""
        rates = self._inner_rates()
        _, weights = tf.while_loop(
            lambda step, _: step < steps,
            lambda step, weights: (step + 1, self.inner_step(weights, rates, rows, labels, way, first_order=True)[0]),
            (0, self.start()),
            parallel_iterations=1,
        )
        return weights, self.forward(weights, rows)[1]

    def answer(
        self, support: tf.Tensor, labels: tf.Tensor, query: tf.Tensor, *, way: int, steps: int, transductive: bool
    ) -> tf.Tensor:
        """[m, way] logits of the queries after the inner loop of evaluation: the last ones of `trace`."""
        weights, statistics = self.descend(unit_range(support), labels, way=way, steps=steps)
        return self.forward(weights, unit_range(query), None if transductive else statistics)[0][:, :way]

    def trace(
        self, support: tf.Tensor, query: tf.Tensor, labels: tf.Tensor, *, way: int, steps: int, transductive: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The inner loop of evaluation with the logits before and after each step.

        Returns:
          [steps + 1, n, way] logits of the support set and [steps + 1, m, way] of the queries.
        """
        support, query, rates = unit_range(support), unit_range(query), self._inner_rates()

        def predict(weights: list[tf.Tensor], statistics: list[tf.Tensor]) -> tf.Tensor:
            return self.forward(weights, query, None if transductive else statistics)[0][:, :way]

        def body(step: tf.Tensor, weights: list, support_logits: tf.TensorArray, query_logits: tf.TensorArray) -> tuple:
            after, logits, statistics = self.inner_step(weights, rates, support, labels, way, first_order=True)
            query_logits = query_logits.write(step, predict(weights, statistics))
            return step + 1, after, support_logits.write(step, logits), query_logits

        arrays = [tf.TensorArray(self.model.outputs[0].dtype, steps + 1) for _ in range(2)]
        _, weights, support_logits, query_logits = tf.while_loop(
            lambda step, *_: step < steps, body, (0, self.start(), *arrays), parallel_iterations=1
        )
        logits, statistics = self.forward(weights, support)
        support_logits = support_logits.write(steps, logits[:, :way])
        query_logits = query_logits.write(steps, predict(weights, statistics))
        return support_logits.stack(), query_logits.stack()

    def logits(self, weights: Sequence[tf.Tensor], rows: tf.Tensor, way: int) -> tf.Tensor:
        """[n, way] logits with the batch's own statistics, from the first outputs of the head."""
        return self.forward(weights, rows)[0][:, :way]

    def forward(
        self, weights: Sequence[tf.Tensor], rows: tf.Tensor, statistics: list[tf.Tensor] | None = None
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Logits [n, classes], and the mean and variance [channels] of the batch at every norm.

        With `statistics` of another batch, the rows are normalized with those.
        """
        unused = [tf.convert_to_tensor(v) for v in self.model.non_trainable_variables]
        return self.model.stateless_call(list(weights), statistics or unused, rows, training=not statistics)

    def _inner_rates(self) -> list:
        """alpha of every adapted variable: a number, or a tensor of its shape."""
        return [self._rates(variable) for variable in self.adapted_variables]

    def _compiled_answer(self, way: int, steps: int, transductive: bool) -> Callable:
        """`answer` with these arguments."""
        return tf.function(
            functools.partial(self.answer, way=way, steps=steps, transductive=transductive), autograph=False
        )

    def _compiled_descend(self, way: int, steps: int) -> Callable:
        """`descend` for any number of rows."""
        signature = [tf.TensorSpec(self.model.input_shape, tf.float32), tf.TensorSpec((None,), tf.int32)]
        descend = functools.partial(self.descend, way=way, steps=steps)
        return tf.function(descend, input_signature=signature, autograph=False)


def recomputed(step: Callable) -> Callable:
    """The same function, but its gradient stores only the arguments and computes the function again.

    `tf.recompute_grad` does not work for functions that contain a gradient.

    Args:
      step: from a list of tensors to a sequence of tensors; differentiable in the list.
    """

    @tf.custom_gradient
    def run(*weights: tf.Tensor) -> tuple:
        def gradient(*upstream: tf.Tensor) -> list[tf.Tensor]:
            with tf.control_dependencies(upstream):  # not before the outer gradient gets here
                again = [tf.identity(w) for w in weights]
            with tf.GradientTape() as tape:
                tape.watch(again)
                outputs = step(again)
            return tape.gradient(outputs, again, output_gradients=upstream, unconnected_gradients="zero")

        return tuple(step(list(weights))), gradient

    return lambda weights: run(*weights)
