"""Model-agnostic meta-learning: a start from which a few gradient steps learn a task. Finn, Abbeel, Levine 2017."""

from __future__ import annotations

from collections.abc import Callable

from cactus_tf.contracts import LearnerContext
from cactus_tf.fewshot.losses import accuracy, episode_labels, summed_loss, unit_range
from cactus_tf.learners._adaptation import (
    DEFAULTS,
    AdaptationOptions,
    Options,
    build_model,
    everything_but_norms,
    is_vectorized,
)
from cactus_tf.learners._adapted_network import AdaptedNetwork
from cactus_tf.learners._answering import Answering
from cactus_tf.learners._inputs import flat_rows
from cactus_tf.types import Episode, TaskLoss

__all__ = ["DEFAULTS", "Options", "build", "MAML"]

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


class MAML(Answering):
    """The start is meta-trained: the queries' loss after adaptation is minimised through the adaptation.

    Args:
      network: what adapts, and how.
      options: the lengths and orders of the two loops.
      name: of the learner, for the names of its flags.
      meta_variables: what the outer loop trains beside the network's start.
    """

    def __init__(self, network: AdaptedNetwork, options: Options, *, name: str, meta_variables: tuple = ()):
        super().__init__(network, options, name)
        self._options = options
        self._meta_variables = list(meta_variables)

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
