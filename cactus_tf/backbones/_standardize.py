"""Batch norm with the batch's own statistics: with derivatives in closed form, or folded into a first convolution."""

from __future__ import annotations

from typing import Any, NamedTuple

import tensorflow as tf


def standardize(x: tf.Tensor, beta: tf.Tensor, epsilon: float, fused: bool = True) -> tuple:
    """(x - mean) / sqrt(variance + epsilon) + beta per channel, with correct first and second derivatives.

    Statistics are over all axes but the last, and the variance is biased. With r = 1 / sqrt(variance + epsilon), x^ the
    normalized x and <.> the mean per channel, both derivatives are made of one projection, the Jacobian of x^:

        A g = r (g - <g> - x^ <g x^>)                                  gradient in x of sum(g x^)
        d/dx sum(v A g) = -r^2 S x^ - r <g x^> A v - r <v x^> A g,     S = <v g> - <v> <g> - <v x^> <g x^>

    `tf.nn.moments`, and with it Keras' BatchNormalization, stops a gradient inside the variance, which leaves the first
    derivative correct and makes the second silently wrong.

    Args:
      x: [..., channels], any floating type.
      beta: [channels].
      epsilon: added to the variance.
      fused: in float32, use TensorFlow's fused kernels, three times as fast on a CPU.

    Returns:
      [..., channels] normalized and shifted; [channels] mean; [channels] biased variance. No gradient flows from the
      last two.
    """
    kernels = _fused if fused and x.dtype == tf.float32 else _plain

    @tf.custom_gradient
    def forward(x: tf.Tensor, beta: tf.Tensor) -> tuple:
        out, mean, variance, project, scale = kernels(x, beta, epsilon)
        count = tf.cast(tf.size(x) // x.shape[-1], x.dtype)
        r = tf.math.rsqrt(variance + epsilon)

        @tf.custom_gradient
        def backward(g: tf.Tensor, x: tf.Tensor) -> tuple:
            a_g, sum_g, sum_gx = project(g)

            def second(v: tf.Tensor, v_beta: tf.Tensor) -> tuple:
                a_v, sum_v, sum_vx = project(v)
                s = (_channel_sum(v * g) - (sum_v * sum_g + sum_vx * sum_gx) / count) / count
                parts = (
                    scale(out, -r * r * s, beta),
                    scale(a_v, -r * sum_gx / count),
                    scale(a_g, -r * sum_vx / count),
                )
                return a_v + v_beta, tf.add_n(parts)

            return (a_g, sum_g), second

        return (out, mean, variance), lambda g, _mean, _variance: backward(g, x)

    return forward(x, beta)


class Standardized(NamedTuple):
    """A standardized product and the statistics of the product.

    Attributes:
      out: [n, height, width, channels].
      mean, variance: [channels], the variance biased.
    """

    out: tf.Tensor
    mean: tf.Tensor
    variance: tf.Tensor


def standardized_product(
    patches: tf.Tensor, matrix: tf.Tensor, gamma: tf.Tensor | float, beta: tf.Tensor, epsilon: float
) -> Standardized:
    """gamma (y - mean) / sqrt(variance + epsilon) + beta per channel, for the convolution y = patches W.

    The statistics of y follow from those of the patches x, which have far fewer channels:

        mean = <x> W,   variance of channel j = w_j^T C w_j,   C = <(x - <x>) (x - <x>)^T>

    so y itself is never normalized, and all derivatives are those of small matrices. The norm of a first layer, which
    is the largest of a network, then costs next to nothing.

    Args:
      patches: [n, height, width, m].
      matrix: W, [m, channels].
      gamma, beta: [channels], or a number for gamma.
      epsilon: added to the variance.
    """
    rows = tf.reshape(patches, (-1, matrix.shape[0]))
    average = tf.reduce_mean(rows, axis=0)
    centered = rows - average
    covariance = tf.matmul(centered, centered, transpose_a=True) / tf.cast(tf.shape(rows)[0], rows.dtype)
    variance = tf.maximum(tf.reduce_sum(matrix * tf.matmul(covariance, matrix), axis=0), 0)
    scaled = matrix * (gamma * tf.math.rsqrt(variance + epsilon))
    with_ones = tf.pad(centered, [[0, 0], [0, 1]], constant_values=1)
    out = tf.matmul(with_ones, tf.concat([scaled, beta[None]], axis=0))
    shape = (-1, *patches.shape[1:3], matrix.shape[1])
    return Standardized(tf.reshape(out, shape), tf.linalg.matvec(matrix, average, transpose_a=True), variance)


def replica_moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Mean and biased variance per channel, over all axes but the last and over the replicas' equal parts of a batch.

    Call it in the context of a replica. Gradients flow to the parts of all replicas.
    """
    axes, replica = list(range(len(x.shape) - 1)), tf.distribute.get_replica_context()
    mean = replica.all_reduce(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(x, axes))
    squares = tf.reduce_mean(tf.square(x - mean), axes)
    return mean, replica.all_reduce(tf.distribute.ReduceOp.MEAN, squares)


def as_images(x: tf.Tensor) -> tf.Tensor:
    """[..., channels] -> [n, height, width, channels], the rank that fused kernels take."""
    return x if len(x.shape) == 4 else tf.reshape(x, (-1, 1, 1, x.shape[-1]))


def _channel_sum(x: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(x, list(range(len(x.shape) - 1)))


def _plain(x: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tuple:
    """Result, mean, biased variance, the projection g -> (A g, sum of g, sum of g x^), and (x - b) a; written out."""
    axes = list(range(len(x.shape) - 1))
    mean = tf.reduce_mean(x, axes)
    variance = tf.reduce_mean(tf.square(x - mean), axes)
    r = tf.math.rsqrt(variance + epsilon)
    normalized = (x - mean) * r
    count = tf.cast(tf.size(x) // x.shape[-1], x.dtype)

    def project(g: tf.Tensor) -> tuple:
        sum_g, sum_gx = _channel_sum(g), _channel_sum(g * normalized)
        return r * (g - sum_g / count - normalized * (sum_gx / count)), sum_g, sum_gx

    return normalized + beta, mean, variance, project, lambda x, a, b=0: (x - b) * a


def _fused(x: tf.Tensor, beta: tf.Tensor, epsilon: float) -> tuple:
    """As `_plain`, by TensorFlow's fused batch norm, whose own second derivative is never used."""
    shape, channels = tf.shape(x), x.shape[-1]
    flat = as_images(x)
    ones, zeros = tf.ones(channels, x.dtype), tf.zeros(channels, x.dtype)
    out = tf.raw_ops.FusedBatchNormV3(
        x=flat, scale=ones, offset=beta, mean=zeros, variance=zeros, epsilon=epsilon, is_training=True
    )
    count = tf.cast(tf.size(x) // channels, x.dtype)
    biased = out.batch_variance * (tf.maximum(count - 1, 1) / count)

    def project(g: tf.Tensor) -> tuple:
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

    def scale(x: tf.Tensor, a: tf.Tensor, b: Any = zeros) -> tf.Tensor:
        moved = tf.raw_ops.FusedBatchNormV3(
            x=as_images(x), scale=a, offset=zeros, mean=b, variance=ones, epsilon=0.0, is_training=False
        )
        return tf.reshape(moved.y, shape)

    return tf.reshape(out.y, shape), out.batch_mean, biased, project, scale
