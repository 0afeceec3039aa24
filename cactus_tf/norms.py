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
        """[n, height, width, channels] float32 -> the same shape."""
        normalised = tf.raw_ops.FusedBatchNormV3(  # written out, a whole training step takes 1.4 times as long
            x=inputs,
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
        return normalised.y

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
    """MAML's batch norm: y = (x - mean) / sqrt(variance + epsilon) + offset, always with the batch's own statistics.

    There is no gain and nothing is kept between calls, so evaluation is transductive. The mean and the mean of squared
    differences (the biased variance), over all axes but the last, are written out: `tf.nn.moments`, and with it Keras'
    BatchNormalization, stops a gradient inside the variance, which makes second derivatives silently wrong.

    Args:
      epsilon: added to the variance.
    """

    def __init__(self, *, epsilon: float = 1e-3, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        """Makes the offset for [..., channels]."""
        self.offset = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="offset")

    def call(self, inputs):
        """[..., channels] -> the same shape."""
        axes = list(range(len(inputs.shape) - 1))
        mean = tf.reduce_mean(inputs, axes)
        variance = tf.reduce_mean(tf.square(inputs - mean), axes)
        return (inputs - mean) * tf.math.rsqrt(variance + self.epsilon) + tf.convert_to_tensor(self.offset)

    def get_config(self):
        """What the layer is rebuilt from."""
        return {**super().get_config(), "epsilon": self.epsilon}


NORMS: dict[str, Callable[..., keras.layers.Layer]] = {
    "running": RunningBatchNorm,
    "batch": BatchStatisticsNorm,
    "none": keras.layers.Identity,
}


def build(kind: str, **settings) -> keras.layers.Layer:
    """A normaliser by what it normalises with.

    Args:
      kind: "running" (batch statistics in training, running averages afterwards), "batch" (always the batch's own) or
        "none".
      **settings: of the layer.

    Raises:
      InputError: no such normaliser.
    """
    if kind not in NORMS:
        raise InputError(f"{kind!r} is no norm; there are {', '.join(NORMS)}")
    return NORMS[kind](**settings)
