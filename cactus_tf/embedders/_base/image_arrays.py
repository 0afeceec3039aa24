"""Checks of image arrays, and chunked evaluation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from cactus_tf.errors import InputError
from cactus_tf.utils import progress


def check_images(images: np.ndarray, shape: tuple[int, ...] | None = None, name: str = "images") -> None:
    """Refuses what is not [n, height, width, channels] uint8, or not of the (height, width, channels) of the fit."""
    if images.dtype != np.uint8 or images.ndim != 4:
        raise InputError(
            f"{name} must be uint8 of shape [n, height, width, channels], not {images.dtype} of shape "
            f"{list(images.shape)}: scale to 0..255 and give gray images a last axis of 1"
        )
    _, a, b, c = images.shape
    if a in (1, 3) and c not in (1, 3) and b > 4:
        raise InputError(f"{name} of shape {list(images.shape)} have their channels first; transpose(0, 2, 3, 1) them")
    if shape is not None and images.shape[1:] != tuple(shape):
        raise InputError(f"the embedder was fitted on {text(shape)} images, these are {text(images.shape[1:])}")


def text(shape: tuple[int, ...]) -> str:
    """An image shape for messages: 28x28x1."""
    return "x".join(map(str, shape))


def in_chunks(function: Callable[[np.ndarray], np.ndarray], images: np.ndarray, chunk: int = 128) -> np.ndarray:
    """Rows of function(images), computed a few images at a time, with a progress bar.

    Args:
      function: [m, h, w, c] uint8 -> [m, dim], row by row.
      images: [n, h, w, c] uint8, often a memory map.
      chunk: images at a time, which bounds the memory.

    Returns:
      [n, dim] float32.
    """
    if not len(images):  # convolutions of no image fail
        return in_chunks(function, np.zeros((1, *images.shape[1:]), images.dtype))[:0]
    first = np.asarray(function(np.asarray(images[:chunk])))
    rows = np.empty((len(images), first.shape[1]), np.float32)
    rows[:chunk] = first
    with progress.Bar(desc="embed", total=len(images), initial=len(first), unit="image") as bar:
        for start in range(chunk, len(images), chunk):
            part = np.asarray(images[start : start + chunk])
            rows[start : start + chunk] = function(part)
            bar.update(len(part))
    return rows
