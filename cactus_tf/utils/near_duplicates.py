"""Near-duplicates: images whose embeddings, or whose small gray copies, have a cosine close to 1.

Small gray copies find resized, recompressed, brighter and darker copies. Embeddings of a pretrained network also find
some that are mirrored or cropped; blur, as of an enlarged copy, changes them more than it changes a small copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cactus_tf.types import GroupedPartition, PiecewiseArray
from cactus_tf.utils import progress

EMBEDDING_COSINE = 0.95
"""Of 4.7 million pairs of 3,068 photographs of clothes, one is above it and is a duplicate; the next ones, of similar
trousers, are at 0.92 (EfficientNet-Lite0) and 0.88 (MobileNetV2)."""
THUMBNAIL_COSINE = 0.995
"""Of the same pairs, the duplicate is at 1.000 and the next one at 0.978. Copies of half the size, of JPEG quality
40 or 15% brighter are above 0.995. Drawings need a threshold this high: of 2,000 handwritten digits of MNIST, 634 are
at 0.98 or more to one of 9,000 others, and 2 at 0.995."""
_SIDE = 16  # pixels of a small copy, at most
_PIECE, _TILE = 256, 2048  # images read at once; rows compared with as many at once, 16 MB of cosines
_ROUNDING = 1e-6  # of a cosine of float32 rows
_SHORTEST = 8.0  # of the block means, half a shade of 255 each: a copy of one shade and some noise becomes zeros


class Compared(NamedTuple):
    """[n, dim] float32 rows of length 1, and the cosine from which on two of them are near-duplicates."""

    rows: np.ndarray
    threshold: float


def thumbnails(images: np.ndarray) -> np.ndarray:
    """Small gray copies to compare by cosine.

    Args:
      images: [n, h, w, c] uint8; may be a memory map.

    Returns:
      [n, dim] float32: at most 16x16 block means, minus their mean, of length 1; zeros for an image of one shade.
    """
    return np.asarray(thumbnail_pieces(images)) if len(images) else np.zeros((0, 1), np.float32)


def thumbnail_pieces(images: np.ndarray) -> PiecewiseArray:
    """As `thumbnails`, of images whose copies may not fit in memory."""

    def pieces() -> Iterator[np.ndarray]:
        return (_thumbnails(np.asarray(images[i : i + _PIECE])) for i in range(0, len(images), _PIECE))

    dim = _thumbnails(np.zeros((1, *images.shape[1:]), np.uint8)).shape[1]
    return PiecewiseArray((len(images), dim), np.float32, pieces)


def _thumbnails(images: np.ndarray) -> np.ndarray:
    n, height, width, channels = images.shape
    down, across = -(-height // _SIDE), -(-width // _SIDE)  # pixels of a block
    rows, columns = height // down, width // across
    blocks = images[:, : rows * down, : columns * across].reshape(n, rows, down, columns, across, channels)
    small = blocks.mean(axis=(2, 4, 5), dtype=np.float32).reshape(n, -1)
    small -= small.mean(axis=1, keepdims=True)
    length = np.linalg.norm(small, axis=1, keepdims=True)
    return np.where(length < _SHORTEST, 0, small / np.maximum(length, _SHORTEST)).astype(np.float32)


def groups(compared: Sequence[Compared]) -> list[np.ndarray]:
    """Groups of rows that pairs of near-duplicates connect, the largest first.

    Two rows are a pair if any of the comparisons says so. The rows are compared in tiles, and pairs are merged into
    groups tile by tile, so memory does not grow with the number of pairs.

    Args:
      compared: one or more ways to compare the same n images.

    Returns:
      Of each group of two or more, the row numbers, ascending.
    """
    n = len(compared[0].rows)
    labels, tiles = np.arange(n), [(i, j) for i in range(0, n, _TILE) for j in range(i, n, _TILE)]
    bar = progress.Bar(tiles, desc="near-duplicates", unit="block", delay=progress.DELAY)
    for i, j in bar:
        for one in compared:
            labels = _joined(labels, *_pairs(one, i, j))
    found = GroupedPartition.from_assignments(labels)
    members = [found.cluster(c) for c in np.flatnonzero(found.sizes > 1).tolist()]
    return sorted(members, key=lambda group: (-len(group), group[0]))


def _pairs(compared: Compared, i: int, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the near-duplicates in the tile from rows i on and rows j on."""
    rows, threshold = compared
    near = np.asarray(rows[i : i + _TILE]) @ np.asarray(rows[j : j + _TILE]).T >= threshold - _ROUNDING
    one, other = np.nonzero(np.triu(near, 1) if i == j else near)
    return one + i, other + j


def _joined(labels: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[n] labels of groups, with those of each pair merged."""
    a, b = labels[one], labels[other]
    if np.array_equal(a, b):
        return labels
    graph = coo_array((np.ones(len(a), np.int8), (a, b)), shape=(len(labels), len(labels)))
    return connected_components(graph.tocsr(), directed=False)[1][labels]


def nearest(one: Compared, other: np.ndarray) -> np.ndarray:
    """[n] for each row of one, the number of the most similar row of the other, or -1 if none is a near-duplicate.

    Args:
      one: [n, dim], with the threshold.
      other: [m, dim] float32 rows of length 1.
    """
    result = np.full(len(one.rows), -1)
    for i, rows in _tiles(one.rows):
        best = np.full(len(rows), one.threshold - _ROUNDING, np.float32)
        for j, others in _tiles(other):
            cosines = rows @ others.T
            candidate = cosines.argmax(axis=1)
            highest = cosines[np.arange(len(rows)), candidate]
            better = highest >= best
            result[i : i + len(rows)][better] = candidate[better] + j
            best = np.maximum(best, highest)
    return result


def _tiles(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    return ((start, np.asarray(rows[start : start + _TILE])) for start in range(0, len(rows), _TILE))
