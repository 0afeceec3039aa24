"""First centers of k-means."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.decomposition import PCA

# Measured with benchmarks/kmeans.py: greedy k-means++ on few images in few dimensions, then short k-means in few
# dimensions. Fewer dimensions for the choice cost up to 2% of inertia.
_SEED_DIMS, _IMAGES_PER_CENTER, _TRIALS = 64, 16, 16
_STAGES = ((32, 10), (96, 20))  # (dimensions, iterations)


def coarse_start(x: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Centers to start k-means from, at a fraction of the time of k-means++ on all images.

    Greedy k-means++ on 16 images per center in the 64 main directions; then, on all images, 10 iterations of k-means in
    32 and 20 in 96 main directions; then the means of these clusters in all dimensions.

    Args:
      x: [n, dim] float32.
      clusters: k <= n.
      seed: of the choice.

    Returns:
      [k, dim] float32.
    """
    rng = np.random.default_rng(seed)
    dims = max(_SEED_DIMS, *(d for d, _ in _STAGES))
    with np.errstate(invalid="ignore"):  # equal images have no variance to explain
        y = PCA(min(dims, *x.shape), random_state=seed).fit_transform(x)
    sample = rng.choice(len(x), min(len(x), _IMAGES_PER_CENTER * clusters), replace=False)
    # In float64, since scikit-learn would convert float32 at every one of its k steps.
    candidates = y[sample, :_SEED_DIMS].astype(np.float64)
    _, chosen = kmeans_plusplus(candidates, clusters, random_state=seed, n_local_trials=_TRIALS)
    first = sample[chosen]
    centers = y[first]
    for dims, iterations in _STAGES:
        coarse = KMeans(clusters, init=centers[:, :dims], n_init=1, max_iter=iterations).fit(y[:, :dims])
        centers = cluster_means(y, coarse.labels_, empty=y[first])
    return cluster_means(x, coarse.labels_, empty=x[first])


def cluster_means(x: np.ndarray, assignments: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Means [k, dim] of the clusters.

    Args:
      x: [n, dim] float32.
      assignments: [n] integers in 0..k-1.
      empty: [k, dim], the values for clusters without images.
    """
    sizes = np.bincount(assignments, minlength=len(empty))
    members = csr_array((np.ones(len(x), x.dtype), (assignments, np.arange(len(x)))), shape=(len(empty), len(x)))
    return np.where(sizes[:, None] > 0, (members @ x) / np.maximum(sizes, 1)[:, None].astype(x.dtype), empty)
