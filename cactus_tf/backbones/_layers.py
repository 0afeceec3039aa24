"""Layers and initial weights that the networks share. Our own layers exist for speed and correct second derivatives."""

from __future__ import annotations

import math
from typing import Any, Literal

import keras
import tensorflow as tf

from cactus_tf.errors import InputError
from cactus_tf.utils.machine import has_avx512
from cactus_tf.utils.seeds import derive

ConvolutionKind = Literal["kernel", "patches", "factors"]

_FEW_POSITIONS = 256 if has_avx512() else 1000
"""Up to this many output positions of a batch, SAME padding is given as numbers. The result is the same, but a CPU then
uses TensorFlow's own gradient kernels, which are up to three times as fast here as oneDNN's."""

_SMALL_WINDOW, _MANY_POSITIONS = 16, 8192
"""Windows of at most this many numbers (3x3 on one channel), up to this many positions, are extracted by a convolution
with the identity and multiplied by the kernel matrix, which halves the time of forward pass and gradient. All inner
steps of an episode see the same images, so TensorFlow extracts the windows once for all of them."""


@keras.saving.register_keras_serializable("cactus_tf")
class Convolution(keras.layers.Conv2D):
    """Keras' Conv2D with the bias added by a plain sum.

    Keras adds it by BiasAdd. TensorFlow's oneDNN pass merges the gradient of BiasAdd with a filter gradient of the same
    output; if the latter belongs to the second order, the merged graph may be cyclic, which is an error.

    Args:
      bias_is_inert: the next layer removes any constant, as batch norm with the batch's own statistics does. The bias
        is then left out of the sum and has no gradient (zero in exact arithmetic), which saves a tenth of a
        second-order step.
      kind: "kernel" is TensorFlow's convolution; "patches" multiplies the input's patches by the kernel matrix, which
        `tf.vectorized_map` can run for many tasks at once, each with its own kernel; "factors" leaves the product to
        the norm that follows.
    """

    def __init__(self, *args: Any, bias_is_inert: bool = False, kind: ConvolutionKind = "kernel", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.bias_is_inert, self.kind = bias_is_inert, kind

    def call(self, inputs: tf.Tensor) -> Any:
        """[n, height, width, channels] -> [n, height / stride, width / stride, filters], SAME padding; or its factors.

        The factors are the patches [n, height / stride, width / stride, m] of m numbers each, the kernel matrix
        [m, filters] and the bias [filters].
        """
        if self.kind == "factors":
            kernel = tf.convert_to_tensor(self.kernel)
            matrix = tf.reshape(kernel, (-1, self.filters))
            return self._patches_by_kernel(inputs, kernel), matrix, tf.convert_to_tensor(self.bias)
        convolve = self._by_patches if self.kind == "patches" else self._by_kernel
        out = convolve(inputs, tf.convert_to_tensor(self.kernel))
        return out if self.bias_is_inert or not self.use_bias else out + tf.convert_to_tensor(self.bias)

    def compute_output_shape(self, input_shape: tuple) -> Any:
        """Shape of the convolution, or shapes of its factors."""
        shape = super().compute_output_shape(input_shape)
        if self.kind != "factors":
            return shape
        numbers = math.prod(self.kernel_size) * input_shape[-1]
        return (*shape[:-1], numbers), (numbers, self.filters), (self.filters,)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "bias_is_inert": self.bias_is_inert, "kind": self.kind}

    def _by_kernel(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        window = _Window(inputs.shape, self.kernel_size, self.strides)
        positions = math.prod(window.counts) * (inputs.shape[0] or math.inf)
        if math.prod(kernel.shape[:3]) <= _SMALL_WINDOW and positions <= _MANY_POSITIONS:
            return self._product(self._patches_by_kernel(inputs, kernel), kernel)
        padding = window.padding if positions <= _FEW_POSITIONS else "SAME"
        return tf.nn.conv2d(inputs, kernel, self.strides, padding)

    def _patches_by_kernel(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """[n, h', w', kh kw c] patches, by a convolution with the identity."""
        taps = tf.eye(math.prod(kernel.shape[:3]), dtype=kernel.dtype)
        return tf.nn.conv2d(inputs, tf.reshape(taps, (*kernel.shape[:3], -1)), self.strides, "SAME")

    def _by_patches(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return self._product(_Window(inputs.shape, self.kernel_size, self.strides).patches(inputs), kernel)

    def _product(self, patches: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """[n, h', w', kh kw c] patches times the kernel as a matrix."""
        matrix = tf.reshape(kernel, (-1, self.filters))
        flat = tf.reshape(patches, (-1, patches.shape[-1]))
        return tf.reshape(tf.matmul(flat, matrix), (-1, *patches.shape[1:3], self.filters))


class _Window:
    """The window of a convolution with SAME padding on images of [n, h, w, c].

    Attributes:
      counts: output positions along height and width: size / stride, rounded up.
      padding: of each axis, before and after; an odd one goes after.
    """

    def __init__(self, shape: tf.TensorShape, size: tuple[int, int], strides: tuple[int, int]):
        self._size, self._strides = size, strides
        self.counts = [-(-side // stride) for side, stride in zip(shape[1:3], strides, strict=True)]
        totals = [
            max((count - 1) * stride + taps - side, 0)
            for count, stride, taps, side in zip(self.counts, strides, size, shape[1:3], strict=True)
        ]
        self.padding = [[0, 0], *([total // 2, total - total // 2] for total in totals), [0, 0]]

    def patches(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] -> [n, *counts, kh kw c]: the input window of every output position."""
        padded = tf.pad(images, self.padding)
        rows, columns = (
            [slice(tap, tap + stride * (count - 1) + 1, stride) for tap in range(taps)]
            for taps, stride, count in zip(self._size, self._strides, self.counts, strict=True)
        )
        return tf.concat([padded[:, row, column] for row in rows for column in columns], axis=-1)


@keras.saving.register_keras_serializable("cactus_tf")
class MaxPool(keras.layers.Layer):
    """2x2 max-pool of stride 2 with a fast second derivative; an odd last row or column is left out."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[n, height, width, channels] -> [n, height / 2, width / 2, channels], rounded down."""
        return max_pool(inputs)


@tf.custom_gradient
def max_pool(x: tf.Tensor) -> tuple:
    """Maximum of every 2x2 window.

    The gradient P^T g goes to the maximum alone, a choice whose own derivative is zero almost everywhere. So it is
    linear in g, and its derivative is P: the sum over a window of v where x is the maximum. TensorFlow's kernel for P
    searches every window again and takes three times as long as this.

    Args:
      x: [n, height, width, channels] of a floating type.

    Returns:
      [n, height / 2, width / 2, channels], rounded down.
    """
    window = {"ksize": [1, 2, 2, 1], "strides": [1, 2, 2, 1], "padding": "VALID"}
    y = tf.raw_ops.MaxPool(input=x, **window)

    @tf.custom_gradient
    def gradient(g: tf.Tensor) -> tuple:
        def second(v: tf.Tensor) -> tf.Tensor:
            chosen = tf.raw_ops.MaxPoolGrad(orig_input=x, orig_output=y, grad=tf.ones_like(y), **window)
            return 4 * tf.raw_ops.AvgPool(value=v * chosen, **window)

        return tf.raw_ops.MaxPoolGrad(orig_input=x, orig_output=y, grad=g, **window), second

    return y, gradient


def wide(dtype: str) -> str:
    """The type of weights, norms and results of a network: of "mixed_bfloat16", float32; else `dtype` itself."""
    return keras.DTypePolicy(dtype).variable_dtype


def glorot(seed: int) -> dict[str, Any]:
    """Keyword arguments of a layer with a Glorot uniform kernel and zero bias."""
    return {"kernel_initializer": keras.initializers.GlorotUniform(keras_seed(seed, "kernel"))}


def normal(stddev: float, seed: int) -> dict[str, Any]:
    """Keyword arguments of a layer with a normal kernel and zero bias."""
    return {"kernel_initializer": keras.initializers.RandomNormal(0.0, stddev, keras_seed(seed, "kernel"))}


def keras_seed(seed: int, purpose: str) -> int:
    """A derived seed in the 32 bits that Keras accepts."""
    return derive(seed, purpose) % 2**32


def check_image_shape(network: str, image_shape: tuple[int, ...], smallest: int) -> None:
    """Raises an InputError unless the shape is (height, width, channels) with sides large enough for the poolings."""
    if len(image_shape) != 3:
        raise InputError(
            f"image_shape is {tuple(image_shape)}, but {network} takes images: give (height, width, channels)"
        )
    height, width = image_shape[:2]
    if min(height, width) < smallest:
        raise InputError(
            f"images of {height}x{width} are too small for the four 2x2 poolings of {network}: "
            f"enlarge them to at least {smallest}x{smallest}"
        )
