"""DeepCluster between epochs: whitened features, k-means, and a balanced order of the images."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

_ONE_THREAD = 1024  # features: small eigenproblems take up to 40 times as long on several busy threads
_NEGLIGIBLE = 1e-6  # of the largest variance: in float32, less is rounding


def whitening(features: np.ndarray, dims: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean m and matrix W, such that the columns of (x - m) W are uncorrelated with variance 1.

    The columns of W are the first principal components, each divided by the root of its variance; zero without
    variance.

    Args:
      features: [n, dim] float32; the mean is subtracted in place.
      dims: at most dim and n.

    Returns:
      [dim] and [dim, dims] float32. Caron et al. 2018, section 4.
    """
    mean = features.mean(axis=0, dtype=np.float64).astype(np.float32)
    features -= mean
    threads = 1 if features.shape[1] <= _ONE_THREAD else None
    with threadpool_limits(threads), np.errstate(invalid="ignore"):  # shares of no variance at all
        pca = PCA(dims, svd_solver="covariance_eigh", copy=False).fit(features)
    variance = pca.explained_variance_
    varied = variance > _NEGLIGIBLE * variance[0]
    scale = np.where(varied, 1 / np.sqrt(np.where(varied, variance, 1)), 0)
    return mean, (pca.components_.T * scale).astype(np.float32)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows divided by their L2 norm; zeros stay."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-6)


def cluster(rows: np.ndarray, clusters: int, iterations: int, seed: int) -> np.ndarray:
    """k-means from distinct random rows, once, without a tolerance.

    A cluster that becomes empty gets the row farthest from its center, as scikit-learn does it; the authors' library
    splits a large cluster in two instead. Clusters that are empty at the end stay empty.

    Returns:
      [n] int32 in 0..clusters-1. Caron et al. 2018, eq. 2.
    """
    kmeans = KMeans(clusters, init="random", n_init=1, max_iter=iterations, tol=0, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters; the log counts them
        return kmeans.fit_predict(rows).astype(np.int32)


def balanced_order(assignments: np.ndarray, rng: np.random.Generator, legacy: bool = False) -> np.ndarray:
    """An epoch's images, equally many of each cluster, in random order.

    From each of the c clusters with images, floor(n / c) + 1 are drawn, with replacement only if it has no more than
    that; n of all these are kept.

    Args:
      assignments: [n] integers.
      rng: of this epoch.
      legacy: as the authors' code: the drawn numbers are taken as places in the list of images sorted by cluster, so
        clusters are drawn in proportion to their sizes.

    Returns:
      [n] image numbers. Caron et al. 2018, section 3.3, "trivial parametrization".
    """
    by_cluster = np.argsort(assignments, kind="stable")
    groups = np.split(by_cluster, np.flatnonzero(np.diff(assignments[by_cluster])) + 1)
    each = len(assignments) // len(groups) + 1
    drawn = np.concatenate([rng.choice(group, each, replace=len(group) <= each) for group in groups])
    order = rng.permutation(drawn)[: len(assignments)]
    return by_cluster[order] if legacy else order


def batches(
    images: np.ndarray, batch: int, first: int, steps: int, ordered: Callable[[int], tuple[np.ndarray, np.ndarray]]
) -> tf.data.Dataset:
    """The steps first ... steps - 1 as (step int64, [batch, h, w, c] uint8, [batch] int32 pseudo-labels).

    Nothing is prefetched: the next batch may belong to an epoch that is not clustered yet.

    Args:
      images: [n, h, w, c] uint8.
      batch: images per step; an epoch has floor(n / batch) steps.
      first, steps: see above.
      ordered: epoch -> [n] image numbers and [n] their pseudo-labels.
    """

    def gather(step: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        epoch, place = divmod(int(step), len(images) // batch)
        order, labels = ordered(epoch)
        here = slice(place * batch, (place + 1) * batch)
        return np.ascontiguousarray(images[order[here]]), labels[here]

    def load(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        gathered, labels = tf.numpy_function(gather, [step], (tf.uint8, tf.int32))
        return step, tf.ensure_shape(gathered, (batch, *images.shape[1:])), tf.ensure_shape(labels, (batch,))

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    return tf.data.Dataset.range(first, steps).map(load).with_options(options)


class AtEpochs(keras.callbacks.Callback):
    """Calls `begin(epoch)` before the first step of every new epoch.

    Args:
      steps: of an epoch.
      begin: prepares an epoch.
      begun: returns the epoch that was prepared last, perhaps in a fit that was stopped.
    """

    def __init__(self, steps: int, begin: Callable[[int], None], begun: Callable[[], int]):
        super().__init__()
        self._steps, self._begin, self._begun = steps, begin, begun

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """`batch` counts from 0 in the whole training."""
        epoch = batch // self._steps
        if self._begun() != epoch:
            self._begin(epoch)
