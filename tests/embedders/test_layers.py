"""Layers that embedders share."""

import numpy as np
import tensorflow as tf

from cactus_tf.embedders._base.layers import PointwiseThenConv, leaky_relu


def test_leaky_relu_and_its_gradient_are_those_of_the_formula():
    x = tf.constant([-3.0, -0.1, 0.1, 4.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = leaky_relu(x)
    np.testing.assert_allclose(y, [-0.6, -0.02, 0.1, 4.0], rtol=1e-6)
    np.testing.assert_allclose(tape.gradient(y, x, output_gradients=tf.constant([1.0, 2, 3, 4])), [0.2, 0.4, 3, 4])


def test_two_linear_convolutions_in_one_are_the_two_with_the_same_gradients():
    rng = np.random.default_rng(0)
    layer = PointwiseThenConv(4, 0, "both")
    layer.build((None, 7, 7, 2))
    layer.set_weights([rng.normal(size=w.shape) for w in layer.weights])
    x = tf.constant(rng.normal(size=(3, 7, 7, 2)), tf.float32)
    upstream = tf.constant(rng.normal(size=(3, 7, 7, 4)), tf.float32)
    pointwise, first_bias, kernel, bias = layer.weights
    values = [w.value for w in layer.weights]
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        one = layer(x)
        two = tf.nn.conv2d(tf.nn.conv2d(x, pointwise, 1, "SAME") + first_bias, kernel, 1, "SAME") + bias
    np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-4)  # sums of 36 products of unit size, in another order
    for a, b in zip(
        tape.gradient(one, [x, *values], output_gradients=upstream),
        tape.gradient(two, [x, *values], output_gradients=upstream),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3)
