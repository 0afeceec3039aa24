"""A network that adapts to a support set by gradient descent: what all learners that adapt share."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import keras
import tensorflow as tf

from cactus_tf.contracts import Answer
from cactus_tf.errors import InputError
from cactus_tf.fewshot.losses import summed_loss, unit_range
from cactus_tf.types import Array, Trace


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
        rows = tf.TensorSpec(model.input_shape, tf.float32)
        specs = [rows, tf.TensorSpec((None,), tf.int32)]
        self._adapted_to = functools.cache(
            lambda way: tf.function(functools.partial(self._end, way=way), input_signature=specs, autograph=False)
        )
        self._answers = tf.function(self._forward, autograph=False, reduce_retracing=True)

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
        weights, rates, first = self.start(), self._rate_of_each(), None
        meta_learned = rates if all(tf.is_tensor(rate) for rate in rates) else []

        def step(tensors):
            now, learned = tensors[: len(weights)], tensors[len(weights) :]
            after, logits, _ = self._step(now, learned or rates, rows, labels, way, first_order)
            return (*after, logits)

        run = recomputed(step) if recompute else step
        for _ in range(steps):
            *weights, logits = run([*weights, *meta_learned])
            first = logits if first is None else first
        return weights, first

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> tf.Tensor:
        """Logits [m, way] of the queries after `eval_steps` steps.

        Raises:
          InputError: more classes than the head has outputs.
        """
        return self.trace(support, support_labels, query, way).query[-1]

    def trace(self, support: Array, support_labels: Array, query: Array, way: int, steps: int | None = None) -> Trace:
        """Logits before adaptation and after each step of it; arguments as of `classify`.

        Args:
          support, support_labels, query, way: as of `classify`.
          steps: how many; None takes `eval_steps`.

        Raises:
          InputError: more classes than the head has outputs.
        """
        if way > self.classes:
            raise InputError(
                f"{way} classes are more than the {self.classes} outputs of the head, whose number is that of --way: "
                f"lower --eval_ways to {self.classes} or train with a larger --way"
            )
        rows = (tf.convert_to_tensor(x) for x in (support, query))
        steps = self.eval_steps if steps is None else steps
        return Trace(*self._compiled(*rows, tf.cast(support_labels, tf.int32), way=way, steps=steps))

    def answerer(self, support: Array, support_labels: Array, way: int, transductive: bool = False) -> Answer:
        """Adapts once, `eval_steps` steps; gives the function from queries [m, ...] to logits [m, way].

        Args:
          support, support_labels, way: as of `classify`.
          transductive: where the norm is one of the batch, queries are normalised with their own statistics, as in
            training; else with those of the support set, so that no answer depends on another query.

        Raises:
          InputError: more classes than the head has outputs.
        """
        if way > self.classes:
            raise InputError(
                f"{way} classes are more than the {self.classes} outputs of the head, which --way of the training "
                "fixed: give fewer classes, train with a larger --way, or take protonets, which have no head"
            )
        labels = tf.cast(support_labels, tf.int32)
        weights, statistics = self._adapted_to(way)(unit_range(support), labels)
        given = None if transductive else statistics
        return lambda query: self._answers(weights, unit_range(query), given)[0][:, :way]

    def classify_in_graph(self, support: Array, support_labels: Array, query: Array, way: Array) -> tf.Tensor:
        """Logits [m, way] of the queries after `eval_steps` steps, each normalised as by `answerer`; of tensors."""
        told = f"the head has {self.classes} outputs, so labels must be in 0..{self.classes - 1}"
        with tf.control_dependencies([tf.debugging.assert_less_equal(way, self.classes, message=told)]):
            weights, statistics = self._end(unit_range(support), tf.identity(support_labels), way=way)
        return self._forward(weights, unit_range(query), statistics)[0][:, :way]

    def _end(self, rows, labels, *, way):
        """The adapted weights, and the norms' statistics of the support set with them."""
        _, weights = tf.while_loop(
            lambda step, _: step < self.eval_steps,
            lambda step, now: (step + 1, self._step(now, self._rate_of_each(), rows, labels, way, first_order=True)[0]),
            (0, self.start()),
            parallel_iterations=1,
        )
        return weights, self._forward(weights, rows)[1]

    def _trace(self, support, query, labels, *, way: int, steps: int):
        """Logits [steps + 1, n, way] of the support set and [steps + 1, m, way] of the queries."""
        support, query, rates = unit_range(support), unit_range(query), self._rate_of_each()

        def answers(weights, statistics):
            return self._forward(weights, query, None if self.transductive else statistics)[0][:, :way]

        def body(step, weights, support_logits, query_logits):
            adapted, logits, statistics = self._step(weights, rates, support, labels, way, first_order=True)
            told = query_logits.write(step, answers(weights, statistics))
            return step + 1, adapted, support_logits.write(step, logits), told

        arrays = [tf.TensorArray(self.model.compute_dtype, steps + 1) for _ in range(2)]
        _, weights, *arrays = tf.while_loop(
            lambda step, *_: step < steps, body, (0, self.start(), *arrays), parallel_iterations=1
        )
        logits, statistics = self._forward(weights, support)
        arrays[0] = arrays[0].write(steps, logits[:, :way])
        arrays[1] = arrays[1].write(steps, answers(weights, statistics))
        return arrays[0].stack(), arrays[1].stack()

    def _rate_of_each(self) -> list:
        """Of every adapted variable: a number, or a tensor of its shape."""
        return [self._rates(variable) for variable in self.adapted_variables]

    def _step(self, weights, rates, rows, labels, way: int, first_order: bool):
        """The weights after a step; the logits [n, way] of the support set and the norms' statistics before it."""
        adapted = [weights[i] for i in self._adapted]
        with tf.GradientTape() as tape:
            tape.watch(adapted)
            logits, statistics = self._forward(weights, rows)
            loss = summed_loss(logits[:, :way], labels, way)
        gradients = tape.gradient(loss, adapted, unconnected_gradients="zero")
        after = list(weights)
        for i, weight, rate, gradient in zip(self._adapted, adapted, rates, gradients, strict=True):
            after[i] = weight - rate * (tf.stop_gradient(gradient) if first_order else gradient)
        return after, logits[:, :way], statistics

    def _forward(self, weights, rows, statistics=None):
        """Logits [n, classes], and the batch's means and variances, a [channels] each for every norm.

        With `statistics` of another batch, the rows are normalised with those.
        """
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
