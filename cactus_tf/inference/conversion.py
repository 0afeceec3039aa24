"""Arrays of images in any range and size to what a learner takes: uint8, of its size and number of channels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from cactus_tf import datasets
from cactus_tf.errors import InputError

log = logging.getLogger(__name__)

_UNIT, _BYTES = 1, 255  # the largest values of the two scales


def pixel_scale(images: Any) -> int | None:
    """The scale of floating-point images: 1 if no value is above 1, else 255; None for integers.

    Args:
      images: [n, h, w] or [n, h, w, c], or a list of [h, w] or [h, w, c].
    """
    return _scale_of(_highest(_arrays(images)))


def prepare(
    images: Any,
    scale: int | None = None,
    shape: tuple[int, ...] | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> np.ndarray:
    """[n, height, width, channels] uint8.

    Other sizes are resized as by `--dataset=folder`: the middle of the image, with smoothing. Color becomes gray by
    ITU-R 601 (0.299 R + 0.587 G + 0.114 B); gray becomes color by equal channels.

    Args:
      images: as of `pixel_scale`.
      scale: of floating-point images, 1 or 255; None takes `pixel_scale`. Integers are in 0..255.
      shape: (height, width, channels) of the result; None keeps that of the images.
      pixel_range: the values of integers with more than 8 bits that become 0 and 255; None leaves them.
    """
    arrays = [_in_range(array, pixel_range) for array in _arrays(images)]
    high = _highest(arrays)
    _check_range(high, scale)
    scale = scale or _scale_of(high)
    arrays = [_bytes(array, scale) for array in arrays]
    if shape is None:
        shapes = sorted({array.shape[1:] for array in arrays})
        if len(shapes) > 1:
            raise InputError(f"images have {len(shapes)} shapes, {shapes[0]} and others: resize them to one")
        return np.concatenate(arrays)
    _log_changes(arrays, shape)
    return np.concatenate([_resized(array, shape) for array in arrays])


def _arrays(images: Any) -> list[np.ndarray]:
    """The images as one array [n, h, w, c], or as one array per image for a list of several shapes."""
    if isinstance(images, Sequence) and len(images) and len({np.shape(image) for image in images}) > 1:
        return [_with_channels(np.asarray(image)[np.newaxis]) for image in images]
    array = np.asarray(images)
    if array.size and array.dtype.kind not in "biuf":
        raise InputError(f"images are of type {array.dtype}: give numbers, 0..255 or 0..1")
    return [_with_channels(array)]


def _with_channels(array: np.ndarray) -> np.ndarray:
    if not len(array):
        raise InputError("there are no images: give at least one")
    if array.ndim not in (3, 4) or not array.size:
        raise InputError(
            f"images must be [n, height, width] or [n, height, width, channels], not {list(array.shape)}: reshape them"
        )
    if array.ndim == 3 and array.shape[-1] in (1, 3):
        raise InputError(f"{list(array.shape)} is the shape of one image, not of a list: give image[None]")
    array = array[..., np.newaxis] if array.ndim == 3 else array
    if array.shape[-1] not in (1, 3):
        raise InputError(
            f"images have {array.shape[-1]} channels, their shape is {list(array.shape)}: give 1 (gray) or 3 (color) "
            "as the last axis"
        )
    return array


def _checked(array: np.ndarray) -> np.ndarray:
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise InputError("images hold NaN or infinity: leave those images out")
    if low < 0 or high > _BYTES:
        raise InputError(f"images hold values from {low:g} to {high:g}: scale them to 0..255 or 0..1")
    return array


def _highest(arrays: Sequence[np.ndarray]) -> float | None:
    """The largest value of floating-point images; None where there are none."""
    return max((float(_checked(array).max()) for array in arrays if array.dtype.kind == "f"), default=None)


def _scale_of(high: float | None) -> int | None:
    return None if high is None else _UNIT if high <= _UNIT else _BYTES


def _check_range(high: float | None, scale: int | None) -> None:
    """The images of later calls must have the range of the first; an all-black image has any."""
    if scale == _UNIT and high is not None and high > _UNIT:
        raise InputError(f"these images reach {high:g}, and those of fit were in 0..1: give both in one range")
    if scale == _BYTES and high is not None and 0 < high <= _UNIT:
        raise InputError(
            f"these images reach no more than {high:g}, and those of fit were in 0..255: give both in one range"
        )


def _bytes(array: np.ndarray, scale: int | None) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == bool:
        return array.astype(np.uint8) * np.uint8(_BYTES)
    if _checked(array).dtype.kind in "iu":
        return array.astype(np.uint8)
    return np.rint(array * np.float64(_BYTES / (scale or _BYTES))).astype(np.uint8)


def _in_range(array: np.ndarray, pixel_range: tuple[float, float] | None) -> np.ndarray:
    """Integers of more than 8 bits as uint8."""
    if pixel_range is None or array.dtype.kind not in "iu" or array.dtype.itemsize == 1:
        return array
    return datasets.scaled(array.astype(np.float32), datasets.PixelRange(*pixel_range))


def _log_changes(arrays: Sequence[np.ndarray], shape: tuple[int, ...]) -> None:
    other_shapes = sorted({array.shape[1:] for array in arrays} - {tuple(shape)})
    if other_shapes:
        sizes = ", ".join("x".join(map(str, other)) for other in other_shapes[:3])
        sizes += ", ..." if len(other_shapes) > 3 else ""
        log.info("images of %s are resized to %s, the shape of the training images", sizes, "x".join(map(str, shape)))


def _resized(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if array.shape[1:] == tuple(shape):
        return array
    pictures = (Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in array)
    return np.stack([datasets.fitted(picture, shape) for picture in pictures])
