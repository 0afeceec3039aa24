"""K-means of a million images into ten thousand clusters, in minutes and in bounded memory.

Mini-batches (Sculley 2010, "Web-scale k-means clustering"), scikit-learn's `MiniBatchKMeans`, in place of iterations
over all images until nothing changes. Centres are divided into groups of about 250 neighbours, and an image is compared
with the centres of one group alone. Every round has other groups, so what a border between groups holds apart in one
round comes together in another. A round takes a time in proportion to the number of images, whatever that of clusters;
only before the first round and after the last one is every image compared with every centre.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

from cactus_tf.partitioners.kmeans.start import coarse_start
from cactus_tf.utils.threads import side_by_side

# By measurement (benchmarks/kmeans_scale.py). Groups of 100 clusters cost as much inertia as half the rounds. 16 rounds
# in place of 32 cost 0.4% of inertia at 100,000 images and 1.1% at a million, of 65 seconds they save 16. An epoch over
# all images and clusters at once is worth two or three rounds, and at a million images it takes as long as 17. Batches
# of 5 images per cluster cost up to 0.7%, of 20 up to 0.5%; means over all epochs, in place of new ones in each, up to
# 2%; moving the centres of small clusters (`reassignment_ratio`) only does harm.
_CLUSTERS_PER_GROUP = 250
_IMAGES_PER_GROUP = 100  # that the first groups are found from
_IMAGES_PER_CENTRE, _FEWEST_IMAGES = 100, 100_000  # that the start is found from
_ROUNDS = 32
_BATCH_PER_CENTRE, _SMALLEST_BATCH = 10, 1_000
_PARTS = 64  # of the images, that the cores take one by one
_PIECE = 1 << 22  # numbers that are in memory at once on each core: 16 MiB


@dataclasses.dataclass(frozen=True)
class Rescaled:
    """Embeddings times a number per column, computed where they are read, so that a memory map is never held whole.

    Attributes:
      embeddings: [n, dim] float32.
      scale: [dim] float32; None leaves them as they are.
    """

    embeddings: np.ndarray
    scale: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """[m, dim] float32 of the images with these numbers; rising ones are kinder to a memory map."""
        return self._scaled(self.embeddings[rows])

    def whole(self) -> np.ndarray:
        """[n, dim] float32 of all, in memory where they are rescaled."""
        return self._scaled(self.embeddings)

    def _scaled(self, z: np.ndarray) -> np.ndarray:
        return z if self.scale is None else z * self.scale


def fit(x: Rescaled, clusters: int, seed: int) -> np.ndarray:
    """One clustering, on all cores; the result does not depend on how many there are.

    Memory is that of a batch, a piece and a part of the start on each core, and of a few numbers per image.

    Args:
      x: n embeddings.
      clusters: k <= n.
      seed: of the start, the groups and the order of the images.

    Returns:
      [n] int32 in 0..k-1, the nearest of the final centres.
    """
    rng = np.random.default_rng(seed)
    number = max(1, clusters // _CLUSTERS_PER_GROUP)
    centres = grouped_start(x, clusters, number, rng)
    labels = nearest_of_all(x, centres)
    for _ in range(_ROUNDS):
        centres, labels = improved(x, centres, labels, number, rng)
    return nearest_of_all(x, centres)


def grouped_start(x: Rescaled, clusters: int, number: int, rng: np.random.Generator) -> np.ndarray:
    """Centres [k, dim] to start from.

    At most 100 images per cluster are divided into groups, and each group finds its share of the centres by itself with
    `coarse_start`, in proportion to its images.
    """
    rows = sample(len(x), max(_IMAGES_PER_CENTRE * clusters, _FEWEST_IMAGES), rng)
    middles = quick_means(x[rows[sample(len(rows), _IMAGES_PER_GROUP * number, rng)]], number, rng)
    found = [group for group in members(nearest_of_all(x, middles, rows), number) if len(group)]
    shares = largest_remainders([len(group) for group in found], clusters)
    seeds = rng.integers(2**31, size=len(found))

    def centres(g: int) -> np.ndarray:
        return coarse_start(x[rows[found[g]]], int(shares[g]), int(seeds[g]))

    return np.concatenate(side_by_side(centres, len(found)))


def improved(
    x: Rescaled, centres: np.ndarray, labels: np.ndarray, number: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """An `epoch` in each of so many groups of neighbouring centres.

    Args:
      x: n embeddings.
      centres: [k, dim].
      labels: [n] a centre near each image; the image belongs to its group.
      number: of groups.
      rng: of the groups and the order of the images.

    Returns:
      New centres, and [n] int32 the nearest to each image of those in its group.
    """
    middles = quick_means(centres, number, rng)
    group = nearest(Rescaled(centres), np.arange(len(centres)), middles)
    own_centres, own_images = members(group, number), members(group[labels], number)
    seeds = rng.integers(2**31, size=number)
    new, found = centres.copy(), np.empty_like(labels)

    def one(g: int) -> None:
        if len(own_images[g]):
            new[own_centres[g]], chosen = epoch(x, own_images[g], centres[own_centres[g]], int(seeds[g]))
            found[own_images[g]] = own_centres[g][chosen]

    side_by_side(one, number)
    return new, found


def epoch(x: Rescaled, rows: np.ndarray, centres: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mini-batch k-means that sees each of these images once, in random order.

    A centre is the mean of the images that were nearest to it in this epoch: those of epochs before would hold it back.

    Args:
      x: the embeddings.
      rows: [m] numbers of the images, rising.
      centres: [c, dim] to start from; where there are fewer images than centres, they stay as they are.
      seed: of the order.

    Returns:
      New centres, and [m] the nearest of them.
    """
    if len(rows) >= len(centres):
        kmeans = MiniBatchKMeans(len(centres), init=centres, n_init=1, reassignment_ratio=0, compute_labels=False)
        batches = max(1, len(rows) // max(_BATCH_PER_CENTRE * len(centres), _SMALLEST_BATCH))
        for batch in np.array_split(np.random.default_rng(seed).permutation(rows), batches):
            kmeans.partial_fit(x[np.sort(batch)])
        centres = kmeans.cluster_centers_
    return centres, nearest(x, rows, centres)


def quick_means(x: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """[clusters, dim] rough centres of [m, dim] numbers, by a short k-means from random ones."""
    kmeans = KMeans(clusters, init="random", n_init=1, max_iter=3, random_state=int(rng.integers(2**31)))
    with threadpool_limits(1):  # which fixes the order of its sums
        return kmeans.fit(x).cluster_centers_


def nearest(x: Rescaled, rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """argmin_c ||x_i - c||^2 = argmax_c x_i c - ||c||^2 / 2 for these images, a piece of them at a time: [m] int32."""
    halves, piece = (centres**2).sum(axis=1) / 2, max(1, _PIECE // max(centres.shape))
    found, scores = np.empty(len(rows), np.int32), np.empty((min(piece, len(rows)), len(centres)), np.float32)
    for i in range(0, len(rows), piece):
        part = rows[i : i + piece]
        here = np.matmul(x[part], centres.T, out=scores[: len(part)])
        here -= halves
        found[i : i + piece] = here.argmax(axis=1)
    return found


def nearest_of_all(x: Rescaled, centres: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """`nearest` of all images, or of these, on all cores."""
    rows = np.arange(len(x)) if rows is None else rows
    parts = np.array_split(rows, _PARTS)
    return np.concatenate(side_by_side(lambda i: nearest(x, parts[i], centres), _PARTS))


def members(groups: np.ndarray, number: int) -> list[np.ndarray]:
    """For each of so many groups the places, rising, where it stands in the array."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.searchsorted(groups[order], np.arange(1, number)))


def sample(n: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """min(n, wanted) of the numbers 0..n-1, uniform without replacement, rising."""
    return np.arange(n) if wanted >= n else np.sort(rng.choice(n, wanted, replace=False))


def largest_remainders(sizes: Sequence[int] | np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in proportion to the sizes by largest remainder, but at least 1 and at most the size.

    Args:
      sizes: [groups] at least 1 each.
      total: what they sum to, from the number of groups to the sum of the sizes.
    """
    rest = np.asarray(sizes) - 1
    quotas = rest * (total - len(rest)) / max(1, rest.sum())
    numbers = np.floor(quotas).astype(int)
    left = np.argsort(numbers - quotas, kind="stable")[: total - len(rest) - numbers.sum()]
    numbers[left] += 1
    return 1 + numbers
