"""Partitions by k-means on the embeddings. Hsu et al. 2019, Algorithm 1 and section 3.

Partition 0 clusters the embeddings themselves; every other partition clusters a copy whose columns are scaled by random
numbers from U(0, 1). scikit-learn runs k-means from the centers of `coarse_start`; `minibatch` replaces it where there
are too many images or clusters.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from cactus_tf.config.schema import option
from cactus_tf.contracts import PartitionContext, Partitioner, PartitionerInfo
from cactus_tf.errors import InputError
from cactus_tf.partitioners._rescaled import Rescaled, rescaled
from cactus_tf.partitioners.kmeans import minibatch
from cactus_tf.partitioners.kmeans.start import coarse_start
from cactus_tf.types import AssignedPartitions, Partitions
from cactus_tf.utils import progress
from cactus_tf.utils.seeds import counter_rng
from cactus_tf.utils.threads import parallel_map

log = logging.getLogger(__name__)

INFO = PartitionerInfo(version=2, one_by_one=True)
MAX_ITERATIONS, TOLERANCE = 3000, 1e-4  # the authors' code
_ELKAN_BOUNDS = 5e7  # Elkan's k-means, of the same result, stores a float32 per image and cluster: at most 200 MB
_EXACT = 1e8
"""Images x clusters (distances per iteration) and images x dim (numbers in memory) from which on mini-batches are used.
CelebA's 162,770 images of 256 numbers in 500 clusters are 8.1e7 and 4.2e7. At 1e8 distances of 64 numbers, k-means
takes 22 seconds of a core, two and a half times as long as mini-batches, for 0.8% less inertia. 1e8 numbers are 400 MB,
of which k-means makes three copies per core."""
_SAMPLED, _SAMPLE = 10_000_000, 1_000
"""Images from which on mini-batches compute the centers from a sample by default, and its images per cluster. The cost
of smaller samples is in docs/scale.md."""
METHODS = ("auto", "exact", "minibatch")


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of k-means."""

    scaled: bool = option(
        True, "rescale the embeddings at random for all partitions but the first", source="Hsu et al. 2019, section 3"
    )
    accept_images: int = option(
        6, "images in a cluster that counts as large", low=1, source="Hsu et al. 2019, code: MAML's shot 1 + query 5"
    )
    accept_fraction: float = option(
        0.75,
        "accept a partition with more than this fraction of large clusters",
        low=0,
        high=1,
        source="Hsu et al. 2019, code: MAML; ProtoNets: 0.8",
    )
    restarts: int = option(
        10,
        "new starts of a partition that is not accepted, before the best one is used; minibatch has none",
        low=0,
        source="ours; Hsu et al. 2019, code: no limit",
    )
    method: str = option(
        "auto",
        "exact, minibatch, or auto: minibatch from images x clusters or images x dim of 1e8 on",
        source="ours; Hsu et al. 2019, code: exact",
    )
    sample: int | None = option(
        None,
        "images per cluster that the centers are computed from, by minibatch, before every image is assigned to the "
        "nearest; default: all below 10,000,000 images, 1,000 from there on",
        low=1,
        source="ours; Hsu et al. 2019, code: all",
    )

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise InputError(
                f"--kmeans_method={self.method}: there is no such method; choose from {', '.join(METHODS)}"
            )
        if self.method == "exact" and self.sample is not None:
            raise InputError(
                f"--kmeans_sample={self.sample} is for mini-batches: leave it out, or take --kmeans_method=minibatch"
            )


class Attempt(NamedTuple):
    """One clustering: [n] int32 assignments and the number of large clusters."""

    assignments: np.ndarray
    large: int


def build(clusters: int, partitions: int, options: Options | None = None) -> Partitioner:
    """P partitions of k clusters each, of the context's embeddings."""
    return functools.partial(_partitions, clusters, partitions, options or Options())


def _partitions(clusters: int, partitions: int, options: Options, context: PartitionContext) -> Partitions:
    embeddings = np.asarray(context.embeddings, np.float32)
    exact = options.sample is None and is_exact(options.method, clusters, *embeddings.shape)
    starts = 1 if partitions > 1 else 10  # n_init of the authors' code
    rule = options if exact else dataclasses.replace(options, restarts=0)

    def make(p: int) -> np.ndarray:
        rng = counter_rng(context.seed, p)
        x = rescaled(embeddings, p, rng) if options.scaled else Rescaled(embeddings)
        if exact:
            attempt = functools.partial(fit, x.whole(), clusters, starts)
        else:
            attempt = functools.partial(
                minibatch.fit, x, clusters, images=sample_size(options.sample, clusters, len(x))
            )
        return accepted(p, attempt, clusters, context.way, rule, rng)

    def cached(p: int) -> np.ndarray:
        return context.cache(f"partition-{p:04d}", functools.partial(make, p))

    bar = functools.partial(progress.Bar, desc="partitions", unit="partition", shorter="--partitions shortens it")
    with warnings.catch_warnings():  # of fewer distinct embeddings than clusters, which `accepted` reports
        warnings.simplefilter("ignore", ConvergenceWarning)
        numbers = range(partitions) if context.only is None else context.only
        if exact:
            made = parallel_map(lambda i: cached(numbers[i]), len(numbers), watch=bar)
            return AssignedPartitions(made, clusters)
        return AssignedPartitions([cached(p) for p in bar(numbers)], clusters)  # each uses all cores


def is_exact(method: str, clusters: int, images: int, dim: int) -> bool:
    """Whether k-means iterates over all images to convergence: set by the method or, for "auto", by size."""
    return method == "exact" or (method == "auto" and images * max(clusters, dim) < _EXACT)


def sample_size(per_cluster: int | None, clusters: int, images: int) -> int | None:
    """The number of images that mini-batches compute the centers from; None for all.

    Args:
      per_cluster: images per cluster; None for the default of so many images.
      clusters: k.
      images: n.
    """
    if per_cluster is None:
        per_cluster = _SAMPLE if images >= _SAMPLED else None
    return None if per_cluster is None else per_cluster * clusters


def accepted(
    p: int,
    attempt: Callable[[int], np.ndarray],
    clusters: int,
    way: int,
    options: Options,
    rng: np.random.Generator,
) -> np.ndarray:
    """The first attempt with enough large clusters; after `restarts` new starts the best one, with a warning.

    Mini-batches get no new start (`restarts` is 0): it would cost minutes and change nothing. Of thousands of clusters
    the share of large ones differs by less than a percent between starts; few clusters of so many images are all large.

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
        "partition %d: %d of %d clusters have %d images or more, after %d attempts; using the best one",
        p, best.large, clusters, options.accept_images, options.restarts + 1,
    )  # fmt: skip
    return best.assignments


def fit(x: np.ndarray, clusters: int, starts: int, seed: int) -> np.ndarray:
    """The best of several k-means.

    Args:
      x: [n, dim] float32.
      clusters: k.
      starts: number of k-means; the one with the lowest inertia is returned.
      seed: of the starts.

    Returns:
      [n] int32 in 0..k-1.
    """
    algorithm = "elkan" if len(x) * clusters <= _ELKAN_BOUNDS else "lloyd"

    def once(i: int) -> KMeans:
        start = coarse_start(x, clusters, seed + i)
        kmeans = KMeans(clusters, init=start, n_init=1, max_iter=MAX_ITERATIONS, tol=TOLERANCE, algorithm=algorithm)
        return kmeans.fit(x)

    return min(parallel_map(once, starts), key=lambda kmeans: kmeans.inertia_).labels_.astype(np.int32)
