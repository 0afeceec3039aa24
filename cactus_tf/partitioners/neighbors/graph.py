"""The graph of k-reciprocal neighbors and its Jaccard distances, on sparse rows and in blocks.

Zhong et al. 2017, "Re-ranking person re-identification with k-reciprocal encoding", section 3. No array is [n, n]: a
set has at most a few hundred images, and only the smallest distances are kept.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array, csc_array, csr_array, vstack
from sklearn.neighbors import NearestNeighbors

from cactus_tf.utils import progress
from cactus_tf.utils.threads import cores, parallel_map

ROWS = 1024
"""Images of a block of the search."""
TERMS = 1 << 21
"""Terms of the sums in a block of distances; they take about 100 MB on each core."""
_bar = functools.partial(progress.Bar, unit="block", delay=progress.DELAY)


class Pairs(NamedTuple):
    """[m] pairs of images: their numbers one < other (int32) and Jaccard distances (float32)."""

    one: np.ndarray
    other: np.ndarray
    distances: np.ndarray

    def take(self, chosen: np.ndarray) -> Pairs:
        """The pairs that a mask or their numbers choose."""
        return Pairs(*(column[chosen] for column in self))


def nearest(x: np.ndarray, k: int) -> np.ndarray:
    """Exact nearest neighbors by Euclidean distance, in blocks on all cores.

    Args:
      x: [n, dim] float32.
      k: number of neighbors, below n.

    Returns:
      [n, 1 + k] int32: the image itself, then its neighbors from near to far.
    """
    search = NearestNeighbors(algorithm="brute").fit(x)

    def block(b: int) -> np.ndarray:
        rows = np.arange(b * ROWS, min(len(x), (b + 1) * ROWS))
        found = search.kneighbors(x[rows], k + 1, return_distance=False)
        others = found != rows[:, None]
        others[others.all(axis=1), -1] = False  # more than k images are equal to this one, which was not found itself
        return np.column_stack([rows, found[others].reshape(-1, k)]).astype(np.int32)

    watch = functools.partial(_bar, desc="nearest neighbors")
    return np.concatenate(parallel_map(block, -(-len(x) // ROWS), watch=watch))


def reciprocal(neighbors: np.ndarray) -> csr_array:
    """R(i, k): the images that are among each other's k nearest neighbors, and the image itself. Eq. 2.

    Args:
      neighbors: [n, 1 + k], of `nearest`.

    Returns:
      [n, n] sparse, 1 for the members of each row's set.
    """
    forward = _members(neighbors)
    return csr_array(forward.multiply(forward.T))


def expanded(sets: csr_array, halves: csr_array) -> csr_array:
    """R*(i): R(i, k), and R(q, k/2) of each member q that has over two thirds of it in R(i, k). Eq. 3.

    The authors' code demands more than two thirds; their paper, at least.

    Args:
      sets, halves: `reciprocal` of k and of k/2 neighbors.

    Returns:
      [n, n] sparse, 1 for the members.
    """
    sizes, parts = halves.sum(axis=1), []
    for start in range(0, sets.shape[0], ROWS):
        own = sets[start : start + ROWS]
        shared = coo_array((own @ halves.T).multiply(own))
        enough = 3 * shared.data > 2 * sizes[shared.col]
        alike = coo_array((shared.data[enough], (shared.row[enough], shared.col[enough])), shape=own.shape)
        parts.append(own + alike.tocsr() @ halves)
    joined = vstack(parts, format="csr")
    joined.data[:] = 1
    return joined


def averaged(sets: csr_array, neighbors: np.ndarray) -> csr_array:
    """The features of the images: sets scaled to sum 1, averaged over the nearest neighbors. Eq. 9.

    Args:
      sets: `expanded`.
      neighbors: [n, m], the image itself and m - 1 others that it is averaged with.

    Returns:
      [n, n] sparse; every row has sum 1.
    """
    scaled = csr_array(sets / sets.sum(axis=1)[:, None])
    return csr_array(_members(neighbors) @ scaled / np.float32(neighbors.shape[1]))


def near_pairs(features: csr_array, keep: Callable[[Pairs], Pairs]) -> Pairs:
    """Pairs of images by Jaccard distance, 1 - sum_g min(v_ig, v_jg) / sum_g max(v_ig, v_jg). Eq. 10.

    As rows have sum 1, the sum of the larger ones is 2 minus that of the smaller ones.

    Args:
      features: [n, n] sparse, of `averaged`.
      keep: chooses from the pairs found so far. Pairs that share nothing, of distance 1, are not found.
    """
    columns = csc_array(features)
    bounds = _bounds(features, np.diff(columns.indptr))
    kept = Pairs(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))

    def block(bounds: Sequence[tuple[int, int]], b: int) -> Pairs:
        return keep(_distances(features, columns, *bounds[b]))

    at_once = cores()
    for first in _bar(range(0, len(bounds), at_once), desc="Jaccard distances"):
        blocks = bounds[first : first + at_once]
        found = parallel_map(functools.partial(block, blocks), len(blocks))
        kept = keep(Pairs(*map(np.concatenate, zip(kept, *found, strict=True))))
    return kept


def within(eps: float, pairs: Pairs) -> Pairs:
    """The pairs at most eps apart."""
    return pairs.take(pairs.distances <= eps)


def smallest(number: int, pairs: Pairs) -> Pairs:
    """So many of the nearest pairs, and those that are as near as the last of them."""
    if len(pairs.distances) <= number:
        return pairs
    return within(np.partition(pairs.distances, number - 1)[number - 1], pairs)


def _members(neighbors: np.ndarray) -> csr_array:
    """[n, n] sparse, 1 for the images in each row of [n, m] numbers."""
    n, size = neighbors.shape
    return csr_array((np.ones(n * size, np.float32), neighbors.ravel(), np.arange(n + 1) * size), shape=(n, n))


def _bounds(features: csr_array, uses: np.ndarray) -> list[tuple[int, int]]:
    """First and last row + 1 of blocks of at most TERMS terms, or of one row."""
    terms = np.cumsum(np.add.reduceat(uses[features.indices], features.indptr[:-1]))
    cuts = np.searchsorted(terms, np.arange(TERMS, terms[-1], TERMS), side="right")
    return list(itertools.pairwise(np.unique([0, *cuts, len(terms)]).tolist()))


def _distances(features: csr_array, columns: csc_array, first: int, last: int) -> Pairs:
    """The pairs of images first..last-1 with later ones that share something with them."""
    entries = slice(features.indptr[first], features.indptr[last])
    uses = np.diff(columns.indptr)[features.indices[entries]]  # of the column of each entry
    starts = columns.indptr[features.indices[entries]] - (np.cumsum(uses) - uses)
    terms = np.arange(uses.sum()) + np.repeat(starts, uses)
    rows = np.repeat(np.repeat(np.arange(last - first), np.diff(features.indptr[first : last + 1])), uses)
    later = columns.indices[terms] > rows + first
    terms, rows = terms[later], rows[later]
    values = np.minimum(np.repeat(features.data[entries], uses)[later], columns.data[terms])
    sums = coo_array((values, (rows, columns.indices[terms])), shape=(last - first, features.shape[0])).tocsr().tocoo()
    distances = np.maximum(0, 1 - sums.data / (2 - sums.data))
    return Pairs((sums.row + first).astype(np.int32), sums.col.astype(np.int32), distances)
