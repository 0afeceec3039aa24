"""Four 3x3 convolutions: the network of MAML and of ProtoNets on small images."""

from __future__ import annotations

from typing import Any, Literal

import keras

from cactus_tf.backbones._layers import (
    Convolution,
    ConvolutionKind,
    MaxPool,
    check_image_shape,
    glorot,
    keras_seed,
    normal,
    wide,
)
from cactus_tf.backbones._norms import BATCH_NORMS, BatchStatisticsNorm, NormFactory, norm_layer
from cactus_tf.contracts import BackboneInfo
from cactus_tf.utils.seeds import derive

INFO = BackboneInfo(arguments=frozenset({"pooled", "initializers", "head_stddev", "convolution", "dtype"}))

BLOCKS = 4
_FEW_NUMBERS = 27
"""Up to this many numbers in a patch (3x3 on three channels), a batch norm is folded into the convolution."""
Initializers = Literal["torch", "glorot"]


def build(
    image_shape: tuple[int, ...],
    out: int | None = None,
    *,
    filters: int = 64,
    norm: str | NormFactory = "running",
    pooled: bool = True,
    initializers: Initializers = "torch",
    head_stddev: float | None = None,
    convolution: ConvolutionKind = "kernel",
    seed: int = 0,
    dtype: str = "float32",
) -> keras.Model:
    """Four blocks of convolution, norm and ReLU; then the features, or a linear head.

    In the pooled form, convolutions keep the size and a 2x2 max-pool halves it, rounding down (28 -> 14 -> 7 -> 3 -> 1,
    84 -> 42 -> 21 -> 10 -> 5); the features are flattened, row-major. In the strided form, convolutions halve the size,
    rounding up (28 -> 14 -> 7 -> 4 -> 2); the features are averaged over space.

    Args:
      image_shape: (height, width, channels).
      out: number of logits; None for the features.
      filters: F, channels of every convolution.
      norm: one of `NORMS`, or a function from the layer's name to a layer.
      pooled: the pooled form instead of the strided one.
      initializers: "torch": kernels and biases uniform in +-1/sqrt(fan in), for ProtoNets; "glorot": kernels Glorot
        uniform and biases 0, for MAML.
      head_stddev: standard deviation of normal head weights (MAML on 28x28: 1); None initializes the head like the
        other layers.
      convolution: see `Convolution`.
      seed: of the initial weights.
      dtype: of weights and activations; with "mixed_bfloat16", weights, norms and the result stay float32.

    Returns:
      A Keras model from [n, height, width, channels] to [n, dim] or [n, out]; layers conv1, norm1, ..., conv4, norm4
      and head.

    Raises:
      InputError: image_shape is not (height, width, channels), or too small for four poolings.
    """
    check_image_shape("conv4", image_shape, 2**BLOCKS if pooled else 1)
    x = images = keras.Input(image_shape, dtype=wide(dtype))
    for i in range(1, BLOCKS + 1):
        starts = _initializers(initializers, 9 * x.shape[-1], derive(seed, f"conv{i}"))
        x = _block(x, i, filters, norm, pooled, convolution, starts, dtype)
    collect = keras.layers.Flatten if pooled else keras.layers.GlobalAveragePooling2D
    x = collect(dtype=wide(dtype))(x)
    if out is not None:
        starts = _initializers(initializers, x.shape[-1], derive(seed, "head"))
        if head_stddev is not None:
            starts = normal(head_stddev, derive(seed, "head"))
        x = keras.layers.Dense(out, name="head", dtype=wide(dtype), **starts)(x)
    return keras.Model(images, x, name="conv4")


def _block(
    x: keras.KerasTensor,
    i: int,
    filters: int,
    norm: str | NormFactory,
    pooled: bool,
    convolution: ConvolutionKind,
    starts: dict[str, Any],
    dtype: str,
) -> keras.KerasTensor:
    """Block i: [n, h, w, c] -> [n, h / 2, w / 2, filters], symbolically."""
    normalize = norm_layer(norm, f"norm{i}", wide(dtype))
    foldable = 9 * x.shape[-1] <= _FEW_NUMBERS and isinstance(normalize, BATCH_NORMS) and dtype == wide(dtype)
    if convolution == "kernel" and foldable:
        convolution = "factors"
    x = Convolution(
        filters,
        3,
        1 if pooled else 2,
        "same",
        bias_is_inert=isinstance(normalize, BatchStatisticsNorm),
        kind=convolution,
        name=f"conv{i}",
        dtype=dtype,
        **starts,
    )(x)
    x = normalize(x)
    if pooled:  # before the ReLU: the two commute, and ReLU then has a quarter of the work
        x = MaxPool(dtype=dtype)(x)
    return keras.layers.ReLU(dtype=dtype)(x)


def _initializers(kind: Initializers, fan_in: int, seed: int) -> dict[str, Any]:
    """Keyword arguments of a layer with kernel and bias."""
    if kind == "glorot":
        return glorot(seed)
    limit = fan_in**-0.5
    return {
        f"{part}_initializer": keras.initializers.RandomUniform(-limit, limit, keras_seed(seed, part))
        for part in ("kernel", "bias")
    }
