"""Layers of BiGAN: batch norm with statistics of a deploy pass, and convolutions padded as Theano pads them."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from cactus_tf.backbones import replica_moments
from cactus_tf.utils import progress

KERNEL = 5  # side of the generator's and the discriminator's kernels
_EPSILON = 1e-8


def padding(pixels: int) -> list[list[int]]:
    """The same number of pixels on all four sides, as Theano pads; SAME with a stride puts more of them last.

    Used before VALID: deep layers that the kernels pad take twice as long on a CPU.
    """
    return [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]]


class DeployedBatchNorm(keras.layers.Layer):
    """Batch norm without running averages: y = gamma (x - mean) / sqrt(variance + 1e-8) + beta.

    In training the statistics are those of the batch, over all axes but the last, with the biased variance, and of all
    replicas' parts of it; otherwise those that `deploy` stored.

    Args:
      affine: whether there are gamma and beta.
    """

    def __init__(self, *, affine: bool, **kwargs: Any):
        super().__init__(**kwargs)
        self.affine = affine

    def build(self, shape: tuple[int, ...]) -> None:
        """Creates the weights for [..., channels]."""
        size = (shape[-1],)
        if self.affine:
            self.gamma = self.add_weight(shape=size, initializer="ones", name="gamma")
            self.beta = self.add_weight(shape=size, initializer="zeros", name="beta")
        self.mean = self.add_weight(shape=size, initializer="zeros", trainable=False, name="mean")
        self.variance = self.add_weight(shape=size, initializer="ones", trainable=False, name="variance")

    def call(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        """[n, channels] or [n, height, width, channels] -> the same shape."""
        channels, maps = x.shape[-1], len(x.shape) == 4
        if training and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            mean, variance = replica_moments(x)
            y = (x - mean) * tf.math.rsqrt(variance + _EPSILON)
            return y * self.gamma + self.beta if self.affine else y
        normalized = tf.raw_ops.FusedBatchNormV3(
            x=x if maps else tf.reshape(x, (-1, 1, 1, channels)),
            scale=tf.convert_to_tensor(self.gamma) if self.affine else tf.ones(channels),
            offset=tf.convert_to_tensor(self.beta) if self.affine else tf.zeros(channels),
            mean=tf.convert_to_tensor(self.mean),
            variance=tf.convert_to_tensor(self.variance),
            epsilon=_EPSILON,
            is_training=bool(training),
        )
        return normalized.y if maps else tf.reshape(normalized.y, (-1, channels))


def batch_statistics(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and unbiased variance per channel, over all axes but the last (training normalizes with the biased one)."""
    mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
    n = tf.cast(tf.size(x) // x.shape[-1], x.dtype)
    return mean, variance * n / (n - 1)


def deploy(network: keras.Model, batches: tf.data.Dataset) -> None:
    """Stores in every batch norm the average over batches of its input's `batch_statistics`.

    One pass serves all layers: below a norm, each batch is normalized by its own statistics, as in training.
    """
    norms = [layer for layer in network.layers if isinstance(layer, DeployedBatchNorm)]
    before = keras.Model(network.inputs, [norm.input for norm in norms])

    @tf.function
    def statistics(batch: tf.Tensor) -> list:
        return [batch_statistics(x) for x in tf.nest.flatten(before(batch, training=True))]

    sums = [(tf.zeros_like(norm.mean), tf.zeros_like(norm.variance)) for norm in norms]
    for batch in progress.Bar(batches, "deploy", unit="batch"):
        sums = tf.nest.map_structure(tf.add, sums, statistics(batch))
    count = float(len(batches))
    for norm, (mean, variance) in zip(norms, sums, strict=True):
        norm.mean.assign(mean / count)
        norm.variance.assign(variance / count)


class PaddedConvolution(keras.layers.Layer):
    """A convolution without bias, padded by half its kernel on all sides.

    With two groups, each half of the filters sees half of the channels; it is computed in halves, because TensorFlow
    has no gradient of grouped kernels on a CPU.

    Args:
      filters: channels of the result.
      kernel: side of the kernel.
      stride: 1 or more.
      groups: 1 or 2.
      initializer: of the kernel [kernel, kernel, channels / groups, filters].
    """

    def __init__(self, filters: int, kernel: int, stride: int, groups: int, initializer: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.filters, self.side, self.stride, self.groups = filters, kernel, stride, groups
        self.initializer = initializer

    def build(self, shape: tuple[int, ...]) -> None:
        """Creates the kernel."""
        shape = (self.side, self.side, shape[-1] // self.groups, self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.initializer, name="kernel")

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[n, h, w, channels] -> [n, (h + 2 pad - kernel) // stride + 1, the same of w, filters]."""
        kernel = tf.convert_to_tensor(self.kernel)
        if self.groups == 1:
            return self._convolve(x, kernel)
        pairs = zip(tf.split(x, self.groups, -1), tf.split(kernel, self.groups, -1), strict=True)
        return tf.concat([self._convolve(part, own) for part, own in pairs], axis=-1)

    def _convolve(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(tf.pad(x, padding(self.side // 2)), kernel, self.stride, "VALID")


class Deconvolution(keras.layers.Conv2DTranspose):
    """The transpose of a 5x5 convolution of stride 2 that is padded by 2: twice the size; without bias.

    One layer, not two: a layer for cropping would change the order of a network's weights in saved embedders.
    """

    def __init__(self, filters: int, initializer: Any, **kwargs: Any):
        super().__init__(filters, KERNEL, 2, use_bias=False, kernel_initializer=initializer, **kwargs)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """[n, h, w, channels] -> [n, 2h, 2w, filters]."""
        first, (height, width) = KERNEL // 2, (2 * side for side in x.shape[1:3])
        return super().call(x)[:, first : first + height, first : first + width]

    def compute_output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Twice the size."""
        return (shape[0], 2 * shape[1], 2 * shape[2], self.filters)


def halved(x: tf.Tensor) -> tf.Tensor:
    """3x3 max-pooling of stride 2, padded by one pixel that is never the largest."""
    return keras.layers.Lambda(lambda maps: tf.nn.max_pool2d(maps, 3, 2, padding(1)))(x)
