"""Partitions from the graph of nearest neighbors: clusters of any size, found by density, without isolated images.

An image is described by its k-reciprocal neighbors (Zhong et al. 2017, "Re-ranking person re-identification with
k-reciprocal encoding"); images that share many of them have a small Jaccard distance. DBSCAN clusters the images by
these distances, as in UFLST (Ji et al. 2019, "Unsupervised few-shot learning via self-supervised training"). Images in
no dense region are noise and belong to no cluster. Partition 0 clusters the embeddings themselves; every other
partition clusters a copy whose columns are rescaled at random, as k-means does.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_matrix, csr_array
from sklearn.cluster import DBSCAN
from sklearn.neighbors import sort_graph_by_row_values

from cactus_tf.config.schema import option
from cactus_tf.contracts import PartitionContext, Partitioner, PartitionerInfo
from cactus_tf.errors import InputError
from cactus_tf.partitioners._rescaled import rescaled
from cactus_tf.partitioners.neighbors import graph
from cactus_tf.partitioners.neighbors.graph import Pairs
from cactus_tf.types import AssignedPartitions, Partitions
from cactus_tf.utils import progress
from cactus_tf.utils.seeds import counter_rng

log = logging.getLogger(__name__)

INFO = PartitionerInfo(clusters_of_its_own=True, ignores_clusters=True)
_ROUNDING = 1e-6  # of a distance


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the neighbor graph and its clusters."""

    k: int = option(
        20,
        "nearest neighbors that an image is described by",
        symbol="k1",
        low=2,
        source="Zhong et al. 2017; Ji et al. 2019",
    )
    average: int = option(
        6,
        "average an image's description over this many nearest images, itself included; 1: no average",
        symbol="k2",
        low=1,
        source="Zhong et al. 2017; Ji et al. 2019",
    )
    pairs: float = option(
        5.5,
        "eps is the mean of this many smallest distances per image",
        low=0.1,
        source="Ji et al. 2019, code: the smallest 0.05% of the distances of 22,000 images",
    )
    eps: float | None = option(
        None, "largest distance of neighbors in a cluster, from 0 to 1; replaces pairs", symbol="eps", low=0, high=1
    )
    min_images: int = option(
        4,
        "images within eps, itself included, that make an image the inside of a cluster",
        low=1,
        source="Ji et al. 2019, code",
    )


def build(clusters: int, partitions: int, options: Options | None = None) -> Partitioner:
    """P partitions; density decides the number of clusters, so k is not used."""
    return functools.partial(_partitions, partitions, options or Options())


def _partitions(partitions: int, options: Options, context: PartitionContext) -> Partitions:
    embeddings = np.asarray(context.embeddings, np.float32)

    def make(p: int) -> np.ndarray:
        return fit(rescaled(embeddings, p, counter_rng(context.seed, p)).whole(), options)

    bar = progress.Bar(range(partitions), "partitions", unit="partition", shorter="--partitions shortens it")
    made = AssignedPartitions([context.cache(f"partition-{p:04d}", functools.partial(make, p)) for p in bar])
    _check(made, options, context)
    return made


def fit(x: np.ndarray, options: Options) -> np.ndarray:
    """One clustering, on all cores; the result does not depend on their number.

    Args:
      x: [n, dim] float32.
      options: the settings.

    Returns:
      [n] int32, the cluster of each image, -1 for none.
    """
    if len(x) < 2:
        return np.full(len(x), -1, np.int32)
    wanted = max(1, round(options.pairs * len(x)))
    keep = functools.partial(graph.smallest, wanted)
    if options.eps is not None:
        keep = functools.partial(graph.within, max(options.eps, _ROUNDING))
    pairs = graph.near_pairs(describe(x, options), keep)
    eps = mean_of_smallest(pairs.distances, wanted) if options.eps is None else options.eps
    return cluster(pairs, len(x), max(eps, _ROUNDING), options.min_images)


def describe(x: np.ndarray, options: Options) -> csr_array:
    """[n, n] sparse descriptions of the images by their k-reciprocal neighbors; every row has sum 1."""
    neighbors = graph.nearest(x, min(options.k, len(x) - 1))
    half = graph.reciprocal(neighbors[:, : 1 + round(options.k / 2)])
    return graph.averaged(graph.expanded(graph.reciprocal(neighbors), half), neighbors[:, : options.average])


def mean_of_smallest(distances: np.ndarray, number: int) -> float:
    """The mean of so many smallest distances: eps. Ji et al. 2019, code."""
    return float(np.sort(distances)[:number].mean(dtype=np.float64)) if len(distances) else 0.0


def cluster(pairs: Pairs, images: int, eps: float, min_images: int) -> np.ndarray:
    """[n] int32 clusters by DBSCAN, -1 for noise.

    Args:
      pairs: at least all pairs that are at most eps apart.
      images: n.
      eps: largest distance of neighbors.
      min_images: neighbors, itself included, that make an image the inside of a cluster.
    """
    near, every = graph.within(eps, pairs), np.arange(images)
    rows, columns = np.concatenate([near.one, near.other, every]), np.concatenate([near.other, near.one, every])
    values = np.concatenate([near.distances, near.distances, np.zeros(images)])
    distances = coo_matrix((values, (rows, columns)), shape=(images, images)).tocsr()
    distances = sort_graph_by_row_values(distances, warn_when_not_sorted=False)
    return DBSCAN(eps=eps, min_samples=min_images, metric="precomputed").fit_predict(distances).astype(np.int32)


def _check(partitions: Partitions, options: Options, context: PartitionContext) -> None:
    """Says how many clusters there are; refuses partitions none of which has enough of them for an episode."""
    usable = [int(np.count_nonzero(p.sizes >= context.images_per_cluster)) for p in partitions]
    inside = [p.sizes.sum() / context.images for p in partitions]
    largest = max(p.sizes.max(initial=0) for p in partitions) / context.images
    clusters = f"clusters of {context.images_per_cluster} images or more (shot + query)"
    if max(usable) < context.way:
        radius = "--neighbors_pairs" if options.eps is None else "--neighbors_eps"
        raise InputError(
            f"neighbors: only {max(usable)} {clusters}, and an episode needs --way={context.way}: of "
            f"{context.images} images, {1 - max(inside):.0%} are in none and {largest:.0%} in the largest; raise "
            f"{radius} if most are in none, lower it if most are in one, or lower --way, --shot or --query"
        )
    log.info("neighbors: %s %s; %s of the images are in a cluster, up to %.0f%% in the same",
             _span(usable, ","), clusters, _span(inside, ".0%"), 100 * largest)  # fmt: skip


def _span(values: Sequence[float], form: str) -> str:
    """The least and the largest number, or the only one."""
    least, most = format(min(values), form), format(max(values), form)
    return most if least == most else f"{least} to {most}"
