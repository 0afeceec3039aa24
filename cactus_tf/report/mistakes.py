"""Where a learner goes wrong: which classes it mistakes for which, and the tasks that it finds hardest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cactus_tf.fewshot.episodes import Episodes


class Confusion(NamedTuple):
    """Answers over evaluation episodes by true class.

    Attributes:
      counts: [classes, classes] queries of a true class (row) that were taken for a class (column).
      together: [classes, classes] queries of a true class in episodes that the other class was in, too.
    """

    counts: np.ndarray
    together: np.ndarray

    @property
    def accuracy(self) -> np.ndarray:
        """[classes] fraction of the queries of each class that were right; NaN for classes that were never met."""
        with np.errstate(invalid="ignore"):
            return np.diag(self.counts) / np.diag(self.together)

    @property
    def rates(self) -> np.ndarray:
        """[classes, classes] fraction taken for a class, of the queries that could have been; NaN where none could."""
        with np.errstate(invalid="ignore"):
            return self.counts / self.together


def confusion(episodes: Episodes, answers: np.ndarray) -> Confusion | None:
    """Counts the answers to the first so many episodes by true class.

    Args:
      episodes: what was answered, made from true labels.
      answers: [episodes, way, query] the label that each query was given; row i holds those of true label i.

    Returns:
      None where the labels make several partitions: a class of one is no class of another.
    """
    if len(episodes.partitions) != 1:
        return None
    number = len(episodes.partitions[0].sizes)
    classes = classes_of(episodes, len(answers))
    counts, together = np.zeros((number, number), np.int64), np.zeros((number, number), np.int64)
    for members, given in zip(classes, answers, strict=True):
        np.add.at(counts, (members[:, None], members[given]), 1)
        together[np.ix_(members, members)] += episodes.query
    return Confusion(counts, together)


def classes_of(episodes: Episodes, number: int) -> np.ndarray:
    """[number, way] the true class of every label of the first so many episodes, of one partition."""
    table = episodes.partitions[0].assignments(len(episodes.rows))
    return np.stack([table[episodes.indices(i)[0][:, 0]] for i in range(number)])


def hardest(answers: np.ndarray, number: int) -> np.ndarray:
    """[number] the episodes of least accuracy, the worst first; of equal ones the earlier.

    Args:
      answers: [episodes, way, query] as of `confusion`.
      number: how many; fewer where there are not so many.
    """
    return np.argsort(right(answers).mean(axis=(1, 2)), kind="stable")[:number]


def right(answers: np.ndarray) -> np.ndarray:
    """[episodes, way, query] whether each answer was right."""
    return answers == np.arange(answers.shape[1])[:, None]
