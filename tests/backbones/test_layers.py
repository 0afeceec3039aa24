import numpy as np
import pytest
import tensorflow as tf

from cactus_tf.backbones._layers import Convolution, max_pool


def images(shape=(3, 9, 8, 2), seed=0):
    return tf.constant(np.random.default_rng(seed).normal(size=shape))


def second_order(function, x):
    """Value, gradient, and the gradient of its product with fixed numbers."""
    rng = np.random.default_rng(1)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = function(x)
            loss = tf.reduce_sum(tf.sin(y) * rng.normal(size=y.shape))
        gradient = inner.gradient(loss, x)
        along = tf.reduce_sum(gradient * rng.normal(size=x.shape))
    return y, gradient, outer.gradient(along, x)


@pytest.mark.parametrize("shape", [(3, 8, 8, 2), (2, 9, 7, 3)])
def test_max_pool_and_its_derivatives_are_tensorflows(shape):
    ours = second_order(max_pool, images(shape))
    theirs = second_order(lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"), images(shape))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def build(kind="kernel", filters=4, size=3, stride=2, **settings):
    layer = Convolution(filters, size, stride, "same", kind=kind, dtype="float64", **settings)
    layer.build((None, 9, 8, 2))
    rng = np.random.default_rng(2)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return layer


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kind", ["kernel", "patches"])
def test_every_kind_of_convolution_is_keras_convolution(kind, size, stride):
    layer = build(kind, size=size, stride=stride)
    expected = tf.nn.conv2d(images(), layer.kernel, stride, "SAME") + layer.bias
    np.testing.assert_allclose(layer(images()), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("shape", [(2, 6, 7, 1), (2, 9, 8, 2), (40, 9, 8, 2)])
def test_a_convolution_of_any_batch_size_has_the_same_gradients(shape):
    """The sizes at which the layer takes other kernels: one channel, few positions, many positions."""
    layer = Convolution(4, 3, 2, "same", dtype="float64")
    layer.build((None, *shape[1:]))
    x = images(shape)
    kernel = tf.constant(np.array(layer.kernel))

    def gradients(convolve):
        with tf.GradientTape() as tape:
            tape.watch([x, kernel])
            y = convolve(x)
            loss = tf.reduce_sum(y * np.random.default_rng(4).normal(size=y.shape))
        return tape.gradient(loss, [x, kernel])

    def ours(x):
        return layer._by_kernel(x, kernel)

    for a, b in zip(gradients(ours), gradients(lambda x: tf.nn.conv2d(x, kernel, 2, "SAME")), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_an_inert_bias_is_left_out():
    layer = build(bias_is_inert=True)
    np.testing.assert_allclose(layer(images()), tf.nn.conv2d(images(), layer.kernel, 2, "SAME"), rtol=1e-10)
