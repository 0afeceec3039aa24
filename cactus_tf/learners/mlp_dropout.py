"""A small network with dropout, trained on the embeddings of each support set. Hsu et al. 2019, section 4.

The authors stop when the loss of the queries no longer falls, which takes the labels that are asked for. Here the
number of steps is fixed: on validation tasks of Omniglot (the 256 main directions of its pixels; 5 and 20 way, 1 and 5
shot) accuracy rises with it up to 500, the most that the authors allow; 200 are within one point of that in all four.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.config.schema import option
from cactus_tf.contracts import LearnerContext
from cactus_tf.fewshot.losses import query_loss
from cactus_tf.learners._inputs import canonical_order
from cactus_tf.types import Array
from cactus_tf.utils.seeds import derive

USES_EMBEDDINGS = True

_RATE = 1e-3  # of Adam, full batch; the authors' code
_MOST_EPOCHS, _PATIENCE = 500, 2  # of the leaking rule; the authors' code


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the network with dropout."""

    units: int = option(128, "units of the hidden layer", low=1, evaluation_only=True)
    rate: float = option(0.5, "part of the hidden units that is dropped", low=0, high=0.99, evaluation_only=True)
    epochs: int = option(200, "steps of Adam on the whole support set", low=1, evaluation_only=True)
    legacy_leak: bool = option(
        False,
        "stop when the loss of the queries, which is the answer asked for, has not fallen for 2 epochs, as the "
        "authors' code does; results.json marks such rows with leak",
        evaluation_only=True,
    )


def build(context: LearnerContext, options: Options | None = None) -> MlpDropout:
    """The network; of the context only the seed matters."""
    return MlpDropout(context.seed, options or Options())


class MlpDropout:
    """Dense ReLU layer, dropout, dense layer; a new network per task, by Adam on the mean loss of the support set.

    Weights and dropout masks follow from the seed and the support set, whatever its order, so an answer depends neither
    on the tasks before it nor on how often it is asked for.

    Args:
      seed: of the start weights and dropout masks.
      options: of network and training.

    Attributes:
      leak: whether evaluation is to call `classify_leaking` in place of `classify`.
    """

    consumes: Literal["images", "embeddings"] = "embeddings"

    def __init__(self, seed: int, options: Options):
        self._seed, self._options, self.leak = seed, options, options.legacy_leak
        self.network = functools.cache(lambda dim, way: TaskNetwork(dim, way, options.units, options.rate))

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> np.ndarray:
        """Logits [m, way] float32 of the queries after `epochs` steps."""
        support, labels = canonical_order(support, support_labels)
        network = self._restarted(support, labels, way)
        network.fit(support, labels, tf.constant(self._options.epochs))
        return network.logits(query)

    def classify_leaking(
        self, support: Array, support_labels: Array, query: Array, query_labels: Array, way: int
    ) -> np.ndarray:
        """As `classify`, with as many steps as the queries' own labels like best: not a fair answer.

        The authors' early stopping: at most 500 steps, and none after 2 in a row that did not lower the lowest loss of
        the queries; the weights are those of the last step.
        """
        support, labels = canonical_order(support, support_labels)
        network = self._restarted(support, labels, way)
        network.fit_leaking(support, labels, np.float32(query), np.int32(query_labels))
        return network.logits(query)

    def _restarted(self, support: np.ndarray, labels: np.ndarray, way: int) -> TaskNetwork:
        network = self.network(support.shape[1], way)
        task = hashlib.sha256(support.tobytes() + labels.tobytes()).hexdigest()
        network.restart(derive(self._seed, f"mlp_dropout {task}"))
        return network


class TaskNetwork:
    """One network for all tasks of a shape; `restart` makes it new, and the compiled functions stay.

    Args:
      dim: length of an embedding.
      way: number of outputs.
      units, rate: of hidden layer and dropout.
    """

    def __init__(self, dim: int, way: int, units: int, rate: float):
        self.dropout = keras.layers.Dropout(rate, seed=0)
        hidden, head = keras.layers.Dense(units, activation="relu"), keras.layers.Dense(way)
        self.model = keras.Sequential([keras.Input((dim,)), hidden, self.dropout, head])
        self.optimizer = keras.optimizers.Adam(_RATE)
        self.optimizer.build(self.model.trainable_variables)
        self._fresh = [np.array(variable) for variable in self.optimizer.variables]
        rows, labels = tf.TensorSpec((None, dim), tf.float32), tf.TensorSpec((None,), tf.int32)
        self.fit = tf.function(self._fit, input_signature=[rows, labels, tf.TensorSpec((), tf.int32)])
        self.fit_leaking = tf.function(self._fit_leaking, input_signature=[rows, labels, rows, labels])
        self._answer = tf.function(lambda x: self.model(x, training=False), input_signature=[rows])

    def restart(self, seed: int) -> None:
        """Glorot uniform kernels, zero biases, Adam's moments zero, dropout at the beginning of its stream."""
        for i, variable in enumerate(self.model.trainable_variables):
            glorot = keras.initializers.GlorotUniform(derive(seed, f"kernel {i}") % 2**32)
            variable.assign(glorot(variable.shape) if len(variable.shape) == 2 else np.zeros(variable.shape))
        for variable, value in zip(self.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        if self.dropout.rate:
            self.dropout.seed_generator.state.assign([derive(seed, "dropout") % 2**32, 0])

    def logits(self, query: Array) -> np.ndarray:
        """[m, dim] -> [m, way] float32, no unit dropped."""
        return self._answer(np.float32(query)).numpy()

    def _step(self, support, labels) -> None:
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = query_loss(self.model(support, training=True), labels)
        self.optimizer.apply(tape.gradient(loss, variables), variables)

    def _fit(self, support, labels, epochs) -> None:
        for _ in tf.range(epochs):
            self._step(support, labels)

    def _fit_leaking(self, support, labels, query, query_labels) -> None:
        lowest, waited, epoch = tf.constant(np.inf), tf.constant(0), tf.constant(0)
        while waited < _PATIENCE and epoch < _MOST_EPOCHS:
            self._step(support, labels)
            loss = query_loss(self.model(query, training=False), query_labels)
            waited = tf.where(loss < lowest, 0, waited + 1)
            lowest, epoch = tf.minimum(lowest, loss), epoch + 1
