"""Reptile: moves the initial weights towards the adapted ones. Nichol, Achiam, Schulman 2018. An extension."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from cactus_tf.contracts import LearnerContext
from cactus_tf.fewshot.losses import episode_labels, fraction_correct, summed_loss, unit_range
from cactus_tf.learners import maml
from cactus_tf.learners._adaptation.learner import LearnedInitialization
from cactus_tf.learners._adaptation.networks import build_network, everything
from cactus_tf.learners._adaptation.options import AdaptationOptions
from cactus_tf.learners._inputs import flat_rows
from cactus_tf.types import Episode, TaskLoss, TaskUpdate

__all__ = ["INFO", "Options", "Reptile", "build"]

INFO = dataclasses.replace(maml.INFO, title="Reptile")
Options = AdaptationOptions


def build(context: LearnerContext, options: Options | None = None) -> Reptile:
    """Reptile on MAML's network; the norms' betas adapt too, because nothing else would train them.

    Raises:
      InputError: a norm or an input that the network cannot take.
    """
    options = options or Options()
    return Reptile(build_network(context, options, adapts=everything), options, name="reptile")


class Reptile(LearnedInitialization):
    """The outer loop follows theta - theta_U, where theta_U minimizes the loss of all images of the task.

    The authors take plain steps with a decaying rate; here Adam takes theta - theta_U as a gradient, which they suggest
    in section 3. There is no second order.
    """

    def training_loss(self, episode: Episode) -> TaskLoss:
        """The loss that the inner loop minimizes, of support and query images together, before adaptation."""
        rows, labels, way = _all_rows(episode)
        logits = self.network.logits(self.network.start(), rows, way)
        return TaskLoss(summed_loss(logits, labels, way), {"accuracy": fraction_correct(logits, labels)})

    def update(self, episode: Episode) -> TaskUpdate:
        """theta - theta_U, and loss and accuracy after adaptation. Nichol et al. 2018, algorithm 2."""
        rows, labels, way = _all_rows(episode)
        start = self.network.start()
        weights, before = self.network.adapt(rows, labels, way, self.inner_steps, first_order=True)
        logits = self.network.logits(weights, rows, way)
        metrics = {
            "accuracy": fraction_correct(logits, labels),
            "support_accuracy": fraction_correct(before, labels),
        }
        direction = [a - b for a, b in zip(start, weights, strict=True)]
        return TaskUpdate(summed_loss(logits, labels, way), metrics, direction)


def _all_rows(episode: Episode) -> tuple[tf.Tensor, tf.Tensor, int]:
    """Support and query rows [way (shot + query), ...] as one training set, their labels, and the way."""
    way, shot = episode.support.shape[:2]
    rows = tf.concat([flat_rows(episode.support), flat_rows(episode.query)], axis=0)
    labels = tf.concat([episode_labels(way, shot), episode_labels(way, episode.query.shape[1])], axis=0)
    return unit_range(rows), labels, way
