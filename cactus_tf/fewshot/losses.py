"""The formulas of few-shot learning, one function each."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from cactus_tf.types import Array


def unit_range(images: Array) -> tf.Tensor:
    """Pixels in the range that the networks expect: x / 255.

    Args:
      images: [...] uint8 in 0..255, or floats, which are returned unchanged.

    Returns:
      [...] float32 in 0..1 for uint8 images.
    """
    images = tf.convert_to_tensor(images)
    return images if images.dtype.is_floating else tf.cast(images, tf.float32) / 255.0


def prototypes(support: Array) -> tf.Tensor:
    """Class means of the support set: c_k = (1/K) sum_i f(x_ki). Snell et al. 2017, eq. 1.

    Args:
      support: [way, shot, dim] float32 features; axis 0 is the label.

    Returns:
      [way, dim] float32.
    """
    return tf.reduce_mean(support, axis=1)


def labeled_prototypes(support: tf.Tensor, labels: Array, way: Array) -> tf.Tensor:
    """Class means of a support set in any order, with any number of rows per class. Snell et al. 2017, eq. 1.

    Args:
      support: [n, dim] float32 features.
      labels: [n] integers in 0..way-1.
      way: number of classes, an integer or a scalar tensor.

    Returns:
      [way, dim] float32; the zero vector for a class without rows.
    """
    members = tf.one_hot(labels, way, dtype=support.dtype)  # [n, way]
    counts = tf.reduce_sum(members, axis=0)
    return tf.matmul(members, support, transpose_a=True) / tf.maximum(counts, 1)[:, None]


def squared_distances(points: Array, centers: Array) -> tf.Tensor:
    """Squared Euclidean distances: d_ik = |x_i - c_k|^2. Snell et al. 2017, section 2.4.

    Args:
      points: [m, dim] float32.
      centers: [way, dim] float32.

    Returns:
      [m, way] float32, at least 0.
    """
    return tf.reduce_sum(tf.math.squared_difference(points[:, None], centers[None]), axis=-1)


def cosines(points: Array, centers: Array) -> tf.Tensor:
    """Cosines of the angles: x_i . c_k / (|x_i| |c_k|).

    Args:
      points: [m, dim] float32.
      centers: [way, dim] float32.

    Returns:
      [m, way] float32 in -1..1; 0 where one of them is the zero vector.
    """
    return tf.matmul(tf.math.l2_normalize(points, -1), tf.math.l2_normalize(centers, -1), transpose_b=True)


def unit(rows: tf.Tensor) -> tf.Tensor:
    """Rows of length 1: x / |x|; the zero vector stays zero.

    Args:
      rows: [..., dim] float32.
    """
    return tf.math.l2_normalize(rows, -1)


def semi_normalized_distances(points: Array, centers: Array) -> tf.Tensor:
    """Squared distances to centers of length 1: d_ik = |x_i - c_k / |c_k||^2. Ye et al. 2022, SNS.

    The length of x_i is in all logits of a row alike, so the softmax of -tau d_ik is that of 2 tau x_i . c_k / |c_k|:
    the authors' inner product, at a temperature of 1 / (2 tau).

    Args:
      points: [m, dim] float32.
      centers: [way, dim] float32.

    Returns:
      [m, way] float32, at least 0.
    """
    return squared_distances(points, unit(centers))


def normalized_distances(points: Array, centers: Array) -> tf.Tensor:
    """Squared distances of vectors of length 1: d_ik = |x_i / |x_i| - c_k / |c_k||^2 = 2 - 2 cos(x_i, c_k).

    Args:
      points: [m, dim] float32.
      centers: [way, dim] float32.

    Returns:
      [m, way] float32 in 0..4.
    """
    return squared_distances(unit(points), unit(centers))


def query_loss(logits: tf.Tensor, labels: Array) -> tf.Tensor:
    """Mean cross-entropy over the queries: -(1/m) sum_i log softmax(logits_i)[y_i]. Snell et al. 2017, eq. 2.

    Args:
      logits: [m, way] float32.
      labels: [m] integers in 0..way-1.

    Returns:
      Scalar, in nats.
    """
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def hard_query_loss(logits: tf.Tensor, labels: Array, negatives: int) -> tf.Tensor:
    """Mean cross-entropy over each query's own class and its M nearest wrong ones.

    -(1/m) sum_i log(exp l_iy / (exp l_iy + sum_{k in H_i} exp l_ik)), where H_i holds the M wrong classes with the
    largest logits. Hard negative classes after Sohn 2016, here chosen for each query among the classes of its episode;
    with M = way - 1 this is `query_loss`.

    Args:
      logits: [m, way] float32.
      labels: [m] integers in 0..way-1.
      negatives: M, 1 to way - 1.

    Returns:
      Scalar, in nats.
    """
    own = tf.one_hot(labels, logits.shape[-1], True, False, dtype=tf.bool)
    right = tf.reduce_sum(tf.where(own, logits, 0), axis=-1, keepdims=True)
    hard = tf.math.top_k(tf.where(own, -np.inf, logits), negatives).values
    return query_loss(tf.concat([right, hard], axis=-1), tf.zeros(tf.shape(logits)[:1], tf.int32))


def redraws(rows: tf.Tensor, number: int, seed: Array) -> tf.Tensor:
    """Tasks drawn again from the features of one episode: SES, sufficient episodic sampling. Ye et al. 2022.

    The first is the episode as it is. In each other one, the images of every class are in a random order, so that other
    ones are support. The authors also draw the classes of each task from a larger batch; here all are in every task.

    Args:
      rows: [way, per_class, dim] float32; the first columns are support.
      number: R, tasks in all.
      seed: [2] integers; the draws are a pure function of them.

    Returns:
      [R, way, per_class, dim].
    """
    keys = tf.random.stateless_uniform((number - 1, *rows.shape[:2]), seed)
    orders = tf.argsort(keys, axis=-1)  # [R - 1, way, per_class]
    again = tf.gather(tf.broadcast_to(rows, (number - 1, *rows.shape)), orders, axis=2, batch_dims=2)
    return tf.concat([rows[None], again], axis=0)


def summed_loss(logits: tf.Tensor, labels: Array, way: Array) -> tf.Tensor:
    """Cross-entropy summed over the rows and divided by the rows per class: (1/K) sum_i CE_i. Finn et al. 2017, eq. 3.

    This is `way` times the mean, so a rate of alpha on it is a rate of N alpha on the mean. The authors of MAML and of
    CACTUs use it for the support set (K is the shot) and for the queries (K is Q).

    Args:
      logits: [m, way] float32.
      labels: [m] integers in 0..way-1; if classes differ in size, K is the mean size.
      way: N, number of classes, an integer or a scalar tensor.

    Returns:
      Scalar, in nats.
    """
    return tf.cast(way, logits.dtype) * query_loss(logits, labels)


def fraction_correct(logits: tf.Tensor, labels: Array) -> tf.Tensor:
    """Fraction of the rows whose largest logit is that of their label; ties go to the lowest class.

    Args:
      logits: [m, way] float32.
      labels: [m] integers in 0..way-1.

    Returns:
      Scalar float32 in 0..1.
    """
    predictions = tf.argmax(logits, axis=-1, output_type=tf.int64)
    return tf.reduce_mean(tf.cast(predictions == tf.cast(labels, tf.int64), tf.float32))


def episode_labels(way: int, per_class: int) -> tf.Tensor:
    """[way * per_class] int32: the labels of class-major rows, 0 ... 0 1 ... 1 and so on."""
    return tf.repeat(tf.range(way), per_class)
