"""Normalisers of the backbones, as the papers' code had them; Keras' own differ in statistics or in gradients."""

from __future__ import annotations

from collections.abc import Callable

import keras
import tensorflow as tf

from cactus_tf.errors import InputError


@keras.saving.register_keras_serializable("cactus_tf")
class RunningBatchNorm(keras.layers.Layer):
    """Batch norm of PyTorch and of ProtoNets: y = gain (x - mean) / sqrt(variance + epsilon) + offset.

    In training the statistics are those of the batch, over all axes but the last, with the biased variance; running
    averages take up a part `momentum` of them, there with the unbiased variance. Otherwise the running averages serve,
    so that no image's answer depends on another's.

    Its gradient is right; where second derivatives are needed, take `BatchStatisticsNorm`.

    Args:
      momentum: part of the new statistics in the running averages, 0..1 (Keras counts it from the other end).
      epsilon: added to the variance.
      gain_initializer: of the gain, one number per channel.
    """

    def __init__(self, *, momentum: float = 0.1, epsilon: float = 1e-5, gain_initializer="ones", **kwargs):
        super().__init__(**kwargs)
        self.momentum, self.epsilon = momentum, epsilon
        self.gain_initializer = keras.initializers.get(gain_initializer)

    def build(self, input_shape):
        """Makes the weights for [n, height, width, channels]."""
        shape = (input_shape[-1],)
        self.gain = self.add_weight(shape=shape, initializer=self.gain_initializer, name="gain")
        self.offset = self.add_weight(shape=shape, initializer="zeros", name="offset")
        self.running_mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="running_mean")
        self.running_variance = self.add_weight(
            shape=shape, initializer="ones", trainable=False, name="running_variance"
        )

    def call(self, inputs, training=False):
        """[n, height, width, channels] or [n, channels] float32 -> the same shape."""
        normalised = tf.raw_ops.FusedBatchNormV3(  # written out, a whole training step takes 1.4 times as long
            x=_as_images(inputs),
            scale=tf.convert_to_tensor(self.gain),
            offset=tf.convert_to_tensor(self.offset),
            mean=tf.convert_to_tensor(self.running_mean),
            variance=tf.convert_to_tensor(self.running_variance),
            epsilon=self.epsilon,
            exponential_avg_factor=self.momentum,
            is_training=bool(training),
        )
        if training:
            self.running_mean.assign(normalised.batch_mean)  # already averaged with the one before
            self.running_variance.assign(normalised.batch_variance)
        return tf.reshape(normalised.y, tf.shape(inputs))

    def get_config(self):
        """What the layer is rebuilt from."""
        gain = keras.initializers.serialize(self.gain_initializer)
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "gain_initializer": gain,
        }


