"""Reptile: the start moves towards the weights that adaptation reaches. Nichol, Achiam, Schulman 2018. An extension."""

from __future__ import annotations

import tensorflow as tf

from cactus_tf.contracts import LearnerContext
from cactus_tf.fewshot.losses import accuracy, episode_labels, summed_loss, unit_range
from cactus_tf.learners._adaptation import DEFAULTS, AdaptationOptions, everything
from cactus_tf.learners._adapted_network import AdaptedNetwork
from cactus_tf.learners._answering import Answering
from cactus_tf.learners._inputs import flat_rows
from cactus_tf.learners.maml import FIXED_HEAD, INTRA_OP_THREADS, network_of
from cactus_tf.types import Episode, TaskLoss, TaskUpdate

__all__ = ["FIXED_HEAD", "INTRA_OP_THREADS", "DEFAULTS", "Options", "build", "Reptile"]

Options = AdaptationOptions


def build(context: LearnerContext, options: Options | None = None) -> Reptile:
    """Reptile on MAML's network; norms' offsets adapt, too, as nothing else would train them.

    Raises:
      InputError: a norm or an input that the network cannot take.
    """
    options = options or Options()
    return Reptile(network_of(context, options, adapts=everything), options)


class Reptile(Answering):
    """The outer loop follows theta - theta_U, where theta_U minimises the loss of all images of the task.

    The authors step along it with a decaying rate; here it goes to Adam as a gradient, which they suggest in section 3.

    Args:
      network: what adapts, and how.
      options: lengths, rate and form of adaptation; there is no second order.
    """

    def __init__(self, network: AdaptedNetwork, options: Options):
        super().__init__(network, options, "reptile")

    @property
    def trainable_variables(self) -> list:
        """All weights of the network."""
        return self.network.model.trainable_variables

    @property
    def variables(self) -> list:
        """The same."""
        return self.trainable_variables

    def training_loss(self, episode: Episode) -> TaskLoss:
        """The loss that adaptation minimises, of support and query images together, at the start."""
        rows, labels, way = _all_rows(episode)
        logits = self.network.logits(self.network.start(), rows, way)
        return TaskLoss(summed_loss(logits, labels, way), {"accuracy": accuracy(logits, labels)})

    def update(self, episode: Episode) -> TaskUpdate:
        """theta - theta_U, and loss and accuracy after adaptation. Nichol et al. 2018, algorithm 2."""
        rows, labels, way = _all_rows(episode)
        start = self.network.start()
        weights, before = self.network.adapt(rows, labels, way, self.inner_steps, first_order=True)
        logits = self.network.logits(weights, rows, way)
        metrics = {"accuracy": accuracy(logits, labels), "support_accuracy": accuracy(before, labels)}
        direction = [a - b for a, b in zip(start, weights, strict=True)]
        return TaskUpdate(summed_loss(logits, labels, way), metrics, direction)


def _all_rows(episode: Episode):
    """Support and query rows [way (shot + query), ...] as one training set, their labels, and the way."""
    way, shot = episode.support.shape[:2]
    rows = tf.concat([flat_rows(episode.support), flat_rows(episode.query)], axis=0)
    labels = tf.concat([episode_labels(way, shot), episode_labels(way, episode.query.shape[1])], axis=0)
    return unit_range(rows), labels, way
