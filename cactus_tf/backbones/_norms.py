"""The norms of the backbones, as in the papers' code. Keras' own differ in statistics or in second derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cactus_tf.backbones._standardize import as_images, replica_moments, standardize, standardized_product
from cactus_tf.errors import InputError

Inputs = Any
"""What a batch norm takes: the output of a convolution, or its factors (see `Convolution`)."""


@keras.saving.register_keras_serializable("cactus_tf")
class RunningBatchNorm(keras.layers.Layer):
    """Batch norm of PyTorch and of ProtoNets: y = gamma (x - mean) / sqrt(variance + epsilon) + beta.

    In training, mean and biased variance are those of the batch, over all axes but the last, and the running averages
    move towards the batch's mean and unbiased variance by `momentum`. Outside training the running averages are used,
    so no image's output depends on another's.

    Its gradient is correct, its second derivative is not: use `BatchStatisticsNorm` where that is needed.

    Args:
      momentum: weight of the new statistics in the running averages, 0..1 (Keras uses one minus this).
      epsilon: added to the variance.
      gamma_initializer: of gamma, one number per channel.
      synchronized: whether the batch is that of all replicas, if a strategy divides it.
    """

    def __init__(
        self,
        *,
        momentum: float = 0.1,
        epsilon: float = 1e-5,
        gamma_initializer: Any = "ones",
        synchronized: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.momentum, self.epsilon, self.synchronized = momentum, epsilon, synchronized
        self.gamma_initializer = keras.initializers.get(gamma_initializer)

    def build(self, input_shape: tuple) -> None:
        """Creates the weights for [n, height, width, channels]."""
        shape = (_channels(input_shape),)
        self.gamma = self.add_weight(shape=shape, initializer=self.gamma_initializer, name="gamma")
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")
        same = {"aggregation": "only_first_replica"} if self.synchronized else {}
        add = functools.partial(self.add_weight, shape=shape, trainable=False, **same)
        self.running_mean = add(initializer="zeros", name="running_mean")
        self.running_variance = add(initializer="ones", name="running_variance")

    def call(self, inputs: Inputs, training: bool = False) -> tf.Tensor:
        """[n, height, width, channels] or [n, channels] float32, or the factors of a convolution -> the same shape."""
        if not tf.is_tensor(inputs):
            if training:
                return self._folded(*inputs)
            inputs = _convolution(*inputs)
        if training and self.synchronized and tf.distribute.get_strategy().num_replicas_in_sync > 1:
            return self._synchronized(inputs)
        if inputs.dtype == tf.float64:
            return self._written_out(inputs, training)
        normalized = tf.raw_ops.FusedBatchNormV3(  # written out, a whole training step takes 1.4 times as long
            x=as_images(inputs),
            scale=tf.convert_to_tensor(self.gamma),
            offset=tf.convert_to_tensor(self.beta),
            mean=tf.convert_to_tensor(self.running_mean),
            variance=tf.convert_to_tensor(self.running_variance),
            epsilon=self.epsilon,
            exponential_avg_factor=self.momentum,
            is_training=bool(training),
        )
        if training:
            self.running_mean.assign(normalized.batch_mean)  # the kernel has averaged it with the old one
            self.running_variance.assign(normalized.batch_variance)
        return tf.reshape(normalized.y, tf.shape(inputs))

    def _folded(self, patches: tf.Tensor, matrix: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
        """As `call` in training, on the factors of a convolution."""
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        out, mean, variance = standardized_product(patches, matrix, gamma, beta, self.epsilon)
        self._average(mean + bias, variance, tf.reduce_prod(tf.shape(patches)[:-1]))
        return out

    def _written_out(self, x: tf.Tensor, training: bool) -> tf.Tensor:
        """As `call`, in float64, for which TensorFlow has no fused kernel."""
        gamma, beta = tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta)
        if not training:
            scale = gamma * tf.math.rsqrt(tf.convert_to_tensor(self.running_variance) + self.epsilon)
            return (x - tf.convert_to_tensor(self.running_mean)) * scale + beta
        out, mean, variance = standardize(x, tf.zeros_like(beta), self.epsilon)
        self._average(mean, variance, tf.size(x) // x.shape[-1])
        return gamma * out + beta

    def _synchronized(self, x: tf.Tensor) -> tf.Tensor:
        """As `call` in training, on this replica's part of the batch."""
        mean, variance = replica_moments(x)
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        self._average(mean, variance, replicas * (tf.size(x) // x.shape[-1]))
        return self.gamma * ((x - mean) * tf.math.rsqrt(variance + self.epsilon)) + self.beta

    def _average(self, mean: tf.Tensor, variance: tf.Tensor, count: tf.Tensor) -> None:
        """Moves the running averages towards the mean and the biased variance of `count` values per channel."""
        count = tf.cast(count, variance.dtype)
        for average, new in (
            (self.running_mean, mean),
            (self.running_variance, variance * (count / tf.maximum(count - 1, 1))),
        ):
            old = tf.convert_to_tensor(average)
            average.assign(old + self.momentum * (new - old))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            **({"synchronized": True} if self.synchronized else {}),
        }


@keras.saving.register_keras_serializable("cactus_tf")
class BatchStatisticsNorm(keras.layers.Layer):
    """MAML's batch norm: y = (x - mean) / sqrt(variance + epsilon) + beta, with the statistics of the batch.

    There is no gamma and no running average, so predictions are transductive. Untrained variables hold the statistics
    of the last call, and `training=False` normalizes with those: `stateless_call` thus normalizes queries with the
    statistics of their support set.

    Second derivatives are correct (see `standardize`), unlike those of Keras' BatchNormalization.

    Args:
      epsilon: added to the variance.
      fused: in float32, use TensorFlow's fused kernels, which `tf.vectorized_map` cannot run for many tasks.
    """

    def __init__(self, *, epsilon: float = 1e-3, fused: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon, self.fused = epsilon, fused

    def build(self, input_shape: tuple) -> None:
        """Creates beta and the statistics for [..., channels]."""
        shape = (_channels(input_shape),)
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.variance = self.add_weight(shape=shape, initializer="ones", trainable=False, name="variance")

    def call(self, inputs: Inputs, training: bool = True) -> tf.Tensor:
        """[..., channels], or the factors of a convolution -> the same shape."""
        beta = tf.convert_to_tensor(self.beta)
        if not training:
            x = inputs if tf.is_tensor(inputs) else _convolution(*inputs[:2])  # the mean takes any bias away
            scale = tf.math.rsqrt(tf.convert_to_tensor(self.variance) + self.epsilon)
            return (x - tf.convert_to_tensor(self.mean)) * scale + beta
        if tf.is_tensor(inputs):
            out, mean, variance = standardize(inputs, beta, self.epsilon, fused=self.fused)
        else:
            patches, matrix, _ = inputs
            out, mean, variance = standardized_product(patches, matrix, 1.0, beta, self.epsilon)
        self.mean.assign(mean)
        self.variance.assign(variance)
        return out

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon, "fused": self.fused}


@keras.saving.register_keras_serializable("cactus_tf")
class ImageStatisticsNorm(keras.layers.Layer):
    """Layer norm: y = gamma (x - mean) / sqrt(variance + epsilon) + beta, with the statistics of each image.

    Mean and biased variance are over all axes but the first; gamma and beta have one number per channel. Written out,
    because Keras' LayerNormalization has wrong second derivatives on TensorFlow.

    Args:
      epsilon: added to the variance.
    """

    def __init__(self, *, epsilon: float = 1e-12, **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape: tuple) -> None:
        """Creates the weights for [n, ..., channels]."""
        shape = (input_shape[-1],)
        self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """[n, ..., channels] -> the same shape."""
        axes = list(range(1, len(inputs.shape)))
        centered = inputs - tf.reduce_mean(inputs, axes, keepdims=True)
        variance = tf.reduce_mean(tf.square(centered), axes, keepdims=True)
        normalized = centered * tf.math.rsqrt(variance + self.epsilon)
        return normalized * tf.convert_to_tensor(self.gamma) + tf.convert_to_tensor(self.beta)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}


