"""Partitions by k-means on the embeddings. Hsu et al. 2019, Algorithm 1 and section 3.

Partition 0 clusters the embeddings as they are, every other one a copy whose columns are scaled by their own U(0, 1)
numbers. K-means is scikit-learn's; so are the steps that find its start (`coarse_start`), and the mini-batches that
take its place where there are too many images or clusters (`_minibatch`).
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import warnings
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from cactus_tf.config.schema import option
from cactus_tf.contracts import PartitionContext, Partitioner
from cactus_tf.errors import InputError
from cactus_tf.partitioners.kmeans import minibatch
from cactus_tf.partitioners.kmeans.minibatch import Rescaled
from cactus_tf.partitioners.kmeans.start import coarse_start
from cactus_tf.types import AssignedPartitions, Partitions
from cactus_tf.utils import progress
from cactus_tf.utils.seeds import counter_rng
from cactus_tf.utils.threads import side_by_side

log = logging.getLogger(__name__)

USES_EMBEDDINGS = True
VERSION = 2
MAX_ITERATIONS, TOLERANCE = 3000, 1e-4  # the authors' code
_ELKAN_BOUNDS = 5e7  # Elkan's k-means, of the same result, keeps a float32 per image and cluster: at most 200 MB
_EXACT = 1e8
"""Images x clusters, the distances of one iteration, and images x dim, the numbers in memory, from which on k-means is
made of mini-batches. CelebA's 162,770 images of 256 numbers in 500 clusters are 8.1e7 and 4.2e7. At 1e8 distances of 64
numbers k-means takes 22 seconds of a core, two and a half times as many as mini-batches, for 0.8% less inertia. 1e8
numbers are 400 MB, of which k-means makes three copies on every core."""
METHODS = ("auto", "exact", "minibatch")
_PIECE = 1 << 24  # numbers that are looked at together


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
    restarts: int = option(
        10, "new starts for a partition that is not accepted; then the best is taken; minibatch has none", low=0
    )
    method: str = option(
        "auto", "exact, minibatch, or auto: minibatch where images x clusters or images x dim reach 1e8"
    )

    def __post_init__(self):
        if self.method not in METHODS:
            raise InputError(
                f"--kmeans_method={self.method}: there is no such method; choose from {', '.join(METHODS)}"
            )


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
    exact = is_exact(options.method, clusters, *embeddings.shape)
    starts = 1 if partitions > 1 else 10  # n_init of the authors' code
    rule = options if exact else dataclasses.replace(options, restarts=0)

    def make(p: int) -> np.ndarray:
        rng = counter_rng(context.seed, p)
        scale = rng.random((embeddings.shape[1],), dtype=np.float32) if options.scaled and p > 0 else None
        x = Rescaled(embeddings, scale)
        if exact:
            attempt = functools.partial(fit, x.whole(), clusters, starts)
        else:
            attempt = functools.partial(minibatch.fit, x, clusters)
        return accepted(p, attempt, clusters, context.way, rule, rng)

    def keep(p: int) -> np.ndarray:
        return context.cache(f"partition-{p:04d}", functools.partial(make, p))

    bar = functools.partial(progress.bar, desc="partitions", unit="partition")
    with warnings.catch_warnings():  # of fewer distinct embeddings than clusters: `accepted` says it in our words
        warnings.simplefilter("ignore", ConvergenceWarning)
        if exact:
            return AssignedPartitions(side_by_side(keep, partitions, watch=bar), clusters)
        return AssignedPartitions([keep(p) for p in bar(range(partitions))], clusters)  # each takes all cores


def is_exact(method: str, clusters: int, images: int, dim: int) -> bool:
    """Whether k-means goes over all images until nothing changes: as said or, for "auto", by size."""
    return method == "exact" or (method == "auto" and images * max(clusters, dim) < _EXACT)


def accepted(p: int, attempt, clusters: int, way: int, options: Options, rng: np.random.Generator) -> np.ndarray:
    """Clusters until enough clusters are large; after `restarts` new starts the best attempt, with a warning.

    Mini-batches get no new start (`restarts` is 0). It would cost minutes, and tell nothing new: among the thousands of
    clusters that they are for, the large ones are the same share from every start within a percent; and where clusters
    are few, so many images make every one of them large.

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
    bad = not_finite(embeddings)
    if bad:
        raise InputError(f"kmeans: {bad} of {len(embeddings)} embeddings are NaN or infinite; train the embedder anew")
    if clusters > len(embeddings):
        raise InputError(
            f"kmeans: {clusters} clusters are more than {len(embeddings)} images: lower --clusters to {len(embeddings)}"
        )
    if context.way > clusters:
        raise InputError(f"kmeans: way {context.way} is more than {clusters} clusters: lower --way or raise --clusters")
    return embeddings


def not_finite(rows: np.ndarray) -> int:
    """How many rows of [n, dim] hold NaN or infinity; a piece at a time, for memory maps."""
    piece = max(1, _PIECE // max(1, rows.shape[1]))
    pieces = (rows[i : i + piece] for i in range(0, len(rows), piece))
    return sum(int(np.count_nonzero(~np.isfinite(x).all(axis=1))) for x in pieces)
