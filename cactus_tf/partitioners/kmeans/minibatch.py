"""K-means of a million images into ten thousand clusters, in minutes and in bounded memory.

Mini-batch k-means (Sculley 2010, "Web-scale k-means clustering") by scikit-learn's `MiniBatchKMeans`, within groups of
about 250 neighboring centers. An image is compared with the centers of one group, so a round takes time in proportion
to the number of images, whatever the number of clusters. Every round has other groups, so that clusters on both sides
of a border between groups meet in a later round. Only before the first round and after the last one is every image
compared with every center.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans, MiniBatchKMeans
from threadpoolctl import threadpool_limits

from cactus_tf.partitioners._rescaled import Rescaled
from cactus_tf.partitioners.kmeans.start import coarse_start
from cactus_tf.utils.threads import parallel_map

# Measured with benchmarks/kmeans_scale.py. Groups of 100 clusters cost as much inertia as half the rounds. 16 rounds
# instead of 32 cost 0.4% of inertia at 100,000 images and 1.1% at a million, and save 16 of 65 seconds there. An epoch
# over all images and clusters at once is worth two or three rounds and takes as long as 17 at a million images. Batches
# of 5 images per cluster cost up to 0.7%, of 20 up to 0.5%; means over all epochs instead of new ones in each up to 2%;
# moving the centers of small clusters (`reassignment_ratio`) never helps.
_CLUSTERS_PER_GROUP = 250
_IMAGES_PER_GROUP = 100  # images that the first groups are computed from
_IMAGES_PER_CENTER, _FEWEST_IMAGES = 100, 100_000  # images that the first centers are computed from
_ROUNDS = 32
_BATCH_PER_CENTER, _SMALLEST_BATCH = 10, 1_000
_PARTS = 64  # parts of the images, each processed by one core
_CHUNK = 1 << 22  # numbers in memory at once on each core: 16 MiB


def fit(x: Rescaled, clusters: int, seed: int, images: int | None = None) -> np.ndarray:
    """One clustering, on all cores; the result does not depend on their number.

    Memory is that of a batch, a chunk and a part of the start per core, and of a few numbers per image.

    Args:
      x: n embeddings.
      clusters: k <= n.
      seed: of the sample, the start, the groups and the order of the images.
      images: the centers are computed from a sample of at most as many images, at least k; None for all.

    Returns:
      [n] int32 in 0..k-1, the nearest of the final centers.
    """
    rng = np.random.default_rng(seed)
    fitted = x if images is None or images >= len(x) else x.only(sample(len(x), images, rng))
    return nearest_of_all(x, final_centers(fitted, clusters, rng))


def final_centers(x: Rescaled, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """The centers [k, dim] after the last round."""
    groups = max(1, clusters // _CLUSTERS_PER_GROUP)
    centers = grouped_start(x, clusters, groups, rng)
    labels = nearest_of_all(x, centers)
    for _ in range(_ROUNDS):
        centers, labels = improved(x, centers, labels, groups, rng)
    return centers


def grouped_start(x: Rescaled, clusters: int, groups: int, rng: np.random.Generator) -> np.ndarray:
    """First centers [k, dim].

    At most 100 images per cluster are divided into groups. `coarse_start` gives each group its share of the centers, in
    proportion to its images.
    """
    rows = sample(len(x), max(_IMAGES_PER_CENTER * clusters, _FEWEST_IMAGES), rng)
    middles = quick_means(x[rows[sample(len(rows), _IMAGES_PER_GROUP * groups, rng)]], groups, rng)
    own_rows = [rows[group] for group in members(nearest_of_all(x, middles, rows), groups) if len(group)]
    shares = largest_remainders([len(group) for group in own_rows], clusters)
    seeds = rng.integers(2**31, size=len(own_rows))
    starts = parallel_map(lambda g: coarse_start(x[own_rows[g]], int(shares[g]), int(seeds[g])), len(own_rows))
    return np.concatenate(starts)


def improved(
    x: Rescaled, centers: np.ndarray, labels: np.ndarray, groups: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """One round: an `epoch` in each group of neighboring centers.

    Args:
      x: n embeddings.
      centers: [k, dim].
      labels: [n] a center near each image, whose group the image belongs to.
      groups: number of groups.
      rng: of the groups and the order of the images.

    Returns:
      New centers, and [n] int32 the nearest to each image of those in its group.
    """
    middles = quick_means(centers, groups, rng)
    group = nearest(Rescaled(centers), np.arange(len(centers)), middles)
    own_centers, own_images = members(group, groups), members(group[labels], groups)
    seeds = rng.integers(2**31, size=groups)
    new_centers, new_labels = centers.copy(), np.empty_like(labels)

    def one(g: int) -> None:
        if len(own_images[g]):
            new_centers[own_centers[g]], chosen = epoch(x, own_images[g], centers[own_centers[g]], int(seeds[g]))
            new_labels[own_images[g]] = own_centers[g][chosen]

    parallel_map(one, groups)
    return new_centers, new_labels


def epoch(x: Rescaled, rows: np.ndarray, centers: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mini-batch k-means that reads each of these images once, in random order.

    A center is the mean of the images that were nearest to it in this epoch; those of earlier epochs would slow it.

    Args:
      x: the embeddings.
      rows: [m] sorted numbers of the images.
      centers: [c, dim] to start from; they stay unchanged where there are fewer images than centers.
      seed: of the order.

    Returns:
      New centers, and [m] the nearest of them.
    """
    if len(rows) >= len(centers):
        kmeans = MiniBatchKMeans(len(centers), init=centers, n_init=1, reassignment_ratio=0, compute_labels=False)
        batches = max(1, len(rows) // max(_BATCH_PER_CENTER * len(centers), _SMALLEST_BATCH))
        for batch in np.array_split(np.random.default_rng(seed).permutation(rows), batches):
            kmeans.partial_fit(x[np.sort(batch)])
        centers = kmeans.cluster_centers_
    return centers, nearest(x, rows, centers)


def quick_means(x: np.ndarray, clusters: int, rng: np.random.Generator) -> np.ndarray:
    """[clusters, dim] rough centers of [m, dim] numbers, by three iterations of k-means from random ones."""
    kmeans = KMeans(clusters, init="random", n_init=1, max_iter=3, random_state=int(rng.integers(2**31)))
    with threadpool_limits(1):  # fixes the order of sums
        return kmeans.fit(x).cluster_centers_


def nearest(x: Rescaled, rows: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """[m] int32 argmin_c ||x_i - c||^2 = argmax_c x_i c - ||c||^2 / 2 of these images, in chunks."""
    halves, chunk = (centers**2).sum(axis=1) / 2, max(1, _CHUNK // max(centers.shape))
    labels, scores = np.empty(len(rows), np.int32), np.empty((min(chunk, len(rows)), len(centers)), np.float32)
    for i in range(0, len(rows), chunk):
        part = rows[i : i + chunk]
        part_scores = np.matmul(x[part], centers.T, out=scores[: len(part)])
        part_scores -= halves
        labels[i : i + chunk] = part_scores.argmax(axis=1)
    return labels


def nearest_of_all(x: Rescaled, centers: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """`nearest` of all images, or of these, on all cores."""
    rows = np.arange(len(x)) if rows is None else rows
    parts = np.array_split(rows, _PARTS)
    return np.concatenate(parallel_map(lambda i: nearest(x, parts[i], centers), _PARTS))


def members(groups: np.ndarray, number: int) -> list[np.ndarray]:
    """The sorted positions of each group 0..number-1 in the array."""
    order = np.argsort(groups, kind="stable")
    return np.split(order, np.searchsorted(groups[order], np.arange(1, number)))


def sample(n: int, wanted: int, rng: np.random.Generator) -> np.ndarray:
    """min(n, wanted) of the numbers 0..n-1, uniform without replacement, sorted."""
    return np.arange(n) if wanted >= n else np.sort(rng.choice(n, wanted, replace=False))


def largest_remainders(sizes: Sequence[int] | np.ndarray, total: int) -> np.ndarray:
    """Whole numbers in proportion to the sizes by largest remainder, but at least 1 and at most the size.

    Args:
      sizes: [groups] at least 1 each.
      total: their sum, from the number of groups to the sum of the sizes.
    """
    rest = np.asarray(sizes) - 1
    quotas = rest * (total - len(rest)) / max(1, rest.sum())
    numbers = np.floor(quotas).astype(int)
    left = np.argsort(numbers - quotas, kind="stable")[: total - len(rest) - numbers.sum()]
    numbers[left] += 1
    return 1 + numbers
