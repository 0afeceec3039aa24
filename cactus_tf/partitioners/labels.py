"""The oracle: the true labels are the partitions. Hsu et al. 2019, section 4 ("Oracle")."""

from __future__ import annotations

from cactus_tf.errors import InputError
from cactus_tf.types import PartitionContext, Partitioner, Partitions

USES_EMBEDDINGS = False


def build(clusters: int, partitions: int, options: None = None) -> Partitioner:
    """The oracle; numbers of clusters and partitions are the labels' own."""
    return _from_labels


def _from_labels(context: PartitionContext) -> Partitions:
    if context.labels is None:
        raise InputError("labels: these training images have no labels: choose --partitioner=kmeans")
    return context.labels
