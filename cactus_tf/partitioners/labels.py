"""The oracle: the true labels are the partitions. Hsu et al. 2019, section 4 ("Oracle")."""

from __future__ import annotations

from cactus_tf.contracts import PartitionContext, Partitioner, PartitionerInfo
from cactus_tf.errors import InputError
from cactus_tf.types import Partitions

INFO = PartitionerInfo(uses_embeddings=False, clusters_of_its_own=True, ignores_counts=lambda options: True)


def build(clusters: int, partitions: int, options: None = None) -> Partitioner:
    """The oracle; the labels set the numbers of clusters and partitions."""
    return _from_labels


def _from_labels(context: PartitionContext) -> Partitions:
    if not context.labels:
        reason = "have no labels" if context.labels is None else "are too few for a task from their labels"
        raise InputError(f"labels: these training images {reason}: choose --partitioner=kmeans")
    return context.labels
