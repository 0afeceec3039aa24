"""The formulas of few-shot learning, one function each."""

from __future__ import annotations

import tensorflow as tf


def unit_range(images):
    """Pixels as the networks see them: x / 255.

    Args:
      images: [...] uint8 in 0..255, or floats, which pass as they are.

    Returns:
      [...] float32 in 0..1 for uint8 images.
    """
    images = tf.convert_to_tensor(images)
    return images if images.dtype.is_floating else tf.cast(images, tf.float32) / 255.0


def prototypes(support):
    """Class means of the support set: c_k = (1/K) sum_i f(x_ki). Snell et al. 2017, eq. 1.

    Args:
      support: [way, shot, dim] float32 features; axis 0 is the label.

    Returns:
      [way, dim] float32.
    """
    return tf.reduce_mean(support, axis=1)


def labelled_prototypes(support, labels, way: int):
    """Class means of a support set in any order, with any number of rows per class. Snell et al. 2017, eq. 1.

    Args:
      support: [n, dim] float32 features.
      labels: [n] integers in 0..way-1.
      way: number of classes.

    Returns:
      [way, dim] float32; the zero vector for a class without a row.
    """
    members = tf.one_hot(labels, way, dtype=support.dtype)  # [n, way]
    counts = tf.reduce_sum(members, axis=0)
    return tf.matmul(members, support, transpose_a=True) / tf.maximum(counts, 1)[:, None]


def squared_distances(points, centres):
    """Squared Euclidean distances: d_ik = |x_i - c_k|^2. Snell et al. 2017, section 2.4.

    Args:
      points: [m, dim] float32.
      centres: [way, dim] float32.

    Returns:
      [m, way] float32, at least 0.
    """
    return tf.reduce_sum(tf.math.squared_difference(points[:, None], centres[None]), axis=-1)


def query_loss(logits, labels):
    """Mean cross-entropy over the queries: -(1/m) sum_i log softmax(logits_i)[y_i]. Snell et al. 2017, eq. 2.

    Args:
      logits: [m, way] float32.
      labels: [m] integers in 0..way-1.

    Returns:
      Scalar, in nats.
    """
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def summed_loss(logits, labels, way: int):
    """Cross-entropy summed over the rows and divided by the rows per class: (1/K) sum_i CE_i. Finn et al. 2017, eq. 3.

    That is `way` times the mean, so a rate of alpha on it is a rate of N alpha on the mean. The authors of MAML and of
    CACTUs use it for the support set (K is then the shot) and for the queries (K is then Q).

    Args:
      logits: [m, way] float32.
      labels: [m] integers in 0..way-1; where classes have unequal numbers, K is their mean.
      way: N, number of classes.

    Returns:
      Scalar, in nats.
    """
    return tf.cast(way, logits.dtype) * query_loss(logits, labels)


def accuracy(logits, labels):
    """Fraction of the queries whose largest logit is that of their label; among equals the lowest class counts.

    Args:
      logits: [m, way] float32.
      labels: [m] integers in 0..way-1.

    Returns:
      Scalar float32 in 0..1.
    """
    guesses = tf.argmax(logits, axis=-1, output_type=tf.int64)
    return tf.reduce_mean(tf.cast(guesses == tf.cast(labels, tf.int64), tf.float32))


def episode_labels(way: int, per_class: int):
    """[way * per_class] int32: the labels of class-major rows, 0 ... 0 1 ... 1 and so on."""
    return tf.repeat(tf.range(way), per_class)
