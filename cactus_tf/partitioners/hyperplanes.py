"""Partitions by random hyperplanes with margins. Hsu et al. 2019, section 2.2 and table 3.

A split is a hyperplane s(z) = (z - c) . v with a margin m: below is s <= -m, above is s >= m, what lies between is on
no side. h = ceil(log2 N) splits make 2^h zones, and the zones of enough images are the clusters of a partition. Splits
are kept as one bit mask per side; a partition is the numbers of its splits and is made from them when it is asked for.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import PartitionContext, Partitioner
from cactus_tf.errors import InputError
from cactus_tf.types import GroupedPartition, Partitions
from cactus_tf.utils.seeds import counter_rng, derive

USES_EMBEDDINGS = True
BOX = 0.8  # the authors' code: points on the planes are uniform in (-0.8, 0.8)^d
_SIDE = 10  # a side of a split holds as many times the images of a cluster
_KEPT = 64  # partitions kept in memory at once
_TRIES = 200  # hyperplanes per split that is asked for; combinations of splits per partition
_ASKED = 32  # planes that advice on the margin is found from


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the hyperplanes."""

    margin: float = option(
        0.0, "distance from every hyperplane that an image must have", symbol="m", low=0,
        source="one of the two that the paper reports on Omniglot; the other is 1.2",
    )  # fmt: skip
    splits: int = option(1000, "hyperplanes that partitions are made of", symbol="S", low=1, source="the authors' code")


class Splits(NamedTuple):
    """S splits of n images: packed bits [S, ceil(n / 8)] that say which images are below and which above each plane."""

    below: np.ndarray
    above: np.ndarray
    images: int

    def sides(self, split: int) -> tuple[np.ndarray, np.ndarray]:
        """[n] bool below and above one plane."""
        below, above = (np.unpackbits(bits[split], count=self.images).view(bool) for bits in (self.below, self.above))
        return below, above


def build(clusters: int, partitions: int, options: Options | None = None) -> Partitioner:
    """P partitions; the number of clusters is what the zones give, so k is not used.

    The partitioner raises InputError for embeddings that are missing, and for a margin that leaves too few images.
    """
    return functools.partial(_divide, partitions, options or Options())


def _divide(partitions: int, options: Options, context: PartitionContext) -> Partitions:
    if partitions < 1:
        raise InputError(f"hyperplanes: partitions is {partitions}; it must be at least 1")
    if context.embeddings is None:
        raise InputError("hyperplanes: there are no embeddings to split; choose an --embedder")
    if not np.isfinite(context.embeddings).all():
        raise InputError("hyperplanes: embeddings are NaN or infinite; train the embedder anew")
    splits = make_splits(np.asarray(context.embeddings, np.float32), options, context)
    made = HyperplanePartitions(splits, partitions, context.way, context.images_per_cluster, context.seed)
    try:
        made[0]  # that there is one at all is known now and not in the middle of training
    except InputError as error:
        raise InputError(f"{error}{_advice_on_zones(context, options)}") from error
    return made


def _advice_on_zones(context: PartitionContext, options: Options) -> str:
    """The largest margin at which a choice of the first planes of use has enough zones; nothing where it is 0 now."""
    bits = math.ceil(math.log2(context.way))
    if not options.margin or options.splits < bits:
        return ""
    embeddings, rng = np.asarray(context.embeddings, np.float32), counter_rng(derive(context.seed, "hyperplanes"), 0)
    planes: list[np.ndarray] = []
    while len(planes) < min(_ASKED, options.splits):  # as many as were found before, from the same stream
        distances = hyperplane(embeddings, rng)
        if largest_margin(distances, _SIDE * context.images_per_cluster) >= options.margin:
            planes.append(distances)
    choose = counter_rng(context.seed, 0)
    choices = (choose.choice(len(planes), bits, replace=False) for _ in range(_TRIES))
    most = max(
        largest_zone_margin(np.stack([planes[i] for i in choice]), context.way, context.images_per_cluster)
        for choice in choices
    )
    if most <= 0:
        return "; a lower margin alone would not do"
    return f"; the largest margin that one of {_TRIES} choices allows is {_down(most)}"


def largest_zone_margin(distances: np.ndarray, way: int, needed: int) -> float:
    """The largest m at which planes have so many zones with so many images: |s| >= m of every plane.

    Args:
      distances: [h, n] signed, of n images from h planes.
      way: zones.
      needed: images of each.

    Returns:
      m, minus infinity where not even 0 does.
    """
    nearest, zone = np.abs(distances).min(axis=0), (distances > 0).T @ (1 << np.arange(len(distances)))
    inside = [np.sort(nearest[zone == z])[::-1] for z in range(2 ** len(distances))]
    margins = sorted((float(m[needed - 1]) for m in inside if len(m) >= needed), reverse=True)
    return margins[way - 1] if len(margins) >= way else -math.inf


