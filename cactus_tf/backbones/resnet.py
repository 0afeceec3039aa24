"""Residual network for 84x84 and 224x224 images, of the authors' ImageNet experiments."""

from __future__ import annotations

import keras

from cactus_tf.backbones._layers import Convolution, ConvolutionKind, MaxPool, check_image_shape, glorot, wide
from cactus_tf.backbones._norms import NormFactory, norm_layer
from cactus_tf.contracts import BackboneInfo
from cactus_tf.utils.seeds import derive

FILTERS = 64
INFO = BackboneInfo(filters=FILTERS, arguments=frozenset({"convolution", "dtype"}))

_BLOCKS, _PARTS = 4, 2
_LARGE = 168  # images of at least this side, twice 84, get the stem of 224x224 images


def build(
    image_shape: tuple[int, ...],
    out: int | None = None,
    *,
    filters: int = FILTERS,
    norm: str | NormFactory = "batch",
    convolution: ConvolutionKind = "kernel",
    seed: int = 0,
    dtype: str = "float32",
) -> keras.Model:
    """A stem convolution, then four times a 2x2 max-pool and a residual block, averaged over space.

    The stem is 3x3 of stride 1, or 7x7 of stride 2 from 168 pixels a side, so the sizes are 84 -> 42 -> 21 -> 10 -> 5
    and 224 -> 112 -> 56 -> 28 -> 14 -> 7. Block i has F 2^i channels and adds two paths: a 1x1 convolution without
    bias, and twice norm, ReLU and a 3x3 convolution. There is no norm before the average.

    Args:
      image_shape: (height, width, channels).
      out: number of logits; None for the features.
      filters: F, channels of the stem and of the first block.
      norm: one of `NORMS`, or a function from the layer's name to a layer.
      convolution: see `Convolution`.
      seed: of the initial weights: Glorot uniform, biases 0.
      dtype: of weights and activations; with "mixed_bfloat16", weights, norms and the result stay float32.

    Returns:
      A Keras model from [n, height, width, channels] to [n, 8 F] or [n, out].

    Raises:
      InputError: image_shape is not (height, width, channels), or too small for four poolings.
    """
    check_image_shape("resnet", image_shape, 2**_BLOCKS)

    def convolve(
        x: keras.KerasTensor, channels: int, size: int, name: str, strides: int = 1, bias: bool = True
    ) -> keras.KerasTensor:
        layer = Convolution(
            channels,
            size,
            strides,
            "same",
            use_bias=bias,
            kind=convolution,
            name=name,
            dtype=dtype,
            **glorot(derive(seed, name)),
        )
        return layer(x)

    def part(x: keras.KerasTensor, channels: int, name: str) -> keras.KerasTensor:
        x = norm_layer(norm, f"{name}_norm", wide(dtype))(x)
        return convolve(keras.layers.ReLU(dtype=dtype)(x), channels, 3, f"{name}_conv")

    images = keras.Input(image_shape, dtype=wide(dtype))
    large = min(image_shape[:2]) >= _LARGE
    x = convolve(images, filters, 7 if large else 3, "stem", strides=2 if large else 1)
    for block in range(_BLOCKS):
        channels, x = filters * 2**block, MaxPool(dtype=dtype)(x)
        shortcut = convolve(x, channels, 1, f"block{block + 1}_shortcut", bias=False)
        for i in range(_PARTS):
            x = part(x, channels, f"block{block + 1}_part{i + 1}")
        x = keras.layers.Add(dtype=dtype)([shortcut, x])
    x = keras.layers.GlobalAveragePooling2D(dtype=wide(dtype))(x)
    if out is not None:
        x = keras.layers.Dense(out, name="head", dtype=wide(dtype), **glorot(derive(seed, "head")))(x)
    return keras.Model(images, x, name="resnet")
