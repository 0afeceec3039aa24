"""Augmentations vary the images of training episodes; file name = flag value. Import `build` and `make` from here."""

from __future__ import annotations

from typing import Any

from cactus_tf import plugins
from cactus_tf.contracts import Augmentation

__all__ = ["build", "make"]


def make(name: str, options: Any = None) -> Augmentation:
    """An augmentation by its name."""
    return plugins.load("augmentations", name).build(options)


def build(name: str, **options: Any) -> Augmentation:
    """An augmentation by its name.

    Args:
      name: a module of this folder, such as "affine".
      **options: the augmentation's own settings.

    Returns:
      A function of images [n, h, w, c] float32 in 0..1 and a seed [2] of integers. It returns such images, each varied
      by itself: row i is a function of image i, the seed and i.

    Raises:
      InputError: no such augmentation, or it has no such setting.

    Example:
      >>> import cactus_tf as ct
      >>> images = ct.datasets.load("digits").train.images[:8] / 255
      >>> ct.augmentations.build("affine", rotation=10.0)(images.astype("float32"), [0, 7]).shape
      TensorShape([8, 28, 28, 1])
    """
    return make(name, plugins.options("augmentations", name, **options))
