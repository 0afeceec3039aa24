"""Embeddings as they should be compared: centered on the mean of the training images, or only scaled to length 1."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from cactus_tf.types import PiecewiseArray

SHORTEST = 1e-12  # a row of zeros stays one
_PIECE = 16_384  # rows at once, as embeddings may be memory maps


def center(embeddings: np.ndarray, norm: str, share: float = 1.0) -> np.ndarray:
    """[dim] float32: what is subtracted: a share of the mean of [n, dim] embeddings, or zeros if norm is "unit"."""
    total = np.zeros(embeddings.shape[1])
    if norm == "centered":
        for piece in _pieces(embeddings):
            total += piece.sum(axis=0, dtype=np.float64)
    return (share * total / max(1, len(embeddings))).astype(np.float32)


def normalized(embeddings: np.ndarray, center: np.ndarray) -> np.ndarray:
    """(z - c) / |z - c| of each row: [n, dim] float32."""
    with np.errstate(over="ignore", invalid="ignore"):  # whoever uses the rows checks that they are finite
        z = np.asarray(embeddings, np.float32) - center
        return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), SHORTEST)


def normalized_pieces(embeddings: np.ndarray, center: np.ndarray) -> PiecewiseArray:
    """As `normalized`, of embeddings that may not fit in memory."""
    return PiecewiseArray(
        embeddings.shape, np.float32, lambda: (normalized(piece, center) for piece in _pieces(embeddings))
    )


def _pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + _PIECE] for start in range(0, len(rows), _PIECE))
