"""Random clusters, the baseline of chance. Hsu et al. 2019, table 3 ("random")."""

from __future__ import annotations

import functools

import numpy as np

from cactus_tf.contracts import PartitionContext, Partitioner, PartitionerInfo
from cactus_tf.partitioners._lazy import LazyPartitions
from cactus_tf.types import GroupedPartition, Partitions
from cactus_tf.utils.seeds import counter_rng

INFO = PartitionerInfo(version=3, uses_embeddings=False)


def build(clusters: int, partitions: int, options: None = None) -> Partitioner:
    """P partitions; the cluster of every image is uniform in 0..k-1, independently of all others."""

    def divide(context: PartitionContext) -> Partitions:
        make = functools.partial(_random_partition, context.images, clusters, context.seed)
        return LazyPartitions(make, partitions, context.images)

    return divide


def _random_partition(images: int, clusters: int, seed: int, p: int) -> GroupedPartition:
    """Partition p, a pure function of (seed, p)."""
    integer = np.min_scalar_type(clusters)  # integers of two bytes sort in linear time
    assignments = counter_rng(seed, p).integers(clusters, size=images, dtype=integer)
    return GroupedPartition.from_assignments(assignments, clusters)