def _channels(input_shape: Any) -> int:
    """Channels of what a batch norm takes, by its shape or the shapes of the factors."""
    return input_shape[-1] if isinstance(input_shape[-1], int) else input_shape[-1][-1]


def _convolution(patches: tf.Tensor, matrix: tf.Tensor, bias: tf.Tensor | float = 0.0) -> tf.Tensor:
    """The convolution of these factors, [n, height, width, channels]."""
    rows = tf.reshape(patches, (-1, matrix.shape[0]))
    return tf.reshape(tf.matmul(rows, matrix) + bias, (-1, *patches.shape[1:3], matrix.shape[1]))


NormFactory = Callable[[str], keras.layers.Layer]
"""A function from a layer's name to a norm."""

NORMS: dict[str, Callable[..., keras.layers.Layer]] = {
    "running": RunningBatchNorm,
    "batch": BatchStatisticsNorm,
    "layer": ImageStatisticsNorm,
    "none": keras.layers.Identity,
}
"""The norms by name: the batch's statistics in training and running averages afterwards; always the batch's own; each
image's own; none."""

BATCH_NORMS = (RunningBatchNorm, BatchStatisticsNorm)
"""The norms that take the factors of a convolution, too."""

LAYERS = (RunningBatchNorm, BatchStatisticsNorm, ImageStatisticsNorm)
"""The layers whose variables belong to a norm."""


def norm_layer(kind: str | NormFactory, name: str, dtype: str = "float32") -> keras.layers.Layer:
    """A norm layer from one of `NORMS`, or from a function of the layer's name.

    Raises:
      InputError: there is no norm of this name.
    """
    if callable(kind):
        return kind(name)
    if kind not in NORMS:
        raise InputError(f"unknown norm {kind!r}; choose one of {', '.join(NORMS)}")
    return NORMS[kind](name=name, dtype=dtype)
