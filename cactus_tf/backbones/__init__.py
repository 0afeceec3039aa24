"""The networks: a module each, found by its file name."""

from __future__ import annotations

import keras

from cactus_tf import plugins
from cactus_tf.backbones._norms import LAYERS, NORMS, BatchStatisticsNorm, ImageStatisticsNorm, RunningBatchNorm

__all__ = ["LAYERS", "NORMS", "BatchStatisticsNorm", "ImageStatisticsNorm", "RunningBatchNorm", "build"]


def build(name: str, image_shape: tuple[int, ...], out: int | None = None, **settings) -> keras.Model:
    """A network by its name.

    Args:
      name: a module of this folder, such as "conv4".
      image_shape: (height, width, channels).
      out: number of logits; None for the features in front of the head.
      **settings: of that network, such as `filters`, `norm`, `initialisers` and `seed`.

    Returns:
      A Keras model from [n, height, width, channels] float32 in 0..1 to [n, out] or [n, dim] float32.

    Raises:
      InputError: no such network, or images that it cannot take.
    """
    return plugins.load("backbones", name).build(image_shape, out, **settings)
