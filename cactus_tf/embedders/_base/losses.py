"""A loss of more than one embedder."""

import tensorflow as tf


def reconstruction_error(x: tf.Tensor, reconstruction: tf.Tensor) -> tf.Tensor:
    """Mean of (x - r)^2 over the batch and all pixels."""
    return tf.reduce_mean(tf.square(x - reconstruction))
