"""Four 3x3 convolutions: the network of MAML and of ProtoNets on small images."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import keras

from cactus_tf import norms
from cactus_tf.errors import InputError
from cactus_tf.seeds import derive

BLOCKS = 4
Initialisers = Literal["torch", "glorot"]
MakeNorm = Callable[[str], keras.layers.Layer]


def build(
    image_shape: tuple[int, ...],
    out: int | None = None,
    *,
    filters: int = 64,
    norm: str | MakeNorm = "running",
    pooled: bool = True,
    initialisers: Initialisers = "torch",
    head_stddev: float | None = None,
    seed: int = 0,
    dtype: str = "float32",
) -> keras.Model:
    """Four blocks of convolution, norm and ReLU; then the features, or a linear head.

    Pooled, a convolution keeps the size and a 2x2 max-pool halves it, rounding down (28 -> 14 -> 7 -> 3 -> 1,
    84 -> 42 -> 21 -> 10 -> 5); the features are flattened, row-major. Strided, a convolution halves the size itself,
    rounding up (28 -> 14 -> 7 -> 4 -> 2); the features are averaged over space.

    Args:
      image_shape: (height, width, channels).
      out: number of logits; None for the features.
      filters: F, channels of every convolution.
      norm: a name that `norms.build` knows, or a function from the layer's name to a layer.
      pooled: the pooled form, else the strided one.
      initialisers: "torch": kernels and biases uniform in +-1/sqrt(fan in), as ProtoNets; "glorot": kernels Glorot
        uniform and biases 0, as MAML.
      head_stddev: normal head weights of this standard deviation (MAML on 28x28: 1); None starts it as the rest.
      seed: of the initial weights.
      dtype: of weights and activations.

    Returns:
      A Keras model from [n, height, width, channels] to [n, dim] or [n, out]; layers conv1, norm1, ..., conv4, norm4
      and head.

    Raises:
      InputError: image_shape is not (height, width, channels), or too small for four poolings.
    """
    _check(image_shape, pooled)
    make_norm = norm if callable(norm) else functools.partial(_named_norm, norm, dtype)
    x = images = keras.Input(image_shape, dtype=dtype)
    for i in range(1, BLOCKS + 1):
        starts = _initialisers(initialisers, 9 * x.shape[-1], derive(seed, f"conv{i}"))
        x = _block(x, i, filters, make_norm, pooled, starts, dtype)
    collect = keras.layers.Flatten if pooled else keras.layers.GlobalAveragePooling2D
    x = collect(dtype=dtype)(x)
    if out is not None:
        starts = _initialisers(initialisers, x.shape[-1], derive(seed, "head"))
        if head_stddev is not None:
            starts = _normal(head_stddev, derive(seed, "head"))
        x = keras.layers.Dense(out, name="head", dtype=dtype, **starts)(x)
    return keras.Model(images, x, name="conv4")


def _block(x, i: int, filters: int, make_norm: MakeNorm, pooled: bool, starts: dict[str, Any], dtype: str):
    """Block i: [n, h, w, c] -> [n, h / 2, w / 2, filters], symbolically."""
    strides = 1 if pooled else 2
    x = keras.layers.Conv2D(filters, 3, strides, "same", name=f"conv{i}", dtype=dtype, **starts)(x)
    x = make_norm(f"norm{i}")(x)
    if pooled:  # before the ReLU: the two commute, and it has a quarter of the work left
        x = keras.layers.MaxPooling2D(2, dtype=dtype)(x)
    return keras.layers.ReLU(dtype=dtype)(x)


def _named_norm(norm: str, dtype: str, name: str) -> keras.layers.Layer:
    return norms.build(norm, name=name, dtype=dtype)


def _initialisers(kind: Initialisers, fan_in: int, seed: int) -> dict[str, Any]:
    """Keyword arguments of a layer with kernel and bias."""
    kernel_seed, bias_seed = _keras_seed(seed, "kernel"), _keras_seed(seed, "bias")
    if kind == "glorot":
        return {"kernel_initializer": keras.initializers.GlorotUniform(kernel_seed), "bias_initializer": "zeros"}
    limit = fan_in**-0.5
    return {
        "kernel_initializer": keras.initializers.RandomUniform(-limit, limit, kernel_seed),
        "bias_initializer": keras.initializers.RandomUniform(-limit, limit, bias_seed),
    }


def _normal(stddev: float, seed: int) -> dict[str, Any]:
    kernel = keras.initializers.RandomNormal(0.0, stddev, _keras_seed(seed, "kernel"))
    return {"kernel_initializer": kernel, "bias_initializer": "zeros"}


def _keras_seed(seed: int, purpose: str) -> int:
    return derive(seed, purpose) % 2**32  # Keras takes no larger one


def _check(image_shape: tuple[int, ...], pooled: bool) -> None:
    if len(image_shape) != 3:
        raise InputError(f"image_shape is {tuple(image_shape)}: conv4 takes images, so say (height, width, channels)")
    height, width = image_shape[:2]
    smallest = 2**BLOCKS
    if pooled and min(height, width) < smallest:
        raise InputError(
            f"images of {height}x{width} are too small for the four 2x2 poolings of conv4: "
            f"enlarge them to at least {smallest}x{smallest}"
        )
