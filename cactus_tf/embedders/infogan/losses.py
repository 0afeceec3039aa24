"""The losses of InfoGAN."""

from __future__ import annotations

import math

import tensorflow as tf

_TINY = 1e-8  # inside every logarithm, as in the authors' code


def discriminator_loss(on_images: tf.Tensor, on_made: tf.Tensor) -> tf.Tensor:
    """- mean [log D(x) + log(1 - D(G(z)))], minus V(D, G) of Chen et al. 2016, eq. 1.

    Args:
      on_images, on_made: [n] the discriminator's probabilities that an image is true.
    """
    return -tf.reduce_mean(_log(on_images) + _log(1 - on_made))


def generator_loss(on_made: tf.Tensor) -> tf.Tensor:
    """- mean log D(G(z)): Goodfellow et al. 2014, section 3, in place of the vanishing log(1 - D(G(z)))."""
    return -tf.reduce_mean(_log(on_made))


def categorical_information(category: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """L_I = H(c) + mean log Q(c | x) of the category, in nats (Chen et al. 2016, eq. 5).

    Args:
      category: [n, k] one-hot, drawn uniformly, so that H(c) = ln k.
      logits: [n, k] of the recognition network.
    """
    log_q = tf.reduce_sum(category * _log(tf.nn.softmax(logits)), axis=1)
    return math.log(category.shape[1]) + tf.reduce_mean(log_q)


def continuous_information(codes: tf.Tensor, means: tf.Tensor) -> tf.Tensor:
    """L_I of the continuous codes, Q(c | x) = N(c; mean, 1), in nats (Chen et al. 2016, eq. 5).

    H(c) is taken under N(0, 1), as in the authors' code: a constant without gradient that makes means of 0 worth 0.

    Args:
      codes: [n, m] drawn.
      means: [n, m] of the recognition network.
    """
    return tf.reduce_mean(gaussian_log_density(codes, means) - gaussian_log_density(codes, 0.0))


def gaussian_log_density(x: tf.Tensor, mean: tf.Tensor | float) -> tf.Tensor:
    """Sum over the last axis of log N(x; mean, 1) = -1/2 (x - mean)^2 - 1/2 log 2 pi."""
    return tf.reduce_sum(-0.5 * tf.square(x - mean) - 0.5 * math.log(2 * math.pi), axis=-1)


def _log(probability: tf.Tensor) -> tf.Tensor:
    return tf.math.log(probability + _TINY)
