"""Layers that embedders share."""

from __future__ import annotations

import math
from typing import Any

import keras
import tensorflow as tf

from cactus_tf.utils import seeds

LEAK = 0.2


def keras_seed(seed: int, purpose: str) -> int:
    """`seeds.derive` in the 32 bits that Keras takes."""
    return seeds.derive(seed, purpose) & 0xFFFFFFFF


@tf.custom_gradient
def leaky_relu(x: tf.Tensor) -> Any:
    """max(x, 0.2 x), whose gradient reads the output.

    The sign of the output is that of the input, so the input is freed: TensorFlow then runs convolution, bias and
    activation as one kernel.
    """
    y = tf.nn.leaky_relu(x, LEAK)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=y, alpha=LEAK)

    return y, gradient


def activate(x: tf.Tensor) -> tf.Tensor:
    """LeakyReLU of slope 0.2 as a layer."""
    return keras.layers.Activation(leaky_relu)(x)


def normal_weights(fan_in: int, seed: int, name: str) -> keras.initializers.Initializer:
    """N(0, 1 / ((1 + 0.2^2) fan_in)), untruncated: keeps the variance through LeakyReLU of slope 0.2.

    Args:
      fan_in: kernel height x kernel width x input channels.
      seed: of the network.
      name: of the weight; every weight has its own stream.
    """
    return keras.initializers.RandomNormal(stddev=1 / math.sqrt((1 + LEAK**2) * fan_in), seed=keras_seed(seed, name))


def conv(x: tf.Tensor, filters: int, seed: int, name: str) -> tf.Tensor:
    """A 3x3 convolution of stride 1, SAME, with bias and `normal_weights`."""
    init = normal_weights(9 * x.shape[-1], seed, name)
    return keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=init, name=name)(x)


class PointwiseThenConv(keras.layers.Layer):
    """A 1x1 convolution and a 3x3 convolution (SAME) with nothing between them, computed as one.

    Both are linear, so their product is one 3x3 kernel on the few channels of the image instead of on `filters`. The
    first bias becomes the weight of an input channel of ones, which SAME pads with zeros as it pads the pointwise
    output: the result equals that of the two layers up to rounding. It saves about a tenth of a training step.

    Weights: pointwise [1, 1, channels, filters] and kernel [3, 3, filters, filters], each with its bias [filters].
    """

    def __init__(self, filters: int, seed: int, name: str):
        super().__init__(name=name)
        self.filters, self.seed = filters, seed

    def build(self, shape: tuple[int, ...]) -> None:
        """Creates the weights of both convolutions."""
        channels, d = shape[-1], self.filters
        first = normal_weights(channels, self.seed, f"{self.name} pointwise")
        second = normal_weights(9 * d, self.seed, f"{self.name} kernel")
        self.pointwise = self.add_weight(shape=(1, 1, channels, d), initializer=first, name="pointwise")
        self.pointwise_bias = self.add_weight(shape=(d,), initializer="zeros", name="pointwise_bias")
        self.kernel = self.add_weight(shape=(3, 3, d, d), initializer=second, name="kernel")
        self.bias = self.add_weight(shape=(d,), initializer="zeros", name="bias")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[n, h, w, channels] -> [n, h, w, filters]."""
        first = tf.concat([self.pointwise[0, 0], self.pointwise_bias[None]], axis=0)  # [channels + 1, filters]
        kernel = tf.einsum("id,abdf->abif", first, self.kernel)
        x = tf.concat([x, tf.ones_like(x[..., :1])], axis=-1)
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), self.bias)

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The channels become `filters`."""
        return (*shape[:-1], self.filters)
