"""Random labels: how far chance clusters get. Hsu et al. 2019, table 3 ("random")."""

from __future__ import annotations

from collections.abc import Sequence

from cactus_tf.errors import InputError
from cactus_tf.seeds import counter_rng
from cactus_tf.types import Partition, PartitionContext, Partitioner, Partitions

USES_EMBEDDINGS = False
_KEPT = 64  # partitions kept in memory at once


def build(clusters: int, partitions: int, options: None = None) -> Partitioner:
    """P partitions; in each, every image's cluster is uniform in 0..k-1, independently of all others."""

    def divide(context: PartitionContext) -> Partitions:
        if partitions < 1:
            raise InputError(f"random: partitions is {partitions}; it must be at least 1")
        if context.way > clusters:
            raise InputError(
                f"random: way {context.way} is more than {clusters} clusters: lower --way or raise --clusters"
            )
        return RandomPartitions(context.images, clusters, partitions, context.seed)

    return divide


class RandomPartitions(Sequence):
    """Partitions that are made from their seed when they are asked for; only the newest few are kept.

    Args:
      images: n.
      clusters: k.
      partitions: P.
      seed: partition p is a pure function of (seed, p).
    """

    def __init__(self, images: int, clusters: int, partitions: int, seed: int):
        self._images, self._clusters, self._partitions, self._seed = images, clusters, partitions, seed
        self._newest: dict[int, Partition] = {}

    def __len__(self) -> int:
        return self._partitions

    def __getitem__(self, p):
        p = range(self._partitions)[p]
        if p not in self._newest:
            if len(self._newest) >= _KEPT:
                del self._newest[next(iter(self._newest))]
            assignments = counter_rng(self._seed, p).integers(self._clusters, size=self._images)
            self._newest[p] = Partition.from_assignments(assignments, self._clusters)
        return self._newest[p]
