"""How learners classify by adapting a network, and what the meta-trained ones add."""

from __future__ import annotations

import abc
from typing import Literal

import tensorflow as tf

from cactus_tf.contracts import Answer
from cactus_tf.errors import InputError
from cactus_tf.fewshot.losses import unit_range
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.learners._adaptation.networks import gradient_clip
from cactus_tf.learners._adaptation.options import AdaptationOptions
from cactus_tf.types import Array, Trace


class AdaptedLearner(abc.ABC):
    """Classifies with a network after gradient descent on the support set.

    Attributes:
      consumes: what the rows are.
      eval_steps: inner steps in evaluation.
      transductive: whether queries are normalized with their own statistics.
      remedy: what to change if adaptation diverges.
    """

    consumes: Literal["images", "embeddings"]
    eval_steps: int
    transductive: bool
    remedy: str

    @abc.abstractmethod
    def network_for(self, way: int) -> AdaptedNetwork:
        """The network of tasks of this way."""

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> tf.Tensor:
        """Logits [m, way] of the queries after `eval_steps` inner steps."""
        network = self.network_for(way)
        answer = network.compiled_answer(way, self.eval_steps, self.transductive)
        return answer(tf.convert_to_tensor(support), tf.cast(support_labels, tf.int32), tf.convert_to_tensor(query))

    def trace(self, support: Array, support_labels: Array, query: Array, way: int, steps: int | None = None) -> Trace:
        """Logits before adaptation and after each inner step; `steps` defaults to `eval_steps`."""
        network, steps = self.network_for(way), self.eval_steps if steps is None else steps
        rows = (tf.convert_to_tensor(x) for x in (support, query))
        labels = tf.cast(support_labels, tf.int32)
        return Trace(*network.compiled_trace(*rows, labels, way=way, steps=steps, transductive=self.transductive))

    def answerer(self, support: Array, support_labels: Array, way: int, transductive: bool = False) -> Answer:
        """Adapts once, by `eval_steps` inner steps, and returns the function from queries to logits [m, way].

        Args:
          support, support_labels, way: as in `classify`.
          transductive: normalize queries with their own statistics, as in training, if the norm is one of the batch;
            otherwise with those of the support set, so that no answer depends on another query.
        """
        network, labels = self.network_for(way), tf.cast(support_labels, tf.int32)
        weights, statistics = network.compiled_descend(way, self.eval_steps)(unit_range(support), labels)
        used = None if transductive else statistics
        return lambda query: network.compiled_forward(weights, unit_range(query), used)[0][:, :way]


class LearnedInitialization(AdaptedLearner):
    """A learner whose outer loop trains the initial weights of one network; its head fixes the largest way.

    Args:
      network: the network that adapts.
      options: of the inner and outer loop.
      name: of the learner, which begins the names of its flags.
      meta_variables: what the outer loop trains besides the initial weights.
    """

    def __init__(self, network: AdaptedNetwork, options: AdaptationOptions, name: str, meta_variables: tuple = ()):
        self.network, self.consumes = network, network.consumes
        self.inner_steps, self.eval_steps = options.inner_steps, options.eval_steps
        self.transductive = options.transductive and network.uses_batch_statistics
        self.gradient_clip = gradient_clip(options, network.model)
        self.vectorized = network.vectorized
        self.remedy = f"lower --{name}_inner_lr"
        self._meta_variables = list(meta_variables)

    @property
    def trainable_variables(self) -> list:
        """Kernels, biases and the norms' betas, and whatever else is meta-learned."""
        return [*self.network.model.trainable_variables, *self._meta_variables]

    @property
    def variables(self) -> list:
        """The trained variables; there are no others to restore."""
        return self.trainable_variables

    def network_for(self, way: int) -> AdaptedNetwork:
        """The network; more classes than its head has outputs are an InputError."""
        if way > self.network.classes:
            raise InputError(
                f"{way} classes are more than the {self.network.classes} outputs of the head, which training fixed "
                f"with --way: lower --eval_ways to {self.network.classes} or give fewer classes, train with a larger "
                "--way, or use protonets, which has no head"
            )
        return self.network

    def classify_in_graph(self, support: Array, support_labels: Array, query: Array, way: Array) -> tf.Tensor:
        """Logits [m, way] of the queries, each normalized as by `answerer`; the arguments are tensors."""
        network = self.network
        message = f"the head has {network.classes} outputs, so labels must be in 0..{network.classes - 1}"
        with tf.control_dependencies([tf.debugging.assert_less_equal(way, network.classes, message=message)]):
            labels = tf.identity(support_labels)
            weights, statistics = network.descend(unit_range(support), labels, way=way, steps=self.eval_steps)
        return network.forward(weights, unit_range(query), statistics)[0][:, :way]
