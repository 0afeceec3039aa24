import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import backbones
from cactus_tf.backbones import conv4
from cactus_tf.errors import InputError


def trained_numbers(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.parametrize(("shape", "expected"), [((28, 28, 1), 111_936), ((84, 84, 3), 113_088)])
def test_protonets_network_has_the_published_number_of_weights(shape, expected):
    assert trained_numbers(conv4.build(shape)) == expected


@pytest.mark.parametrize(
    ("shape", "pooled", "way", "expected"), [((28, 28, 1), False, 20, 28_852), ((84, 84, 3), True, 5, 32_773)]
)
def test_maml_network_has_the_published_number_of_weights(shape, pooled, way, expected):
    model = conv4.build(shape, way, filters=32, norm="batch", pooled=pooled, initializers="glorot")
    assert trained_numbers(model) == expected


@pytest.mark.parametrize(
    ("side", "pooled", "dim"),
    [(28, True, 4), (84, True, 5 * 5 * 4), (31, True, 4), (28, False, 4), (84, False, 4), (8, False, 4)],
)
def test_features_are_flattened_when_pooled_and_averaged_when_strided(side, pooled, dim):
    assert conv4.build((side, side, 1), filters=4, pooled=pooled).output_shape == (None, dim)


def convolution(x, kernel, bias, stride):
    """3x3 convolution, size / stride rounded up, zeros outside; written as loops over the taps."""
    n, size = len(x), -(-x.shape[1] // stride)
    total = max((size - 1) * stride + 3 - x.shape[1], 0)  # rows of padding, the odd one below and right
    padded = np.pad(x, ((0, 0), (total // 2, total - total // 2), (total // 2, total - total // 2), (0, 0)))
    out = np.zeros((n, size, size, kernel.shape[-1])) + bias
    for dy in range(3):
        for dx in range(3):
            rows = slice(dy, dy + stride * (size - 1) + 1, stride)
            columns = slice(dx, dx + stride * (size - 1) + 1, stride)
            out += padded[:, rows, columns] @ kernel[dy, dx]
    return out


def in_numpy(model, x, pooled, epsilon):
    """The network with batch statistics, gamma 1 and beta 0, as the papers write it: norm, ReLU, then pool."""
    for i in range(1, 5):
        layer = model.get_layer(f"conv{i}")
        x = convolution(x, np.array(layer.kernel), np.array(layer.bias), 1 if pooled else 2)
        x = np.maximum((x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + epsilon), 0)
        if pooled:
            half = x.shape[1] // 2
            x = x[:, : 2 * half, : 2 * half].reshape(len(x), half, 2, half, 2, -1).max((2, 4))
    return x.reshape(len(x), -1) if pooled else x.mean((1, 2))


@pytest.mark.parametrize("pooled", [True, False])
@pytest.mark.parametrize(("norm", "epsilon"), [("running", 1e-5), ("batch", 1e-3)])
def test_the_network_computes_what_the_papers_write(norm, epsilon, pooled):
    model = conv4.build((33, 33, 2), filters=4, norm=norm, pooled=pooled, seed=3)
    images = np.random.default_rng(0).random((3, 33, 33, 2), np.float32)
    expected = in_numpy(model, images.astype(np.float64), pooled, epsilon)
    np.testing.assert_allclose(model(images, training=True), expected, rtol=1e-3, atol=1e-4)


def test_a_head_is_linear_in_the_features():
    model = conv4.build((28, 28, 1), 7, filters=4, norm="none")
    images = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)
    head = model.get_layer("head")
    features = np.array(conv4.build((28, 28, 1), filters=4, norm="none")(images))
    expected = features @ np.array(head.kernel) + np.array(head.bias)
    np.testing.assert_allclose(model(images), expected, rtol=1e-4, atol=1e-5)


def weights(model, name):
    layer = model.get_layer(name)
    return np.array(layer.kernel), np.array(layer.bias)


@pytest.mark.parametrize(("name", "fan_in"), [("conv1", 9), ("conv3", 9 * 64), ("head", 64)])
def test_torch_initializers_are_uniform_within_one_over_the_root_of_fan_in(name, fan_in):
    limit = fan_in**-0.5
    for values in weights(conv4.build((28, 28, 1), 20), name):
        assert np.abs(values).max() <= limit
        assert np.abs(values).max() > 0.85 * limit  # all of 20 or more uniform draws stay below with chance 0.04


def test_glorot_initializers_have_zero_biases_and_the_glorot_limit():
    kernel, bias = weights(conv4.build((28, 28, 1), initializers="glorot"), "conv2")
    limit = np.sqrt(6 / (9 * 64 + 9 * 64))
    assert 0.99 * limit < np.abs(kernel).max() <= limit
    assert not bias.any()


def test_head_stddev_makes_a_normal_head_without_bias():
    kernel, bias = weights(conv4.build((28, 28, 1), 20, head_stddev=1.0), "head")
    assert kernel.std() == pytest.approx(1.0, abs=0.1)  # 1280 draws: standard error 0.02
    assert not bias.any()


def test_weights_follow_from_the_seed_and_layers_do_not_share_them():
    first, same, other = (conv4.build((28, 28, 1), filters=4, seed=s) for s in (2**62, 2**62, 5))
    for a, b in zip(first.weights, same.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(weights(first, "conv2")[0], weights(other, "conv2")[0])
    assert not np.array_equal(weights(first, "conv2")[0], weights(first, "conv3")[0])


def test_a_norm_may_be_a_function_of_the_layer_name():
    seen = []

    def make(name):
        seen.append(name)
        return backbones.BatchStatisticsNorm(name=name)

    conv4.build((28, 28, 1), filters=4, norm=make)
    assert seen == ["norm1", "norm2", "norm3", "norm4"]


@pytest.mark.parametrize("pooled", [True, False])
def test_second_derivatives_through_stateless_calls_agree_with_finite_differences(pooled):
    """In the strided form, with a norm of the batch's own statistics, a step of gradient descent inside the loss."""
    model = conv4.build((16, 16, 1), 3, filters=3, norm="batch", pooled=pooled, initializers="glorot", dtype="float64")
    rng = np.random.default_rng(0)
    support, query = rng.random((2, 6, 16, 16, 1))
    labels = np.repeat(np.arange(3), 2)

    def loss(weights, images):
        logits, _ = model.stateless_call(weights, model.non_trainable_variables, images)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))

    def adapted_loss(weights):
        with tf.GradientTape() as tape:
            tape.watch(weights)
            inner = loss(weights, support)
        gradients = tape.gradient(inner, weights, unconnected_gradients="zero")
        return loss([w - 0.1 * g for w, g in zip(weights, gradients, strict=True)], query)

    weights = [tf.convert_to_tensor(v) for v in model.trainable_variables]
    directions = [rng.normal(size=w.shape) for w in weights]
    with tf.GradientTape() as tape:
        tape.watch(weights)
        value = adapted_loss(weights)
    gradients = tape.gradient(value, weights, unconnected_gradients="zero")
    actual = sum(tf.reduce_sum(g * d) for g, d in zip(gradients, directions, strict=True))
    step = 1e-6
    there, back = (adapted_loss([w + s * d for w, d in zip(weights, directions, strict=True)]) for s in (step, -step))
    np.testing.assert_allclose(actual, (there - back) / (2 * step), rtol=1e-6)


def test_images_too_small_for_four_poolings_are_an_error_with_the_remedy():
    with pytest.raises(InputError, match=r"images of 28x15 are too small .* enlarge them to at least 16x16"):
        conv4.build((28, 15, 1))
    conv4.build((16, 16, 1), filters=2)
    conv4.build((5, 5, 1), filters=2, pooled=False)


def test_a_shape_that_is_no_image_is_an_error():
    with pytest.raises(InputError, match=r"give \(height, width, channels\)"):
        conv4.build((256,))


def test_a_backbone_is_built_by_its_name():
    assert backbones.build("conv4", (28, 28, 1), 6, filters=4).output_shape == (None, 6)
    with pytest.raises(InputError, match=r"unknown member .conv5. of backbones"):
        backbones.build("conv5", (28, 28, 1))
