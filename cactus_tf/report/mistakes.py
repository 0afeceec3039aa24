"""Which classes a learner confuses, and which tasks it solves worst: counts over evaluation episodes."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cactus_tf.fewshot.episodes import Episodes


class Confusion(NamedTuple):
    """Predictions over evaluation episodes by true class.

    Attributes:
      counts: [classes, classes] queries of a true class (row) that were predicted as a class (column).
      together: [classes, classes] queries of a true class in episodes that had the other class, too.
    """

    counts: np.ndarray
    together: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """[classes] fraction of the queries of each class predicted correctly; NaN for classes in no episode."""
        with np.errstate(invalid="ignore"):
            return np.diag(self.counts) / np.diag(self.together)

    @property
    def rates(self) -> np.ndarray:
        """[classes, classes] counts / together; NaN for classes that were never together."""
        with np.errstate(invalid="ignore"):
            return self.counts / self.together


def confusion(episodes: Episodes, predicted: np.ndarray) -> Confusion | None:
    """Counts the predictions for the first episodes by true class.

    Args:
      episodes: made from true labels.
      predicted: [episodes, way, query] predicted labels; row i has the queries of true label i.

    Returns:
      None if the true labels make several partitions, whose classes cannot be compared.
    """
    if len(episodes.partitions) != 1:
        return None
    number = len(episodes.partitions[0].sizes)
    classes = classes_of(episodes, len(predicted))
    counts, together = np.zeros((number, number), np.int64), np.zeros((number, number), np.int64)
    for members, labels in zip(classes, predicted, strict=True):
        np.add.at(counts, (members[:, None], members[labels]), 1)
        together[np.ix_(members, members)] += episodes.query
    return Confusion(counts, together)


def classes_of(episodes: Episodes, number: int) -> np.ndarray:
    """[number, way] the true class of every label of the first episodes of a single partition."""
    table = episodes.partitions[0].assignments(len(episodes.rows))
    return np.stack([table[episodes.indices(i)[0][:, 0]] for i in range(number)])


def hardest(predicted: np.ndarray, number: int) -> np.ndarray:
    """[number] the episodes of least accuracy, worst first; ties in order.

    Args:
      predicted: [episodes, way, query] as of `confusion`.
      number: how many at most.
    """
    return np.argsort(correct(predicted).mean(axis=(1, 2)), kind="stable")[:number]


def correct(predicted: np.ndarray) -> np.ndarray:
    """[episodes, way, query] whether each prediction is correct."""
    return predicted == np.arange(predicted.shape[1])[:, None]
