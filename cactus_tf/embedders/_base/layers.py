"""Layers that embedders share."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from cactus_tf.utils import seeds

LEAK = 0.2


@tf.custom_gradient
def leaky_relu(x: tf.Tensor):
    """max(x, 0.2 x), whose gradient reads the output.

    The sign of the output is the sign of the input, so the input need not be kept: TensorFlow then runs convolution,
    bias and activation as one kernel.
    """
    y = tf.nn.leaky_relu(x, LEAK)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.LeakyReluGrad(gradients=upstream, features=y, alpha=LEAK)

    return y, gradient


def activate(x):
    """LeakyReLU of slope 0.2 as a layer."""
    return keras.layers.Activation(leaky_relu)(x)


def normal_weights(fan_in: int, seed: int, name: str) -> keras.initializers.Initializer:
    """N(0, 1 / ((1 + 0.2^2) fan_in)), untruncated: keeps the variance through LeakyReLU of slope 0.2.

    Args:
      fan_in: kernel height x kernel width x input channels.
      seed: of the network.
      name: of the weight; every weight has a stream of its own.
    """
    return keras.initializers.RandomNormal(stddev=1 / math.sqrt((1 + LEAK**2) * fan_in), seed=_seed(seed, name))


def conv(x, filters: int, seed: int, name: str):
    """A 3x3 convolution of stride 1, SAME, with bias and `normal_weights`."""
    init = normal_weights(9 * x.shape[-1], seed, name)
    return keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer=init, name=name)(x)


class PointwiseThenConv(keras.layers.Layer):
    """A 1x1 convolution and a 3x3 convolution (SAME) with nothing between them, computed as one.

    Both are linear, so their product is one 3x3 kernel on the few channels of the image instead of `filters`. The first
    bias becomes the weight of an input channel of ones, which SAME pads with zeros as it pads the pointwise output:
    the result is that of the two layers to the last rounding. It saves about a tenth of a training step.

    Weights: pointwise [1, 1, channels, filters] and kernel [3, 3, filters, filters], each with its bias [filters].
    """

    def __init__(self, filters: int, seed: int, name: str):
        super().__init__(name=name)
        self.filters, self.seed = filters, seed

    def build(self, shape):
        """Creates the weights of both convolutions."""
        channels, d = shape[-1], self.filters
        first = normal_weights(channels, self.seed, f"{self.name} pointwise")
        second = normal_weights(9 * d, self.seed, f"{self.name} kernel")
        self.pointwise = self.add_weight(shape=(1, 1, channels, d), initializer=first, name="pointwise")
        self.pointwise_bias = self.add_weight(shape=(d,), initializer="zeros", name="pointwise_bias")
        self.kernel = self.add_weight(shape=(3, 3, d, d), initializer=second, name="kernel")
        self.bias = self.add_weight(shape=(d,), initializer="zeros", name="bias")

    def call(self, x):
        """[n, h, w, channels] -> [n, h, w, filters]."""
        first = tf.concat([self.pointwise[0, 0], self.pointwise_bias[None]], axis=0)  # [channels + 1, filters]
        kernel = tf.einsum("id,abdf->abif", first, self.kernel)
        x = tf.concat([x, tf.ones_like(x[..., :1])], axis=-1)
        return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), self.bias)

    def compute_output_shape(self, shape):
        """The channels become `filters`."""
        return (*shape[:-1], self.filters)


def _seed(seed: int, name: str) -> int:
    return seeds.derive(seed, name) & 0xFFFFFFFF  # Keras takes 32 bits