def hyperplane(embeddings: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Signed distances [n] from one random plane.

    Its normal is uniform in (-1, 1)^d, scaled to unit length; a point on it is uniform in (-0.8, 0.8)^d, or the origin
    for embeddings of unit length (DeepCluster's), as in the authors' code.
    """
    dim = embeddings.shape[1]
    direction = np.asarray(rng.uniform(-1, 1, dim))
    normal = direction / np.linalg.norm(direction)
    through = np.zeros(dim) if _is_on_sphere(embeddings) else np.asarray(rng.uniform(-BOX, BOX, dim))
    return embeddings @ normal.astype(np.float32) - np.float32(through @ normal)


def make_splits(embeddings: np.ndarray, options: Options, context: PartitionContext) -> Splits:
    """As many splits as asked for; planes with fewer than 10 (K + Q) images on a side are drawn again.

    Raises:
      InputError: the margin leaves too few images; says the largest that does not.
    """
    needed = _SIDE * context.images_per_cluster
    rng = counter_rng(derive(context.seed, "hyperplanes"), 0)
    below, above, usable = [], [], []
    for _ in range(_TRIES * options.splits):
        distances = hyperplane(embeddings, rng)
        usable.append(largest_margin(distances, needed))
        if usable[-1] >= options.margin:
            below.append(np.packbits(distances <= -options.margin))
            above.append(np.packbits(distances >= options.margin))
        if len(below) == options.splits:
            return Splits(np.stack(below), np.stack(above), len(embeddings))
        if len(usable) == _TRIES and not below:
            break
    raise InputError(
        f"--hyperplanes_margin={options.margin}: {len(below)} of {len(usable)} hyperplanes leave {needed} images on "
        f"both sides, 10 times shot + query; {_advice(max(usable))}"
    )


def _advice(most: float) -> str:
    """What to do where the largest margin of the planes that were tried is `most`."""
    if most < 0:
        return "no margin would do, so lower --shot or --query or give more images"
    return f"lower it, the largest that one of them allows is {_down(most)}"


def _down(margin: float) -> str:
    """Three digits of a margin, never more than it is."""
    text = f"{margin:.3g}"
    return text if float(text) <= margin else f"{margin * 0.995:.3g}"


def largest_margin(distances: np.ndarray, needed: int) -> float:
    """The largest m that leaves so many of the signed distances [n] at -m or below and so many at m or above.

    Negative where not even 0 does; minus infinity for fewer images than needed.
    """
    if len(distances) < needed:
        return -math.inf
    ordered = np.partition(distances, [needed - 1, len(distances) - needed])
    return float(min(-ordered[needed - 1], ordered[len(distances) - needed]))


def zones(splits: Splits, chosen: Sequence[int] | np.ndarray) -> np.ndarray:
    """[n] zone of each image: bit i says that it is above plane chosen[i]; -1 within a margin."""
    zone = np.zeros(splits.images, np.int32)
    for i, split in enumerate(chosen):
        below, above = splits.sides(split)
        zone[above] |= np.where(zone[above] < 0, 0, 1 << i)
        zone[~(below | above)] = -1
        zone[above & below] &= ~(1 << i)  # on a plane without margin: below
    return zone


class HyperplanePartitions(Sequence):
    """Partitions made of splits when they are asked for; only the newest few are kept.

    Args:
      splits: of all of them.
      partitions: P.
      way: N; h = ceil(log2 N) splits make a partition, which must have N zones of use.
      images_per_cluster: K + Q, images that a zone of use has.
      seed: partition p is a pure function of (seed, p).
    """

    def __init__(self, splits: Splits, partitions: int, way: int, images_per_cluster: int, seed: int):
        self._splits, self._partitions, self._seed = splits, partitions, seed
        self._way, self._least = way, images_per_cluster
        self._newest: dict[int, GroupedPartition] = {}

    def __len__(self) -> int:
        return self._partitions

    def __getitem__(self, p):
        p = range(self._partitions)[p]
        if p not in self._newest:
            if len(self._newest) >= _KEPT:
                del self._newest[next(iter(self._newest))]
            self._newest[p] = self._make(p)
        return self._newest[p]

    def _make(self, p: int) -> GroupedPartition:
        """Zones of use of the first choice of splits that has N of them.

        Raises:
          InputError: no choice has.
        """
        rng, planes = counter_rng(self._seed, p), len(self._splits.below)
        bits = math.ceil(math.log2(self._way))
        if planes < bits:
            raise InputError(f"--hyperplanes_splits={planes}: zones for {self._way} classes need {bits}: raise it")
        most = 0
        for _ in range(_TRIES):
            zone = zones(self._splits, rng.choice(planes, bits, replace=False))
            sizes = np.bincount(zone[zone >= 0], minlength=2**bits)
            used = np.flatnonzero(sizes >= self._least)
            most = max(most, len(used))
            if len(used) >= self._way:
                number = np.full(2**bits + 1, -1)  # the last stands for zone -1
                number[used] = np.arange(len(used))
                return GroupedPartition.from_assignments(number[zone], len(used))
        raise InputError(
            f"hyperplanes: no choice of {bits} planes has {self._way} zones of {self._least} images (shot + query), "
            f"at most {most}: lower --hyperplanes_margin, --way, --shot or --query"
        )


def _is_on_sphere(embeddings: np.ndarray) -> bool:
    """Whether all embeddings have length 1; the first hundred tell."""
    return bool(np.allclose(np.linalg.norm(embeddings[:100], axis=1), 1, atol=1e-3))
