"""The networks of the learners, one module each; embedders and learners import the norms and `build` from here."""

from __future__ import annotations

from typing import Any

import keras

from cactus_tf import plugins
from cactus_tf.backbones._norms import (
    LAYERS,
    NORMS,
    BatchStatisticsNorm,
    ImageStatisticsNorm,
    NormFactory,
    RunningBatchNorm,
)
from cactus_tf.backbones._standardize import replica_moments
from cactus_tf.utils.keras_defaults import keras_defaults

__all__ = [
    "LAYERS",
    "NORMS",
    "BatchStatisticsNorm",
    "ImageStatisticsNorm",
    "NormFactory",
    "RunningBatchNorm",
    "build",
    "replica_moments",
]


def build(name: str, image_shape: tuple[int, ...], out: int | None = None, **settings: Any) -> keras.Model:
    """Builds a network by name.

    Args:
      name: a module of this folder, such as "conv4".
      image_shape: (height, width, channels), or (dim,) of embeddings.
      out: number of logits; None for the features in front of the head.
      **settings: arguments of that network's `build`, such as `filters`, `norm`, `initializers` and `seed`.

    Returns:
      A Keras model from [n, height, width, channels] float32 in 0..1 to [n, out] or [n, dim] float32.

    Raises:
      InputError: unknown network, or an image_shape that it cannot take.
    """
    with keras_defaults():
        return plugins.load("backbones", name).build(image_shape, out, **settings)
