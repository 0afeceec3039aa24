"""Embeddings as they should be compared: centered on the mean of the training images, or only scaled to length 1."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cactus_tf.contracts import Embedder, GraphEncoder, TrainedNetwork
from cactus_tf.embedders._base.estimator import ImageTransformer
from cactus_tf.errors import InputError
from cactus_tf.types import Array, PiecewiseArray
from cactus_tf.utils import files

if TYPE_CHECKING:
    import tensorflow as tf

log = logging.getLogger(__name__)

_FILE = "center.npy"
_PIECE = 16_384  # rows at once, as embeddings may be memory maps
_SHORTEST = 1e-12  # a row of zeros stays one


def center(embeddings: np.ndarray, norm: str, share: float = 1.0) -> np.ndarray:
    """[dim] float32: what is subtracted: a share of the mean of [n, dim] embeddings, or zeros if norm is "unit"."""
    total = np.zeros(embeddings.shape[1])
    if norm == "centered":
        for piece in _pieces(embeddings):
            total += piece.sum(axis=0, dtype=np.float64)
    return (share * total / max(1, len(embeddings))).astype(np.float32)


def normalized(embeddings: np.ndarray, center: np.ndarray) -> np.ndarray:
    """(z - c) / |z - c| of each row: [n, dim] float32."""
    z = np.asarray(embeddings, np.float32) - center
    return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), _SHORTEST)


def normalized_pieces(embeddings: np.ndarray, center: np.ndarray) -> PiecewiseArray:
    """As `normalized`, of embeddings that may not fit in memory."""
    return PiecewiseArray(
        embeddings.shape, np.float32, lambda: (normalized(piece, center) for piece in _pieces(embeddings))
    )


def _pieces(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + _PIECE] for start in range(0, len(rows), _PIECE))


class Normalized(ImageTransformer):
    """An embedder whose embeddings are centered and scaled to length 1.

    Args:
      embedder: that computes the embeddings.
      norm: "centered" or "unit".
      share: of the mean training embedding that "centered" subtracts, 0..1.
      center: [dim] what is subtracted, if the embedder is fitted; None: `fit` or `load` finds it.
    """

    def __init__(self, embedder: Embedder, norm: str, share: float, center: np.ndarray | None = None):
        self.embedder, self.norm, self.share, self.center = embedder, norm, share, center

    def fit(
        self, images: np.ndarray, y: Any = None, *, seed: int = 0, folder: Path | None = None, callbacks: Sequence = ()
    ) -> Normalized:
        """Fits the embedder, embeds the images if their mean is needed, and returns itself."""
        self.fit_transform(images, seed=seed, folder=folder, callbacks=callbacks)
        return self

    def fit_transform(self, images: np.ndarray, y: Any = None, **fit: Any) -> np.ndarray:
        """As `fit` and then `transform` of the same images, which are embedded once."""
        embeddings = self.embedder.fit(images, **fit).transform(images)
        self.center = center(embeddings, self.norm, self.share)
        return normalized(embeddings, self.center)

    def transform(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32 of length 1."""
        return normalized(self.embedder.transform(images), self._fitted_center())

    def save(self, folder: Path) -> None:
        """Writes what `load` needs."""
        fitted, folder = self._fitted_center(), files.make_folder(Path(folder), "save")
        self.embedder.save(folder)
        files.write_atomic(folder / _FILE, lambda file: np.save(file, fitted))

    def load(self, folder: Path) -> Normalized:
        """Restores what `save` wrote and returns itself.

        Raises:
          InputError: the folder holds no such embedder, or a damaged one.
        """
        self.embedder.load(folder)
        try:
            self.center = np.load(Path(folder) / _FILE, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(
                f"{folder} holds no readable {_FILE} ({error}): fit and save the embedder again"
            ) from error
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return self.center is not None

    def _fitted_center(self) -> np.ndarray:
        if self.center is None:
            raise InputError("the embedder is not fitted yet; call fit or load first")
        return self.center


class NormalizedEncoder(Normalized):
    """A `Normalized` embedder that works in a TensorFlow graph."""

    embedder: Any  # a GraphEncoder

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """As `transform`, of a tensor, by TensorFlow."""
        import tensorflow as tf

        z = self.embedder.encode(images) - self._fitted_center()
        return z / tf.maximum(tf.norm(z, axis=1, keepdims=True), _SHORTEST)


class NormalizedNetwork(NormalizedEncoder):
    """A `NormalizedEncoder` around a network that was trained step by step."""

    @property
    def curve(self) -> list[dict[str, float]]:
        """The learning curve of the network."""
        return self.embedder.curve

    def pictures(self, images: Array) -> Mapping[str, Array]:
        """The pictures of the network."""
        return self.embedder.pictures(images)


def wrapped(embedder: Embedder, norm: str, share: float, center: np.ndarray | None = None) -> Embedder:
    """The embedder, normalized; it offers what the embedder offers."""
    if norm == "none":
        return embedder
    encodes = isinstance(embedder, GraphEncoder)
    kind = NormalizedNetwork if encodes and isinstance(embedder, TrainedNetwork) else NormalizedEncoder
    return (kind if encodes else Normalized)(embedder, norm, share, center)
