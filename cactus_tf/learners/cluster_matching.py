"""Cluster matching: clusters take the labels of the support embeddings in them. Hsu et al. 2019, section 4."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import LearnerContext, LearnerInfo
from cactus_tf.learners._clusters import TrainingClusters, votes
from cactus_tf.types import Array

INFO = LearnerInfo(title="cluster matching", uses_embeddings=True, uses_clusters=True)


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of cluster matching; the number of clusters is --clusters."""

    starts: int = option(
        10, "k-means starts on the training embeddings; the best is used", low=1, source="Hsu et al. 2019, code",
        evaluation_only=True,
    )  # fmt: skip


def build(context: LearnerContext, options: Options | None = None) -> ClusterMatching:
    """Cluster matching; the training embeddings are needed at the first answer or `prepare`."""
    return ClusterMatching(TrainingClusters("cluster_matching", context, (options or Options()).starts))


class ClusterMatching:
    """A query takes the label of the nearest centroid, among the clusters that contain support embeddings.

    The label of a cluster is that of the majority of its support embeddings; ties go to the smallest label.

    Args:
      clusters: of the training embeddings.
    """

    consumes: Literal["images", "embeddings"] = "embeddings"

    def __init__(self, clusters: TrainingClusters):
        self._clusters = clusters

    def prepare(self) -> None:
        """Clusters the training embeddings, unless that has been done."""
        _ = self._clusters.sizes

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> np.ndarray:
        """Logits [m, way] float64: minus the squared distance to a label's nearest centroid; without one, -infinity."""
        to_support = self._clusters.squared_distances(support).argmin(1)
        counts = votes(to_support, np.asarray(support_labels), len(self._clusters.sizes), way)
        hit, majority = counts.any(axis=1), counts.argmax(axis=1)
        distances = self._clusters.squared_distances(query)
        logits = np.full((len(distances), way), -np.inf)
        for label in np.unique(majority[hit]):
            logits[:, label] = -distances[:, hit & (majority == label)].min(axis=1)
        return logits
