"""Model-agnostic meta-learning: a start from which a few gradient steps learn a task. Finn, Abbeel, Levine 2017."""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from cactus_tf.contracts import Answer, LearnerContext
from cactus_tf.learners._adaptation import (
    USUAL,
    AdaptationOptions,
    Options,
    build_model,
    clip_of,
    everything_but_norms,
    is_vectorized,
)
from cactus_tf.learners._adapted_network import AdaptedNetwork
from cactus_tf.learners._inputs import flat_rows
from cactus_tf.losses import accuracy, episode_labels, summed_loss, unit_range
from cactus_tf.types import Array, Episode, TaskLoss, Trace

__all__ = ["USUAL", "Options", "build", "MAML"]

FIXED_HEAD = True
INTRA_OP_THREADS = 1


def build(context: LearnerContext, options: Options | None = None) -> MAML:
    """MAML as CACTUs has it: second order, summed inner loss, batch norm with the batch's own statistics.

    Raises:
      InputError: a norm or an input that the network cannot take.
    """
    options = options or Options()
    return MAML(network_of(context, options, adapts=everything_but_norms), options, name="maml")


def network_of(context: LearnerContext, options: AdaptationOptions, *, adapts: Callable) -> AdaptedNetwork:
    """The network that a learner of these options adapts, by one rate for all weights."""
    model, consumes = build_model(context, pooled=options.pooled, vectorized=is_vectorized(options))
    return AdaptedNetwork(
        model,
        rates=lambda variable: options.inner_lr,
        adapts=adapts,
        eval_steps=options.eval_steps,
        transductive=options.transductive,
        consumes=consumes,
    )


class MAML:
    """The start is meta-trained: the queries' loss after adaptation is minimised through the adaptation.

    Args:
      network: what adapts, and how.
      options: the lengths and orders of the two loops.
      name: of the learner, for the names of its flags.
      meta_variables: what the outer loop trains beside the network's start.
    """

    def __init__(self, network: AdaptedNetwork, options: Options, *, name: str, meta_variables: tuple = ()):
        self.network, self._options = network, options
        self.consumes, self.transductive = network.consumes, network.transductive
        self.gradient_clip = clip_of(options, network.model)
        self.vectorized = is_vectorized(options)
        self.remedy = f"lower --{name}_inner_lr"
        self._meta_variables = list(meta_variables)

    @property
    def inner_steps(self) -> int:
        """Steps of adaptation in training."""
        return self._options.inner_steps

    @property
    def trainable_variables(self) -> list:
        """Kernels, biases and the norms' offsets, and what else is meta-learned."""
        return [*self.network.model.trainable_variables, *self._meta_variables]

    @property
    def variables(self) -> list:
        """The same: nothing else is kept."""
        return self.trainable_variables

    def training_loss(self, episode: Episode) -> TaskLoss:
        """L(theta_U) on the queries, summed and divided by Q, through U inner steps. Finn et al. 2017, algorithm 2.

        Args:
          episode: support [way, shot, ...] and query [way, query, ...], images as uint8 in 0..255 or floats in 0..1.

        Returns:
          `way` times the mean cross-entropy of the queries; their accuracy after adaptation, and the support set's
          before it.
        """
        way, shot = episode.support.shape[:2]
        support_labels, query_labels = episode_labels(way, shot), episode_labels(way, episode.query.shape[1])
        weights, before = self.network.adapt(
            unit_range(flat_rows(episode.support)),
            support_labels,
            way,
            self._options.inner_steps,
            first_order=self._options.first_order,
            recompute=self._options.recompute,
        )
        logits = self.network.logits(weights, unit_range(flat_rows(episode.query)), way)
        metrics = {"accuracy": accuracy(logits, query_labels), "support_accuracy": accuracy(before, support_labels)}
        return TaskLoss(summed_loss(logits, query_labels, way), metrics)

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
