"""Partitions by random hyperplanes with margins. Hsu et al. 2019, section 2.2 and table 3.

A split is a hyperplane s(z) = (z - c) . v with a margin m: below is s <= -m, above is s >= m, and images between are on
neither side. h = ceil(log2 N) splits make 2^h zones; the zones with enough images are the clusters of a partition.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import PartitionContext, Partitioner, PartitionerInfo
from cactus_tf.errors import InputError
from cactus_tf.partitioners._lazy import LazyPartitions
from cactus_tf.types import GroupedPartition, Partitions
from cactus_tf.utils.seeds import counter_rng, derive

INFO = PartitionerInfo(clusters_of_its_own=True)
BOX = 0.8  # the authors' code: points on the planes are uniform in (-0.8, 0.8)^d
_CLUSTERS_PER_SIDE = 10  # the authors' code: each side of a split holds the images of 10 clusters
_TRIES = 200  # hyperplanes per split; combinations of splits per partition


@dataclass(frozen=True)
class Options:
    """Settings of the hyperplanes."""

    margin: float = option(
        0.0, "minimum distance of an image from every hyperplane", symbol="m", low=0,
        source="Hsu et al. 2019, who report 0 and 1.2 on Omniglot",
    )  # fmt: skip
    splits: int = option(
        1000, "number of hyperplanes that partitions are made of", symbol="S", low=1, source="Hsu et al. 2019, code"
    )


class SplitMasks(NamedTuple):
    """S splits of n images: packed bits [S, ceil(n / 8)], set for the images below and above each hyperplane."""

    below: np.ndarray
    above: np.ndarray
    images: int

    def sides(self, split: int) -> tuple[np.ndarray, np.ndarray]:
        """[n] bool below and above one hyperplane."""
        below, above = (np.unpackbits(bits[split], count=self.images).view(bool) for bits in (self.below, self.above))
        return below, above


def build(clusters: int, partitions: int, options: Options | None = None) -> Partitioner:
    """P partitions; the number of clusters is that of the zones with enough images, so k is not used."""
    return functools.partial(_partitions, partitions, options or Options())


def _partitions(partitions: int, options: Options, context: PartitionContext) -> Partitions:
    splits = make_splits(np.asarray(context.embeddings, np.float32), options, context)
    make = functools.partial(zone_partition, splits, context.way, context.images_per_cluster, context.seed)
    made = LazyPartitions(make, partitions, context.images)
    made[0]  # raises now, not in the middle of training
    return made


def make_splits(embeddings: np.ndarray, options: Options, context: PartitionContext) -> SplitMasks:
    """S splits; hyperplanes with fewer than 10 (K + Q) images on a side are drawn again."""
    needed = _CLUSTERS_PER_SIDE * context.images_per_cluster
    rng = counter_rng(derive(context.seed, "hyperplanes"), 0)
    below: list[np.ndarray] = []
    above: list[np.ndarray] = []
    for tried in range(_TRIES * options.splits):
        distances = signed_distances(embeddings, rng)
        sides = distances <= -options.margin, distances >= options.margin
        if min(map(np.count_nonzero, sides)) >= needed:
            below.append(np.packbits(sides[0]))
            above.append(np.packbits(sides[1]))
        if len(below) == options.splits:
            return SplitMasks(np.stack(below), np.stack(above), len(embeddings))
        if tried + 1 == _TRIES and not below:
            break
    raise InputError(
        f"--hyperplanes_margin={options.margin}: {len(below)} of {tried + 1} hyperplanes have {needed} images "
        "(10 times shot + query) on either side: lower --hyperplanes_margin, --shot or --query"
    )


def signed_distances(embeddings: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Signed distances [n] from one random hyperplane.

    Its normal is uniform in (-1, 1)^d, scaled to unit length; a point on it is uniform in (-0.8, 0.8)^d, or the origin
    for embeddings of unit length (DeepCluster's), as in the authors' code.
    """
    dim = embeddings.shape[1]
    direction = np.asarray(rng.uniform(-1, 1, dim))
    normal = direction / np.linalg.norm(direction)
    through = np.zeros(dim) if _is_on_sphere(embeddings) else np.asarray(rng.uniform(-BOX, BOX, dim))
    return embeddings @ normal.astype(np.float32) - np.float32(through @ normal)


def _is_on_sphere(embeddings: np.ndarray) -> bool:
    """Whether the first hundred embeddings have length 1."""
    return bool(np.allclose(np.linalg.norm(embeddings[:100], axis=1), 1, atol=1e-3))


def zone_partition(splits: SplitMasks, way: int, images_per_cluster: int, seed: int, p: int) -> GroupedPartition:
    """Partition p, a pure function of (seed, p): the first choice of splits that has N zones with enough images."""
    rng, available = counter_rng(seed, p), len(splits.below)
    chosen = math.ceil(math.log2(way))
    if available < chosen:
        raise InputError(f"--hyperplanes_splits={available}: zones for {way} classes need {chosen}: raise it")
    most = 0
    for _ in range(_TRIES):
        zone = zones(splits, rng.choice(available, chosen, replace=False))
        sizes = np.bincount(zone[zone >= 0], minlength=2**chosen)
        large = np.flatnonzero(sizes >= images_per_cluster)
        most = max(most, len(large))
        if len(large) >= way:
            cluster = np.full(2**chosen + 1, -1)  # the last entry belongs to zone -1
            cluster[large] = np.arange(len(large))
            return GroupedPartition.from_assignments(cluster[zone], len(large))
    raise InputError(
        f"hyperplanes: no choice of {chosen} hyperplanes has {way} zones of {images_per_cluster} images "
        f"(shot + query); the most found is {most}: lower --hyperplanes_margin, --way, --shot or --query"
    )


def zones(splits: SplitMasks, chosen: Sequence[int] | np.ndarray) -> np.ndarray:
    """[n] zone of each image: bit i is set above split chosen[i]; -1 within a margin."""
    zone = np.zeros(splits.images, np.int32)
    for i, split in enumerate(chosen):
        below, above = splits.sides(split)
        zone[above] |= np.where(zone[above] < 0, 0, 1 << i)
        zone[~(below | above)] = -1
        zone[above & below] &= ~(1 << i)  # on the hyperplane, with margin 0: below
    return zone
