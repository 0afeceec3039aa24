"""Partitions by k-means on the embeddings. Hsu et al. 2019, Algorithm 1 and section 3.

Partition 0 clusters the embeddings as they are, every other one a copy whose columns are scaled by their own U(0, 1)
numbers. K-means is scikit-learn's; so are the steps that find its start (`coarse_start`).
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from scipy.sparse import csr_array
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from cactus_tf import progress
from cactus_tf.config import option
from cactus_tf.errors import InputError
from cactus_tf.seeds import counter_rng
from cactus_tf.types import AssignedPartitions, PartitionContext, Partitioner, Partitions

log = logging.getLogger(__name__)

T = TypeVar("T")

USES_EMBEDDINGS = True
MAX_ITERATIONS, TOLERANCE = 3000, 1e-4  # the authors' code
_ELKAN_BOUNDS = 5e7  # Elkan's k-means, of the same result, keeps a float32 per image and cluster: at most 200 MB
# The start, by measurement (benchmarks/kmeans.py): a greedy k-means++ on few images in few dimensions, then short
# k-means in few dimensions. Fewer dimensions for the choice cost up to 2% of inertia.
_SEED_DIMS, _IMAGES_PER_CENTRE, _TRIALS = 64, 16, 16
_STAGES = ((32, 10), (96, 20))  # (dimensions, iterations)


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of k-means."""

    scaled: bool = option(True, "rescale the embeddings at random for all partitions but the first")
    accept_images: int = option(
        6, "images that a cluster needs to count as large", low=1, source="MAML's shot 1 + query 5"
    )
    accept_fraction: float = option(
        0.75, "a partition is accepted when more than this part of its clusters are large", low=0, high=1
    )
    restarts: int = option(10, "new starts for a partition that is not accepted; then the best is taken", low=0)


class Attempt(NamedTuple):
    """One clustering: [n] int32 assignments and the number of clusters that are large."""

    assignments: np.ndarray
    large: int


def build(clusters: int, partitions: int, options: Options | None = None) -> Partitioner:
    """P partitions of k clusters each; called with a context that holds embeddings.

    The partitioner raises InputError for embeddings that are missing or not finite, and for more clusters than images.
    """
    return functools.partial(_divide, clusters, partitions, options or Options())


def _divide(clusters: int, partitions: int, options: Options, context: PartitionContext) -> Partitions:
    embeddings = checked(context, clusters, partitions)
    starts = 1 if partitions > 1 else 10  # n_init of the authors' code

    def make(p: int) -> np.ndarray:
        rng = counter_rng(context.seed, p)
        rescale = options.scaled and p > 0
        x = embeddings * rng.random(embeddings.shape[1], dtype=np.float32) if rescale else embeddings
        return accepted(p, functools.partial(fit, x, clusters, starts), clusters, context.way, options, rng)

    def keep(p: int) -> np.ndarray:
        return context.memo(f"partition-{p:04d}", functools.partial(make, p))

    bar = functools.partial(progress.bar, desc="partitions", unit="partition")
    return AssignedPartitions(side_by_side(keep, partitions, watch=bar), clusters)


