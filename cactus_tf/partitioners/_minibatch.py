"""K-means of a million images into ten thousand clusters, in minutes and in bounded memory.

Mini-batches (Sculley 2010, "Web-scale k-means clustering"), scikit-learn's `MiniBatchKMeans`, in place of iterations
over all images until nothing changes. They need a good start and batches that hold some images of every cluster.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

from cactus_tf.partitioners._start import coarse_start
from cactus_tf.partitioners._threads import side_by_side

# By measurement, on 50,000 digits and 100,000 synthetic embeddings. Groups of 100 clusters cost 5% of inertia at the
# start and 1% at the end. Batches of 5 images per cluster cost up to 0.7%, of 20 up to 0.5%; means over all epochs, in
# place of new ones in each, up to 2%; moving the centres of small clusters (`reassignment_ratio`) only does harm. From
# the third epoch to the fifth inertia falls by 0.4%, at a million images by 1%.
_CLUSTERS_PER_GROUP = 250
_IMAGES_PER_GROUP = 100  # that the groups are found from
_IMAGES_PER_CENTRE = 100  # that the start is found from
_BATCH_PER_CENTRE = 10
_EPOCHS = 5
_FEWEST = 1000  # centres that samples and batches are measured for, where there are fewer
_PIECE = 1 << 24  # numbers that are read at once: 64 MiB


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

    A start from groups, five epochs of mini-batches, and the nearest centre of every image. Each epoch forgets what the
    centres were means of: an image that counted for a centre long ago would hold it back. Memory is that of a few
    copies of a batch, 10 images per cluster, whatever the number of images.

    Args:
      x: n embeddings.
      clusters: k <= n.
      seed: of the start and of the order of the images.

    Returns:
      [n] int32 in 0..k-1.
    """
    rng = np.random.default_rng(seed)
    centres = grouped_start(x, clusters, rng)
    for _ in range(_EPOCHS):
        kmeans = epoch(x, centres, rng)
        centres = kmeans.cluster_centers_
    return in_pieces(kmeans.predict, x, np.arange(len(x)))


def grouped_start(x: Rescaled, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """Centres to start from, in a time that grows with the number of images and not with that of clusters.

    At most 100 images per cluster are divided into k / 250 groups, and each group finds its share of the centres by
    itself with `coarse_start`, about 250 and in proportion to its images.

    Returns:
      [k, dim] float32.
    """
    rows = sample(len(x), _IMAGES_PER_CENTRE * max(clusters, _FEWEST), rng)
    groups = max(1, clusters // _CLUSTERS_PER_GROUP)
    few = rows[sample(len(rows), _IMAGES_PER_GROUP * groups, rng)]
    with threadpool_limits(1):  # which fixes the order of its sums
        top = KMeans(groups, n_init=1, random_state=int(rng.integers(2**31))).fit(x[few])
    group = in_pieces(top.predict, x, rows)
    numbers = shares(np.bincount(group, minlength=groups), clusters)
    seeds = rng.integers(2**31, size=groups)

    def centres(g: int) -> np.ndarray:
        members = x[rows[group == g]]
        alone = numbers[g] in (0, len(members))
        return members[: numbers[g]] if alone else coarse_start(members, numbers[g], int(seeds[g]))

    return np.concatenate(side_by_side(centres, groups))


def epoch(x: Rescaled, centres: np.ndarray, rng: np.random.Generator) -> MiniBatchKMeans:
    """Mini-batch k-means that has seen every image once, in random order, from these [k, dim] centres."""
    kmeans = MiniBatchKMeans(len(centres), init=centres, n_init=1, reassignment_ratio=0, compute_labels=False)
    batches = len(x) // (_BATCH_PER_CENTRE * max(len(centres), _FEWEST))
    for rows in np.array_split(rng.permutation(len(x)), max(1, batches)):
        kmeans.partial_fit(x[np.sort(rows)])
    return kmeans


def in_pieces(predict: Callable[[np.ndarray], np.ndarray], x: Rescaled, rows: np.ndarray) -> np.ndarray:
    """predict(x[rows]), an integer for each of them, with 64 MiB of the images in memory at a time."""
    piece = max(1, _PIECE // x.embeddings.shape[1])
    return np.concatenate([predict(x[rows[i : i + piece]]) for i in range(0, len(rows), piece)])


def sample(n: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """min(n, wanted) of the numbers 0..n-1, uniform without replacement, rising."""
    return np.arange(n) if wanted >= n else np.sort(rng.choice(n, wanted, replace=False))


def shares(sizes: np.ndarray | Sequence[int], total: int) -> np.ndarray:
    """Whole numbers in proportion to the sizes, by largest remainder; none is above its size.

    Args:
      sizes: [groups] numbers of images.
      total: what the shares sum to, at most sum(sizes).
    """
    quotas = np.asarray(sizes) * total / np.sum(sizes)
    numbers = np.floor(quotas).astype(int)
    left = np.argsort(numbers - quotas, kind="stable")[: total - numbers.sum()]
    numbers[left] += 1
    return numbers
