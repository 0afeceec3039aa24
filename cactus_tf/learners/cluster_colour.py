"""Clusters pass the label of their support embeddings on to their training images; a linear classifier learns from all.

The authors' `cluster_color_logistic_regression`, which their command line could not reach; the paper has no row of it.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import LearnerContext
from cactus_tf.learners._clusters import TrainingClusters, votes
from cactus_tf.learners._logistic import logistic_logits
from cactus_tf.types import Array

USES_EMBEDDINGS = True
USES_CLUSTERS = True

_PASSES = 500  # of the solver; the authors' code
_QUERIES = 5  # a cluster passes its label on where it has shot + 5 images; the authors' number of queries


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of cluster colouring; the number of clusters is --clusters."""

    c: float = option(
        1.0, "weight of the labelled images against |W|^2 / 2", low=1e-6, symbol="C", source="the authors' script",
        evaluation_only=True,
    )  # fmt: skip
    starts: int = option(
        20,
        "k-means starts on the training embeddings, the best is taken (the authors: 100)",
        low=1,
        evaluation_only=True,
    )


def build(context: LearnerContext, options: Options | None = None) -> ClusterColour:
    """Cluster colouring; the training embeddings are needed by its first answer, not yet here."""
    options = options or Options()
    return ClusterColour(TrainingClusters("cluster_colour", context, options.starts), options.c, context.seed)


class ClusterColour:
    """Label propagation through clusters, then logistic regression on propagated and support embeddings.

    A cluster whose support embeddings have one label gives it to all its training images; one with several labels, or
    with fewer than shot + 5 images, gives none.

    Args:
      clusters: of the training embeddings.
      c: C of the logistic regression.
      seed: of its solver.

    Attributes:
      unanswered: tasks in which no cluster passed a label on; they were answered from the support set alone.
    """

    consumes: Literal["images", "embeddings"] = "embeddings"

    def __init__(self, clusters: TrainingClusters, c: float, seed: int):
        self._clusters, self._c, self._seed, self.unanswered = clusters, c, seed, 0

    def prepare(self) -> None:
        """Clusters the training embeddings, where that is not done."""
        _ = self._clusters.sizes

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> np.ndarray:
        """Logits [m, way] float64 of the queries; -infinity for a class without a support embedding."""
        labels = np.asarray(support_labels)
        members, passed = self.coloured(support, labels, way)
        self.unanswered += not len(members)
        x = np.concatenate([self._clusters.embeddings[members], support])
        y = np.concatenate([passed, labels])
        return logistic_logits(x, y, query, way, c=self._c, passes=_PASSES, seed=self._seed)

    def coloured(self, support: Array, labels: np.ndarray, way: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the training images that get a label, and the labels."""
        sizes, shot = self._clusters.sizes, int(np.bincount(labels).max())
        counts = votes(self._clusters.squared_distances(support).argmin(1), labels, len(sizes), way)
        passing = (np.count_nonzero(counts, axis=1) == 1) & (sizes >= shot + _QUERIES)
        members = np.flatnonzero(passing[self._clusters.assignments])
        return members, counts.argmax(axis=1)[self._clusters.assignments[members]]
