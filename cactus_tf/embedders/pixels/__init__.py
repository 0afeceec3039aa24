"""Pixels as they are, whitened, or their principal components: the baseline embedding."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cactus_tf.config.schema import from_saved, option
from cactus_tf.contracts import Embedder, EmbedderContext, EmbedderInfo
from cactus_tf.embedders._base import image_arrays, saving
from cactus_tf.embedders._base.estimator import ImageTransformer
from cactus_tf.embedders.pixels import components, whitening
from cactus_tf.errors import InputError
from cactus_tf.utils.arrays import as_float32

if TYPE_CHECKING:
    import tensorflow as tf

INFO = EmbedderInfo()


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the pixel embedding."""

    dims: int = option(
        0,
        "principal components, from at most 512 MB of the images as float32; 0 keeps all pixels",
        low=0,
        source="ours",
    )
    whiten: bool = option(
        False,
        "normalize contrast and whiten (ZCA); images above 4,000 numbers: 256 components by default",
        source="ours; the pixels of Hsu et al. 2019 are whitened",
    )


@dataclasses.dataclass(frozen=True)
class _Saved:
    """What embedder.json says of the images."""

    image_shape: tuple[int, ...] = option(dataclasses.MISSING, "(height, width, channels)", low=1, high=1 << 16)


class Pixels(ImageTransformer):
    """z = x / 255, or its projection on the first components of the training images, or whitened pixels.

    Whitened, z = W x of contrast-normalized pixels x in 0..255, with the ZCA matrix W of all training images
    (`whitening`). With `dims`, z is the first components, each divided by its standard deviation. Images of more than
    4,000 numbers always give components, by default 256: the covariance of 84x84x3 would take 3.6 GB, and 256 is the
    size of DeepCluster's whitened features, which the paper clusters at 84x84x3.
    """

    def __init__(self, dims: int, whiten: bool = False):
        self.dims, self.whiten = dims, whiten
        self._shape: tuple[int, ...] | None = None
        self._mean = self._components = np.zeros(0, np.float32)

    def fit(
        self, images: np.ndarray, y: Any = None, *, seed: int = 0, folder: Path | None = None, callbacks: Sequence = ()
    ) -> Pixels:
        """Finds the components, if there are any, and returns itself.

        Raises:
          InputError: not an array of images, or fewer pixels or images than components.
        """
        image_arrays.check_images(images)
        if self.whiten:
            self._components = components.whitened(images, self.dims, seed)
        elif self.dims:
            self._mean, self._components = components.principal(images, self.dims, seed)
        self._shape = images.shape[1:]
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, h w c or number of components] float32.

        Raises:
          InputError: not fitted yet, or images of another shape.
        """
        image_arrays.check_images(images, self._fitted_shape())
        return image_arrays.in_chunks(self._project, images, chunk=1024)

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """As `transform`, of a tensor, by TensorFlow.

        Raises:
          InputError: not fitted yet.
        """
        import tensorflow as tf

        x = tf.cast(tf.reshape(images, (-1, math.prod(self._fitted_shape()))), tf.float32)
        if self.whiten:
            x -= tf.reduce_mean(x, axis=1, keepdims=True)
            x /= tf.sqrt(tf.reduce_mean(tf.square(x), axis=1, keepdims=True) + whitening.CONTRAST)
            return tf.matmul(x, self._components, transpose_b=True)
        x /= 255
        return tf.matmul(x - self._mean, self._components, transpose_b=True) if self.dims else x

    def save(self, folder: Path) -> None:
        """Writes what `load` needs."""
        description = {"image_shape": list(self._fitted_shape()), "dims": self.dims, "whiten": self.whiten}
        saving.write(folder, "pixels", description, [self._mean, self._components])

    def load(self, folder: Path) -> Pixels:
        """Restores what `save` wrote and returns itself.

        Raises:
          InputError: the folder holds no pixel embedder, or a damaged one.
        """
        with saving.reading(folder, "pixels") as (saved, arrays):
            shape = saved.pop("image_shape")
            options: Options = saving.options(Options, saved, folder)
            self._shape, self.dims, self.whiten = _image_shape(shape), options.dims, options.whiten
            self._mean, self._components = _checked(arrays, math.prod(self._shape), self.dims, self.whiten)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return self._shape is not None

    def _project(self, images: np.ndarray) -> np.ndarray:
        if self.whiten:
            return _projected(whitening.normalized(images), self._components)
        x = components.flat(images)
        return _projected(x - self._mean, self._components) if self.dims else x

    def _fitted_shape(self) -> tuple[int, ...]:
        if self._shape is None:
            raise InputError("pixels is not fitted yet; call fit or load first")
        return self._shape


def _projected(x: np.ndarray, components: np.ndarray) -> np.ndarray:
    """x W^T; whoever uses it checks that it is finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return x @ components.T


def _image_shape(saved: Any) -> tuple[int, ...]:
    """(height, width, channels) of a description."""
    about: _Saved = from_saved(_Saved, {"image_shape": saved})
    if len(about.image_shape) != 3:
        raise InputError(f"image_shape is {list(about.image_shape)}, not height, width and channels")
    return about.image_shape


def _checked(arrays: Sequence[np.ndarray], pixels: int, dims: int, whiten: bool) -> tuple[np.ndarray, np.ndarray]:
    """The stored mean and components, whose shapes fit the images.

    Raises:
      InputError: they do not, or they are not finite numbers.
    """
    mean, components = arrays
    used = bool(dims or whiten)
    if mean.shape != (pixels if dims and not whiten else 0,):
        raise InputError(f"the mean has shape {list(mean.shape)}, and images have {pixels} numbers")
    if components.shape != ((dims or len(components), pixels) if used else (0,)):
        raise InputError(f"the components have shape {list(components.shape)}, and images have {pixels} numbers")
    components = as_float32(components, "components") if used else components
    return as_float32(mean[np.newaxis], "mean")[0], components


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """Pixels, not fitted yet."""
    options = options or Options()
    return Pixels(options.dims, options.whiten)