@keras.saving.register_keras_serializable("cactus_tf")
class BatchStatisticsNorm(keras.layers.Layer):
    """MAML's batch norm: y = (x - mean) / sqrt(variance + epsilon) + offset, with the statistics of the batch.

    There is no gain and no running average, so answers are transductive. The statistics of the last call are kept in
    untrained variables; `training=False` normalises with those instead, so that queries can be normalised with the
    statistics of their support set (`stateless_call` hands them from the one to the other).

    Second derivatives are right (see `standardise`), unlike those of Keras' BatchNormalization.

    Args:
      epsilon: added to the variance.
      fused: in float32, use TensorFlow's fused kernels, which `tf.vectorized_map` cannot carry out for many tasks.
    """

    def __init__(self, *, epsilon: float = 1e-3, fused: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.epsilon, self.fused = epsilon, fused

    def build(self, input_shape):
        """Makes the offset and the kept statistics for [..., channels]."""
        shape = (input_shape[-1],)
        self.offset = self.add_weight(shape=shape, initializer="zeros", name="offset")
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.variance = self.add_weight(shape=shape, initializer="ones", trainable=False, name="variance")

    def call(self, inputs, training=True):
        """[..., channels] -> the same shape."""
        offset = tf.convert_to_tensor(self.offset)
        if not training:
            scale = tf.math.rsqrt(tf.convert_to_tensor(self.variance) + self.epsilon)
            return (inputs - tf.convert_to_tensor(self.mean)) * scale + offset
        out, mean, variance = standardise(inputs, offset, self.epsilon, fused=self.fused)
        self.mean.assign(mean)
        self.variance.assign(variance)
        return out

    def get_config(self):
        """What the layer is rebuilt from."""
        return {**super().get_config(), "epsilon": self.epsilon, "fused": self.fused}


@keras.saving.register_keras_serializable("cactus_tf")
class ImageStatisticsNorm(keras.layers.Layer):
    """Layer norm: y = gain (x - mean) / sqrt(variance + epsilon) + offset, with the statistics of each image.

    Mean and biased variance are over all axes but the first; gain and offset are one number per channel. Written out,
    because Keras' LayerNormalization has wrong second derivatives on TensorFlow.

    Args:
      epsilon: added to the variance.
    """

    def __init__(self, *, epsilon: float = 1e-12, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        """Makes the weights for [n, ..., channels]."""
        shape = (input_shape[-1],)
        self.gain = self.add_weight(shape=shape, initializer="ones", name="gain")
        self.offset = self.add_weight(shape=shape, initializer="zeros", name="offset")

    def call(self, inputs):
        """[n, ..., channels] -> the same shape."""
        axes = list(range(1, len(inputs.shape)))
        centred = inputs - tf.reduce_mean(inputs, axes, keepdims=True)
        variance = tf.reduce_mean(tf.square(centred), axes, keepdims=True)
        normalised = centred * tf.math.rsqrt(variance + self.epsilon)
        return normalised * tf.convert_to_tensor(self.gain) + tf.convert_to_tensor(self.offset)

    def get_config(self):
        """What the layer is rebuilt from."""
        return {**super().get_config(), "epsilon": self.epsilon}


def standardise(x, offset, epsilon: float, fused: bool = True):
    """(x - mean) / sqrt(variance + epsilon) + offset per channel, with right first and second derivatives.

    Statistics are over all axes but the last, the variance is biased. With r = 1 / sqrt(variance + epsilon), x^ the
    normalised x and <.> the mean per channel, both derivatives are made of one projection, the Jacobian of x^:

        A g = r (g - <g> - x^ <g x^>)                                  gradient in x of sum(g x^)
        d/dx sum(v A g) = -r^2 S x^ - r <g x^> A v - r <v x^> A g,     S = <v g> - <v> <g> - <v x^> <g x^>

    `tf.nn.moments`, and with it Keras' BatchNormalization, stops a gradient inside the variance, which leaves the first
    derivative right and makes the second silently wrong.

    Args:
      x: [..., channels], any floating type.
      offset: [channels].
      epsilon: added to the variance.
      fused: in float32, use TensorFlow's fused kernels, three times as fast on a CPU.

    Returns:
      [..., channels] normalised and shifted; [channels] mean; [channels] biased variance. No gradient flows from the
      last two.
    """
    kernels = _fused if fused and x.dtype == tf.float32 else _plain

    @tf.custom_gradient
    def forward(x, offset):
        out, mean, variance, project, scale = kernels(x, offset, epsilon)
        count = tf.cast(tf.size(x) // x.shape[-1], x.dtype)
        r = tf.math.rsqrt(variance + epsilon)

        @tf.custom_gradient
        def backward(g, x):
            a_g, sum_g, sum_gx = project(g)

            def second(v, v_offset):
                a_v, sum_v, sum_vx = project(v)
                s = (_channel_sum(v * g) - (sum_v * sum_g + sum_vx * sum_gx) / count) / count
                parts = (
                    scale(out, -r * r * s, offset),
                    scale(a_v, -r * sum_gx / count),
                    scale(a_g, -r * sum_vx / count),
                )
                return a_v + v_offset, tf.add_n(parts)

            return (a_g, sum_g), second

        return (out, mean, variance), lambda g, _mean, _variance: backward(g, x)

    return forward(x, offset)


def _as_images(x):
    """[..., channels] -> [n, height, width, channels], which fused kernels take."""
    return x if len(x.shape) == 4 else tf.reshape(x, (-1, 1, 1, x.shape[-1]))


def _channel_sum(x):
    return tf.reduce_sum(x, list(range(len(x.shape) - 1)))


def _plain(x, offset, epsilon):
    """Result, mean, biased variance, the projection g -> (A g, sum of g, sum of g x^), and (x - b) a; written out."""
    axes = list(range(len(x.shape) - 1))
    mean = tf.reduce_mean(x, axes)
    variance = tf.reduce_mean(tf.square(x - mean), axes)
    r = tf.math.rsqrt(variance + epsilon)
    normalised = (x - mean) * r
    count = tf.cast(tf.size(x) // x.shape[-1], x.dtype)

    def project(g):
        sum_g, sum_gx = _channel_sum(g), _channel_sum(g * normalised)
        return r * (g - sum_g / count - normalised * (sum_gx / count)), sum_g, sum_gx

    return normalised + offset, mean, variance, project, lambda x, a, b=0: (x - b) * a


def _fused(x, offset, epsilon):
    """As `_plain`, by TensorFlow's fused batch norm, whose own second derivative is never asked for."""
    shape, channels = tf.shape(x), x.shape[-1]
    flat = _as_images(x)
    ones, zeros = tf.ones(channels, x.dtype), tf.zeros(channels, x.dtype)
    out = tf.raw_ops.FusedBatchNormV3(
        x=flat, scale=ones, offset=offset, mean=zeros, variance=zeros, epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(x) // channels, x.dtype)
    biased = out.batch_variance * (tf.maximum(count - 1, 1) / count)

    def project(g):
        grads = tf.raw_ops.FusedBatchNormGradV3(
            y_backprop=tf.reshape(g, tf.shape(flat)),
            x=flat,
            scale=ones,
            reserve_space_1=out.reserve_space_1,
            reserve_space_2=out.reserve_space_2,
            reserve_space_3=out.reserve_space_3,
            epsilon=epsilon,
            is_training=True,
        )
        return tf.reshape(grads.x_backprop, shape), grads.offset_backprop, grads.scale_backprop

    def scale(x, a, b=zeros):
        moved = tf.raw_ops.FusedBatchNormV3(
            x=_as_images(x), scale=a, offset=zeros, mean=b, variance=ones, epsilon=0.0, is_training=False
        )
        return tf.reshape(moved.y, shape)

    return tf.reshape(out.y, shape), out.batch_mean, biased, project, scale


MakeNorm = Callable[[str], keras.layers.Layer]
"""A function from a layer's name to a normaliser."""

NORMS: dict[str, Callable[..., keras.layers.Layer]] = {
    "running": RunningBatchNorm,
    "batch": BatchStatisticsNorm,
    "layer": ImageStatisticsNorm,
    "none": keras.layers.Identity,
}


LAYERS = (RunningBatchNorm, BatchStatisticsNorm, ImageStatisticsNorm)
"""The layers whose variables are those of a normaliser."""


def build(kind: str, **settings) -> keras.layers.Layer:
    """A normaliser by what it normalises with.

    Args:
      kind: "running" (batch statistics in training, running averages afterwards), "batch" (always the batch's own),
        "layer" (each image's own) or "none".
      **settings: of the layer.

    Raises:
      InputError: no such normaliser.
    """
    if kind not in NORMS:
        raise InputError(f"{kind!r} is no norm; there are {', '.join(NORMS)}")
    return NORMS[kind](**settings)
