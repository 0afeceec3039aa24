"""Fully connected network, on embeddings or pixels: the authors' `conv=False`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import keras

from cactus_tf.backbones._layers import keras_seed
from cactus_tf.backbones._norms import NormFactory, norm_layer
from cactus_tf.contracts import BackboneInfo
from cactus_tf.errors import InputError
from cactus_tf.utils.seeds import derive

INFO = BackboneInfo(consumes="embeddings")

HIDDEN_ON_EMBEDDINGS = 2
HIDDEN_ON_PIXELS = (1024, 512, 256, 128)


def build(
    image_shape: tuple[int, ...],
    out: int | None = None,
    *,
    filters: int = 32,
    hidden: Sequence[int] | None = None,
    norm: str | NormFactory = "batch",
    seed: int = 0,
    dtype: str = "float32",
) -> keras.Model:
    """Hidden layers of matrix, bias, norm and ReLU; then the features, or a linear head.

    Args:
      image_shape: (dim,) of embeddings, or (height, width, channels), which are flattened row-major.
      out: number of logits; None for the features.
      filters: F, units of the two hidden layers on embeddings; not used on images.
      hidden: units of each hidden layer; default: F, F on embeddings and 1024, 512, 256, 128 on images.
      norm: one of `NORMS`, or a function from the layer's name to a layer.
      seed: of the initial weights: normal of standard deviation 0.01, truncated at twice that; biases 0.
      dtype: of weights and activations.

    Returns:
      A Keras model from [n, *image_shape] to [n, hidden[-1]] or [n, out]; layers dense1, norm1, ... and head.

    Raises:
      InputError: image_shape is empty.
    """
    if not image_shape or not math.prod(image_shape):
        raise InputError(f"image_shape is {tuple(image_shape)}: mlp takes (dim,) or (height, width, channels)")
    if hidden is None:
        hidden = HIDDEN_ON_PIXELS if len(image_shape) > 1 else [filters] * HIDDEN_ON_EMBEDDINGS
    inputs = keras.Input(image_shape, dtype=dtype)
    x = keras.layers.Flatten(dtype=dtype)(inputs) if len(image_shape) > 1 else inputs
    for i, units in zip(itertools.count(1), hidden):
        x = _dense(units, f"dense{i}", seed, dtype)(x)
        x = norm_layer(norm, f"norm{i}", dtype)(x)
        x = keras.layers.ReLU(dtype=dtype)(x)
    if out is not None:
        x = _dense(out, "head", seed, dtype)(x)
    return keras.Model(inputs, x, name="mlp")


def _dense(units: int, name: str, seed: int, dtype: str) -> keras.layers.Layer:
    start = keras.initializers.TruncatedNormal(0.0, 0.01, keras_seed(derive(seed, name), "kernel"))
    return keras.layers.Dense(units, kernel_initializer=start, name=name, dtype=dtype)
