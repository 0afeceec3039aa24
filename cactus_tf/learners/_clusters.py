"""K-means on the training embeddings, and the labels that a support set gives to its clusters."""

from __future__ import annotations

import functools
import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from cactus_tf.contracts import LearnerContext
from cactus_tf.errors import InputError
from cactus_tf.utils.seeds import derive
from cactus_tf.utils.threads import parallel_map

_MAX_ITERATIONS, _TOLERANCE = 3000, 1e-4  # the authors' code


class TrainingClusters:
    """A k-means clustering of the training embeddings, computed on first use and held in memory.

    Args:
      name: of the learner, for messages and for the seed.
      context: holds the embeddings, k and the seed.
      starts: k-means++ starts; the clustering with the lowest inertia is used.
    """

    def __init__(self, name: str, context: LearnerContext, starts: int):
        self._name, self._context, self._starts = name, context, starts

    @property
    def embeddings(self) -> np.ndarray:
        """[n, dim] float32 of the training images."""
        embeddings, k = self._context.embeddings, self._context.clusters
        if embeddings is None:
            raise InputError(f"{self._name} clusters the training embeddings, but there are none: choose an --embedder")
        if k > len(embeddings):
            raise InputError(
                f"{self._name}: --clusters={k} is more than the {len(embeddings)} training images: lower it"
            )
        return np.asarray(embeddings, np.float32)

    @functools.cached_property
    def _kmeans(self) -> KMeans:
        x, seed = self.embeddings, derive(self._context.seed, f"clusters of {self._name}")

        def once(i: int) -> KMeans:
            state = derive(seed, f"start {i}") % 2**32
            return KMeans(
                self._context.clusters, n_init=1, max_iter=_MAX_ITERATIONS, tol=_TOLERANCE, random_state=state
            ).fit(x)

        with warnings.catch_warnings():  # fewer distinct embeddings than clusters leave clusters empty
            warnings.simplefilter("ignore", ConvergenceWarning)
            return min(parallel_map(once, self._starts), key=lambda kmeans: kmeans.inertia_)

    @property
    def assignments(self) -> np.ndarray:
        """[n] cluster of each training image."""
        return self._kmeans.labels_

    @functools.cached_property
    def sizes(self) -> np.ndarray:
        """[k] number of training images of each cluster."""
        return np.bincount(self.assignments, minlength=len(self._kmeans.cluster_centers_))

    def squared_distances(self, x: np.ndarray) -> np.ndarray:
        """[m, dim] -> [m, k] float64 squared Euclidean distances to the centroids."""
        x, centers = np.asarray(x, np.float64), self._kmeans.cluster_centers_.astype(np.float64)
        squares = (x**2).sum(1)[:, None] - 2 * x @ centers.T + (centers**2).sum(1)
        return np.maximum(squares, 0)


def votes(clusters: np.ndarray, labels: np.ndarray, k: int, way: int) -> np.ndarray:
    """How many support rows of each label fall into each cluster.

    Args:
      clusters: [n] integers in 0..k-1.
      labels: [n] integers in 0..way-1.

    Returns:
      [k, way] int64. `argmax` over labels is the majority, the smallest label among equals.
    """
    counts = np.zeros((k, way), np.int64)
    np.add.at(counts, (clusters, labels), 1)
    return counts
