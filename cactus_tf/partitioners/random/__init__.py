"""Random labels: how far chance clusters get. Hsu et al. 2019, table 3 ("random")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cactus_tf.contracts import PartitionContext, Partitioner
from cactus_tf.errors import InputError
from cactus_tf.partitioners.random.permutation import Permutation
from cactus_tf.types import Partitions
from cactus_tf.utils.seeds import counter_rng

USES_EMBEDDINGS = False
VERSION = 2


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


class RandomPartition:
    """One partition: cluster sizes as chance has them, and a permutation whose pieces of these sizes are the clusters.

    That is the same as a label for every image, without a table of labels: memory is that of the sizes, and drawing
    images takes a time that does not depend on their number.

    Args:
      images: n.
      clusters: k.
      rng: of this partition alone.
    """

    def __init__(self, images: int, clusters: int, rng: np.random.Generator):
        self.sizes = rng.multinomial(images, np.full(clusters, 1 / clusters))
        self._offsets = np.concatenate([[0], np.cumsum(self.sizes)])
        self._images = Permutation(images, rng)

    def cluster(self, c: int) -> np.ndarray:
        """[sizes[c]] image numbers of cluster c."""
        return self._images(np.arange(self._offsets[c], self._offsets[c + 1]))

    def draw(self, c: int, number: int, rng: np.random.Generator) -> np.ndarray:
        """[number] distinct image numbers of cluster c, uniform."""
        return self._images(self._offsets[c] + rng.choice(self.sizes[c], number, replace=False))

    def assignments(self, images: int) -> np.ndarray:
        """[images] cluster of each image."""
        table = np.empty(images, np.int32)
        table[self._images(np.arange(images))] = np.repeat(np.arange(len(self.sizes), dtype=np.int32), self.sizes)
        return table


class RandomPartitions(Sequence):
    """Partitions that are made from their seed when they are first asked for.

    Args:
      images: n.
      clusters: k.
      partitions: P.
      seed: partition p is a pure function of (seed, p).
    """

    def __init__(self, images: int, clusters: int, partitions: int, seed: int):
        self._images, self._clusters, self._partitions, self._seed = images, clusters, partitions, seed
        self._made: dict[int, RandomPartition] = {}

    def __len__(self) -> int:
        return self._partitions

    def __getitem__(self, p):
        p = range(self._partitions)[p]
        if p not in self._made:
            self._made[p] = RandomPartition(self._images, self._clusters, counter_rng(self._seed, p))
        return self._made[p]