def side_by_side(make: Callable[[int], T], number: int, watch: Callable = iter) -> list[T]:
    """[make(0), make(1), ...], as many at once as there are cores, with one thread each.

    That is faster than many threads for one clustering, above all for small ones, and the order of its sums is fixed.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores, number)
    limit = functools.partial(threadpool_limits, 1)  # OpenMP counts threads per thread
    with limit(), ThreadPoolExecutor(workers, initializer=limit) as pool:
        jobs = [pool.submit(make, i) for i in range(number)]
        try:
            return [job.result() for job in watch(jobs)]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def accepted(p: int, attempt, clusters: int, way: int, options: Options, rng: np.random.Generator) -> np.ndarray:
    """Clusters until enough clusters are large; after `restarts` new starts the best attempt, with a warning.

    Args:
      p: number of the partition, for the warning.
      attempt: a function of a seed that gives [n] assignments.
      clusters: k; more than accept_fraction k clusters must be large.
      way: N; at least as many must be large, too.
      options: the rule.
      rng: gives the seed of every attempt.
    """
    best = Attempt(np.zeros(0, np.int32), -1)
    for _ in range(options.restarts + 1):
        assignments = attempt(int(rng.integers(2**31)))
        large = int(np.count_nonzero(np.bincount(assignments, minlength=clusters) >= options.accept_images))
        best = max(best, Attempt(assignments, large), key=lambda a: a.large)
        if large > options.accept_fraction * clusters and large >= way:
            return assignments
    log.warning(
        "partition %d: %d of %d clusters have %d images or more, after %d attempts; it is used all the same",
        p, best.large, clusters, options.accept_images, options.restarts + 1,
    )  # fmt: skip
    return best.assignments


def fit(x: np.ndarray, clusters: int, starts: int, seed: int) -> np.ndarray:
    """The best of several k-means.

    Args:
      x: [n, dim] float32.
      clusters: k.
      starts: number of k-means; that of the lowest inertia is taken.
      seed: of the starts.

    Returns:
      [n] int32 in 0..k-1.
    """
    algorithm = "elkan" if len(x) * clusters <= _ELKAN_BOUNDS else "lloyd"

    def once(i: int) -> KMeans:
        start = coarse_start(x, clusters, seed + i)
        kmeans = KMeans(clusters, init=start, n_init=1, max_iter=MAX_ITERATIONS, tol=TOLERANCE, algorithm=algorithm)
        return kmeans.fit(x)

    found = side_by_side(once, starts)
    return min(found, key=lambda k: k.inertia_).labels_.astype(np.int32)


def coarse_start(x: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Centres to start k-means from, for a small part of what the usual start costs.

    Greedy k-means++ on 16 images per centre in the 64 main directions, then on all images 10 iterations of k-means in
    32 and 20 in 96 main directions, and the means of these clusters in all dimensions.

    Args:
      x: [n, dim] float32.
      clusters: k <= n.
      seed: of the choice.

    Returns:
      [k, dim] float32.
    """
    rng = np.random.default_rng(seed)
    dims = max(_SEED_DIMS, *(d for d, _ in _STAGES))
    y = PCA(min(dims, *x.shape), random_state=seed).fit_transform(x)
    sample = rng.choice(len(x), min(len(x), _IMAGES_PER_CENTRE * clusters), replace=False)
    # In float64, since scikit-learn would convert float32 at every one of its k steps.
    candidates = y[sample, :_SEED_DIMS].astype(np.float64)
    _, chosen = kmeans_plusplus(candidates, clusters, random_state=seed, n_local_trials=_TRIALS)
    first = sample[chosen]
    centres = y[first]
    for dims, iterations in _STAGES:
        coarse = KMeans(clusters, init=centres[:, :dims], n_init=1, max_iter=iterations).fit(y[:, :dims])
        centres = cluster_means(y, coarse.labels_, empty=y[first])
    return cluster_means(x, coarse.labels_, empty=x[first])


def cluster_means(x: np.ndarray, assignments: np.ndarray, empty: np.ndarray) -> np.ndarray:
    """Means of the clusters.

    Args:
      x: [n, dim] float32.
      assignments: [n] integers in 0..k-1.
      empty: [k, dim], what stands for a cluster without images.
    """
    sizes = np.bincount(assignments, minlength=len(empty))
    members = csr_array((np.ones(len(x), x.dtype), (assignments, np.arange(len(x)))), shape=(len(empty), len(x)))
    return np.where(sizes[:, None] > 0, (members @ x) / np.maximum(sizes, 1)[:, None].astype(x.dtype), empty)


def checked(context: PartitionContext, clusters: int, partitions: int) -> np.ndarray:
    """The context's embeddings as [n, dim] float32.

    Raises:
      InputError: they are missing or not finite, or the numbers of clusters, partitions and images do not fit.
    """
    if partitions < 1:
        raise InputError(f"kmeans: partitions is {partitions}; it must be at least 1")
    if context.embeddings is None:
        raise InputError("kmeans: there are no embeddings to cluster; choose an --embedder")
    embeddings = np.asarray(context.embeddings, np.float32)
    if embeddings.ndim != 2 or len(embeddings) != context.images:
        raise InputError(f"kmeans: embeddings are {embeddings.shape}; they must be [{context.images}, dim]")
    bad = np.count_nonzero(~np.isfinite(embeddings).all(axis=1))
    if bad:
        raise InputError(f"kmeans: {bad} of {len(embeddings)} embeddings are NaN or infinite; train the embedder anew")
    if clusters > len(embeddings):
        raise InputError(
            f"kmeans: {clusters} clusters are more than {len(embeddings)} images: lower --clusters to {len(embeddings)}"
        )
    if context.way > clusters:
        raise InputError(f"kmeans: way {context.way} is more than {clusters} clusters: lower --way or raise --clusters")
    return embeddings
