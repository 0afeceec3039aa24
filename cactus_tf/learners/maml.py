"""MAML: meta-learned initial weights from which a few gradient steps learn a task. Finn, Abbeel, Levine 2017.

The outer loss is `MAML.training_loss`; the inner loop is `AdaptedNetwork.adapt` in `_adaptation/inner_loop.py`.
"""

from __future__ import annotations

from cactus_tf.contracts import LearnerContext, LearnerInfo
from cactus_tf.fewshot.losses import episode_labels, fraction_correct, summed_loss, unit_range
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.learners._adaptation.learner import LearnedInitialization
from cactus_tf.learners._adaptation.networks import build_network, everything_but_norms
from cactus_tf.learners._adaptation.options import DEFAULTS, SOURCE, Options
from cactus_tf.learners._inputs import flat_rows
from cactus_tf.types import Episode, TaskLoss

__all__ = ["INFO", "MAML", "Options", "build"]

INFO = LearnerInfo(title="MAML", training=DEFAULTS, source=SOURCE, fixed_head=True, exportable=True, intra_op_threads=1)


def build(context: LearnerContext, options: Options | None = None) -> MAML:
    """MAML as in CACTUs: second order, summed inner loss, batch norm with the batch's own statistics.

    Raises:
      InputError: a norm or an input that the network cannot take.
    """
    options = options or Options()
    return MAML(build_network(context, options, adapts=everything_but_norms), options, name="maml")


class MAML(LearnedInitialization):
    """Trains the initial weights: minimizes the query loss after adaptation, through the adaptation.

    Args:
      network: the network that adapts.
      options: of the inner and outer loop.
      name: of the learner, which begins the names of its flags.
      meta_variables: what the outer loop trains besides the initial weights.
    """

    def __init__(self, network: AdaptedNetwork, options: Options, name: str, meta_variables: tuple = ()):
        super().__init__(network, options, name, meta_variables)
        self._first_order, self._recompute = options.first_order, options.recompute

    def training_loss(self, episode: Episode) -> TaskLoss:
        """L(theta_U) on the queries, summed and divided by Q, through U inner steps. Finn et al. 2017, algorithm 2.

        Args:
          episode: support [way, shot, ...] and query [way, query, ...], images as uint8 in 0..255 or floats in 0..1.

        Returns:
          `way` times the mean cross-entropy of the queries; their accuracy after adaptation, and that of the support
          set before it.
        """
        way, shot = episode.support.shape[:2]
        support_labels, query_labels = episode_labels(way, shot), episode_labels(way, episode.query.shape[1])
        weights, before = self.network.adapt(
            unit_range(flat_rows(episode.support)),
            support_labels,
            way,
            self.inner_steps,
            first_order=self._first_order,
            recompute=self._recompute,
        )
        logits = self.network.logits(weights, unit_range(flat_rows(episode.query)), way)
        metrics = {
            "accuracy": fraction_correct(logits, query_labels),
            "support_accuracy": fraction_correct(before, support_labels),
        }
        return TaskLoss(summed_loss(logits, query_labels, way), metrics)
