"""The oracle: the true labels are the partitions. Hsu et al. 2019, section 4 ("Oracle")."""

from __future__ import annotations

from cactus_tf.contracts import PartitionContext, Partitioner
from cactus_tf.errors import InputError
from cactus_tf.types import Partitions

USES_EMBEDDINGS = False


def build(clusters: int, partitions: int, options: None = None) -> Partitioner:
    """The oracle; numbers of clusters and partitions are the labels' own."""
    return _from_labels


def _from_labels(context: PartitionContext) -> Partitions:
    if not context.labels:
        none = "have no labels" if context.labels is None else "are too few for a task from their labels"
        raise InputError(f"labels: these training images {none}: choose --partitioner=kmeans")
    return context.labels
