"""The prior and the losses of BiGAN."""

from __future__ import annotations

import tensorflow as tf


def prior(shape: tuple, seed: tf.Tensor) -> tf.Tensor:
    """z ~ U(-1, 1).

    Args:
      shape: (n, dims).
      seed: [2] int64.
    """
    return tf.random.stateless_uniform(shape, seed, -1, 1)


def discriminator_loss(on_data: tf.Tensor, on_samples: tf.Tensor) -> tf.Tensor:
    """1/2 (mean -log D(x, E(x)) + mean -log(1 - D(G(z), z))): -V(D, E, G) / 2 of Donahue et al. 2017, eq. 3.

    Args:
      on_data: [n, 1] logits of D for images with their codes.
      on_samples: [n, 1] logits for codes with their samples.
    """
    return (tf.reduce_mean(tf.nn.softplus(-on_data)) + tf.reduce_mean(tf.nn.softplus(on_samples))) / 2


def generator_loss(on_data: tf.Tensor, on_samples: tf.Tensor) -> tf.Tensor:
    """1/2 (mean -log(1 - D(x, E(x))) + mean -log D(G(z), z)): the "inverse" objective of Donahue et al. 2017, 3.4.

    It is the discriminator's loss with the answers swapped. Its gradient is strong where D is sure, where that of -V
    vanishes.

    Args:
      on_data: [n, 1] logits of D for images with their codes.
      on_samples: [n, 1] logits for codes with their samples.
    """
    return discriminator_loss(on_samples, on_data)
