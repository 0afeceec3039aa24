"""What learners share whose network adapts: how they answer. They differ in what the outer loop follows."""

from __future__ import annotations

import tensorflow as tf

from cactus_tf.contracts import Answer
from cactus_tf.learners._adaptation import AdaptationOptions, clip_of, is_vectorized
from cactus_tf.learners._adapted_network import AdaptedNetwork
from cactus_tf.types import Array, Trace


class Answering:
    """Answers by the network, after it has adapted to the support set.

    Args:
      network: what adapts, and how.
      options: lengths, rate and form of the two loops.
      name: of the learner, for the names of its flags.
    """

    def __init__(self, network: AdaptedNetwork, options: AdaptationOptions, name: str):
        self.network = network
        self.consumes, self.transductive = network.consumes, network.transductive
        self.inner_steps = options.inner_steps
        self.gradient_clip = clip_of(options, network.model)
        self.vectorized = is_vectorized(options)
        self.remedy = f"lower --{name}_inner_lr"

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> tf.Tensor:
        """Logits [m, way] of the queries after adaptation; the way may be smaller than in training."""
        return self.network.classify(support, support_labels, query, way)

    def answerer(self, support: Array, support_labels: Array, way: int, transductive: bool = False) -> Answer:
        """Adapts once; the function from queries [m, ...] to logits [m, way]."""
        return self.network.answerer(support, support_labels, way, transductive)

    def classify_in_graph(self, support: Array, support_labels: Array, query: Array, way: Array) -> tf.Tensor:
        """As `answerer`, in a graph; more classes than the head has outputs are an error of TensorFlow's."""
        return self.network.classify_in_graph(support, support_labels, query, way)

    def trace(self, support: Array, support_labels: Array, query: Array, way: int, steps: int | None = None) -> Trace:
        """Logits before adaptation and after each step of it, as many as in evaluation unless said."""
        return self.network.trace(support, support_labels, query, way, steps)
