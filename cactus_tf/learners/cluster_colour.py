"""Cluster coloring: clusters pass support labels on to training images, and a linear classifier learns from both.

This is the authors' `cluster_color_logistic_regression`, which their command line does not offer. It is not in the
paper's tables.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import LearnerContext, LearnerInfo
from cactus_tf.learners._clusters import TrainingClusters, votes
from cactus_tf.learners._logistic import logistic_logits
from cactus_tf.types import Array

INFO = LearnerInfo(title="cluster coloring", uses_embeddings=True, uses_clusters=True)

_PASSES = 500  # of the solver; the authors' code
_QUERIES = 5  # a cluster needs shot + 5 images to pass its label on; the authors' number of queries


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of cluster coloring; the number of clusters is --clusters."""

    c: float = option(
        1.0, "weight of the labeled images against |W|^2 / 2", low=1e-6, symbol="C", evaluation_only=True,
        source="Hsu et al. 2019, scripts: linear classifier",
    )  # fmt: skip
    starts: int = option(
        20,
        "k-means starts on the training embeddings; the best is used",
        low=1,
        source="ours; Hsu et al. 2019, code: 100",
        evaluation_only=True,
    )


def build(context: LearnerContext, options: Options | None = None) -> ClusterColour:
    """Cluster coloring; the training embeddings are needed at the first answer or `prepare`."""
    options = options or Options()
    return ClusterColour(TrainingClusters("cluster_colour", context, options.starts), options.c, context.seed)


class ClusterColour:
    """Label propagation through clusters, then logistic regression on the labeled training images and the support set.

    A cluster whose support embeddings share one label passes it on to all its training images, if it has at least
    shot + 5 of them.

    Args:
      clusters: of the training embeddings.
      c: C of the logistic regression.
      seed: of its solver.

    Attributes:
      unanswered: tasks in which no cluster passed a label on; these are answered from the support set alone.
    """

    consumes: Literal["images", "embeddings"] = "embeddings"

    def __init__(self, clusters: TrainingClusters, c: float, seed: int):
        self._clusters, self._c, self._seed, self.unanswered = clusters, c, seed, 0

    def prepare(self) -> None:
        """Clusters the training embeddings, unless that has been done."""
        _ = self._clusters.sizes

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> np.ndarray:
        """Logits [m, way] float64 of the queries; -infinity for a class without a support embedding."""
        labels = np.asarray(support_labels)
        members, passed = self.colored(support, labels, way)
        self.unanswered += not len(members)
        x = np.concatenate([self._clusters.embeddings[members], support])
        y = np.concatenate([passed, labels])
        return logistic_logits(x, y, query, way, c=self._c, passes=_PASSES, seed=self._seed)

    def colored(self, support: Array, labels: np.ndarray, way: int) -> tuple[np.ndarray, np.ndarray]:
        """Numbers of the training images that receive a label, and their labels."""
        sizes, shot = self._clusters.sizes, int(np.bincount(labels).max())
        counts = votes(self._clusters.squared_distances(support).argmin(1), labels, len(sizes), way)
        passing = (np.count_nonzero(counts, axis=1) == 1) & (sizes >= shot + _QUERIES)
        members = np.flatnonzero(passing[self._clusters.assignments])
        return members, counts.argmax(axis=1)[self._clusters.assignments[members]]
