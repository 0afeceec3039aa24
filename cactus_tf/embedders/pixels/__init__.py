"""Pixels as they are, whitened, or their principal components: the embedding to beat."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import Embedder, EmbedderContext
from cactus_tf.embedders._base import image_arrays, saving
from cactus_tf.embedders._base.transformer import Transformer
from cactus_tf.embedders.pixels import whitening
from cactus_tf.errors import InputError
from cactus_tf.utils import seeds

log = logging.getLogger(__name__)

_FITTED_BYTES = 512_000_000  # as float32: 163,265 images of 28x28, 6,046 of 84x84x3
_SQUARES = 4  # matrices of d x d float64 that whitening d numbers takes: d may be 4,000, and is 3,072 for 32x32x3
_TRUNCATED = 256  # as many as DeepCluster's whitened embedding has, which the paper clusters at 84x84x3


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the pixel embedding."""

    dims: int = option(
        0,
        "principal components to keep, found from 512 MB of the images as float32 where there are more; "
        "0 keeps every pixel",
        low=0,
    )
    whiten: bool = option(
        False,
        "normalise each image's contrast and whiten (ZCA, the paper's pixels row); of images of more than 4,000 "
        "numbers, such as 84x84x3, the first 256 components alone, unless --pixels_dims says how many",
    )


def flat(images: np.ndarray) -> np.ndarray:
    """[n, h, w, c] uint8 -> [n, h w c] float32 in [0, 1], row-major."""
    x = np.asarray(images).reshape(len(images), -1).astype(np.float32)
    x /= 255  # in place: there may be 512 MB of it
    return x


class Pixels(Transformer):
    """z = x / 255, or its projection on the first components of the training images, or whitened pixels.

    Components are those of all training images where these take at most 512 MB as float32 (163,265 of 28x28), else of
    as many as do, drawn at random with the seed.

    Whitened, z = W x of contrast-normalised pixels x in 0..255, with the ZCA matrix W of all training images
    (`_whitening`). `dims` of them are the first components, each divided by its standard deviation. So are, 256 of
    them unless `dims` says how many, those of images of more than 4,000 numbers: the covariance of 84x84x3 would take
    3.6 GB. 256 is what DeepCluster keeps of its features and whitens, which is what the paper clusters at that size.
    They are found by a randomised search from 512 MB of the images, as above.
    """

    def __init__(self, dims: int, whiten: bool = False):
        self._dims, self._whiten = dims, whiten
        self._shape: tuple[int, ...] | None = None
        self._mean = self._components = np.zeros(0, np.float32)

    def fit(
        self, images: np.ndarray, y: Any = None, *, seed: int = 0, folder: Path | None = None, callbacks: Sequence = ()
    ):
        """Fits the components, if any are asked for, and returns itself; y is not looked at.

        Raises:
          InputError: images of another form, or fewer pixels or images than components.
        """
        image_arrays.check_images(images)
        if self._whiten:
            self._components = _whitened(images, self._dims, seed)
        elif self._dims:
            self._mean, self._components = _principal(images, self._dims, seed)
        self._shape = images.shape[1:]
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, h w c or number of components] float32.

        Raises:
          InputError: not fitted yet, or images of another shape.
        """
        image_arrays.check_images(images, self._fitted())
        return image_arrays.in_chunks(self._project, images, chunk=1024)

    def encode(self, images):
        """As `transform`, of a tensor, by TensorFlow.

        Raises:
          InputError: not fitted yet.
        """
        import tensorflow as tf

        x = tf.cast(tf.reshape(images, (-1, math.prod(self._fitted()))), tf.float32)
        if self._whiten:
            x -= tf.reduce_mean(x, axis=1, keepdims=True)
            x /= tf.sqrt(tf.reduce_mean(tf.square(x), axis=1, keepdims=True) + whitening.CONTRAST)
            return tf.matmul(x, self._components, transpose_b=True)
        x /= 255
        return tf.matmul(x - self._mean, self._components, transpose_b=True) if self._dims else x

    def save(self, folder: Path) -> None:
        """Writes what `load` needs."""
        description = {"image_shape": list(self._fitted()), "dims": self._dims, "whiten": self._whiten}
        saving.write(folder, "pixels", description, [self._mean, self._components])

    def load(self, folder: Path):
        """Restores what `save` wrote and returns itself.

        Raises:
          InputError: the folder holds no pixel embedder, or a damaged one.
        """
        with saving.reading(folder, "pixels") as (there, arrays):
            self._shape, self._dims, self._whiten = tuple(there["image_shape"]), there["dims"], there["whiten"]
            self._mean, self._components = arrays
        return self

    def _project(self, images: np.ndarray) -> np.ndarray:
        if self._whiten:
            return whitening.normalised(images) @ self._components.T
        x = flat(images)
        return (x - self._mean) @ self._components.T if self._dims else x

    def _fitted(self) -> tuple[int, ...]:
        if self._shape is None:
            raise InputError("pixels is not fitted yet; call fit or load first")
        return self._shape


def _principal(images: np.ndarray, dims: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean [d] and components [dims, d] of the images, or of a part of them that memory can hold."""
    from sklearn.decomposition import PCA

    part = _part(images, dims, seed)
    _check_dims(dims, part)
    pca = PCA(dims, copy=False, random_state=_pca_seed(seed)).fit(flat(part))
    log.info("pixels: %d components hold %.1f%% of the variance", dims, 100 * pca.explained_variance_ratio_.sum())
    return pca.mean_, pca.components_


def _whitened(images: np.ndarray, dims: int, seed: int) -> np.ndarray:
    """W [d, d], or its first components [dims, d], of the images; of large ones always components."""
    d = int(np.prod(images.shape[1:]))
    _check_dims(dims, images)
    if _SQUARES * 8 * d * d <= _FITTED_BYTES:
        products = whitening.covariance(images)
        return whitening.principal(products, dims) if dims else whitening.zca(products)
    part = _part(images, dims or _TRUNCATED, seed)
    dims = dims or min(_TRUNCATED, len(part), d)
    components, held = whitening.truncated(whitening.normalised(part), dims, _pca_seed(seed))
    log.info(
        "pixels: images of %d numbers are too large to whiten whole; %d components are, with %.1f%% of the variance",
        d, dims, 100 * held,
    )  # fmt: skip
    return components


def _check_dims(dims: int, images: np.ndarray) -> None:
    most = min(len(images), int(np.prod(images.shape[1:])))
    if dims > most:
        raise InputError(f"pixels: {dims} components of {len(images)} images are at most {most}; lower --pixels_dims")


def _pca_seed(seed: int) -> int:
    return seeds.derive(seed, "pixels pca") & 0xFFFFFFFF


def _part(images: np.ndarray, dims: int, seed: int) -> np.ndarray:
    """All images, or a uniform draw without replacement of as many as may be held as float32, in the order of the file.

    There are at least as many as components, however large the images.
    """
    held = max(dims, _FITTED_BYTES // (4 * int(np.prod(images.shape[1:]))))
    if len(images) <= held:
        return images
    log.info("pixels: components of %d of the %d images", held, len(images))
    rng = np.random.default_rng(seeds.derive(seed, "pixels part"))
    return images[np.sort(rng.choice(len(images), held, replace=False))]


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """Pixels, not fitted yet; there are no steps to choose."""
    options = options or Options()
    return Pixels(options.dims, options.whiten)
