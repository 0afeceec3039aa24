import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf.backbones import NORMS, BatchStatisticsNorm, RunningBatchNorm
from cactus_tf.backbones._layers import Convolution
from cactus_tf.backbones._norms import norm_layer
from cactus_tf.backbones._standardize import standardize, standardized_product
from cactus_tf.errors import InputError


def activations(seed=0, shape=(6, 5, 4, 3)):
    return (2.0 + 3.0 * np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def channel_statistics(x):
    flat = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return flat.mean(0), flat.var(0)


@pytest.mark.parametrize(("kind", "epsilon"), [("running", 1e-5), ("batch", 1e-3)])
def test_normalized_channels_have_mean_zero_and_variance_v_over_v_plus_epsilon(kind, epsilon):
    x = 0.02 * activations()  # small, so that epsilon shows
    _, v = channel_statistics(x)
    mean, variance = channel_statistics(np.array(NORMS[kind]()(x, **({"training": True} if kind == "running" else {}))))
    np.testing.assert_allclose(mean, 0, atol=1e-5)
    np.testing.assert_allclose(variance, v / (v + epsilon), rtol=1e-4)


def test_gamma_and_beta_scale_and_shift_what_is_normalized():
    x, layer = activations(), RunningBatchNorm()
    plain = np.array(layer(x, training=True))
    layer.gamma.assign([1.0, -2.0, 0.5])
    layer.beta.assign([0.0, 1.0, -3.0])
    expected = plain * [1.0, -2.0, 0.5] + [0.0, 1.0, -3.0]
    np.testing.assert_allclose(layer(x, training=True), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_running_norm_in_float64_is_the_one_in_float32(training):
    x, found = activations(), []
    for dtype in ("float32", "float64"):
        layer = RunningBatchNorm(dtype=dtype)
        layer.build(x.shape)
        values = [1.0, -2.0, 0.5], [0.0, 1.0, -3.0], [2.0, 2.1, 1.9], [9.0, 8.0, 7.0]
        for variable, value in zip(layer.weights, values, strict=True):
            variable.assign(value)
        out = layer(x.astype(dtype), training=training)
        assert out.dtype == dtype
        found.append([np.asarray(out), *(np.asarray(v.value) for v in layer.weights)])
    for single, double in zip(*found, strict=True):
        np.testing.assert_allclose(single, double, rtol=1e-5, atol=1e-5)


def test_running_averages_take_up_a_tenth_of_the_mean_and_of_the_unbiased_variance():
    layer, mean, variance = RunningBatchNorm(), np.zeros(3), np.ones(3)
    for seed in range(3):
        x = activations(seed)
        layer(x, training=True)
        flat = x.reshape(-1, 3).astype(np.float64)
        mean, variance = 0.9 * mean + 0.1 * flat.mean(0), 0.9 * variance + 0.1 * flat.var(0, ddof=1)
    np.testing.assert_allclose(layer.running_mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.running_variance, variance, rtol=1e-5)


def test_evaluation_uses_the_running_averages_and_leaves_them_alone():
    x, layer = activations(), RunningBatchNorm()
    layer(activations(1), training=True)
    mean, variance = np.array(layer.running_mean), np.array(layer.running_variance)
    np.testing.assert_allclose(layer(x, training=False), (x - mean) / np.sqrt(variance + 1e-5), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(layer.running_mean, mean)
    np.testing.assert_array_equal(layer.running_variance, variance)


def test_a_batch_of_one_number_per_channel_leaves_finite_averages():
    layer = RunningBatchNorm()
    layer(activations(shape=(1, 1, 1, 3)), training=True)
    assert np.isfinite(layer.running_variance).all()


def directional_derivative(function, point, direction, step):
    return (function(point + step * direction) - function(point - step * direction)) / (2 * step)


def test_the_gradient_of_running_batch_norm_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    x, weights = tf.constant(activations()), rng.normal(size=(6, 5, 4, 3))
    layer = RunningBatchNorm()
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(tf.square(layer(x, training=True)) * weights.astype(np.float32))
    gradient = tape.gradient(loss, x).numpy()

    def formula(x):
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (((x - mean) ** 2 / (variance + 1e-5)) * weights).sum()

    for seed in range(3):
        direction = np.random.default_rng(seed).normal(size=x.shape)
        expected = directional_derivative(formula, x.numpy().astype(np.float64), direction, 1e-6)
        np.testing.assert_allclose((gradient * direction).sum(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("shape", [(4, 3, 3, 2), (7, 2)])
def test_second_derivatives_of_batch_statistics_norm_agree_with_finite_differences(shape, compiled):
    rng = np.random.default_rng(0)
    layer = BatchStatisticsNorm(dtype="float64")
    layer.build(shape)
    weights, direction = rng.normal(size=shape), rng.normal(size=shape)

    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.sin(layer(x)) * weights)
        return tape.gradient(loss, x)

    def second(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            along = tf.reduce_sum(gradient(x) * direction)
        return tape.gradient(along, x)

    x = tf.constant(0.3 * rng.normal(size=shape))  # float64
    expected = directional_derivative(lambda p: gradient(p).numpy(), x, direction, 1e-6)
    actual = (tf.function(second) if compiled else second)(x).numpy()
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())


@pytest.mark.skipif(not keras.__version__.startswith("3.15."), reason="Keras 3.15 was looked at")
def test_keras_batch_norm_would_fail_that_second_derivative():
    """Why the layer is written out; should this go red, Keras has been mended."""
    rng = np.random.default_rng(0)
    keras_layer = keras.layers.BatchNormalization(scale=False, dtype="float64")
    ours = BatchStatisticsNorm(dtype="float64")
    x, weights, direction = (tf.constant(rng.normal(size=(8, 2))) for _ in range(3))

    def second(layer):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(tf.sin(layer(x)) * weights)
            along = tf.reduce_sum(inner.gradient(loss, x) * direction)
        return loss, outer.gradient(along, x).numpy()

    (loss, right), (same_loss, wrong) = second(ours), second(lambda x: keras_layer(x, training=True))
    np.testing.assert_allclose(same_loss, loss, rtol=1e-10)
    assert np.linalg.norm(wrong - right) > 0.05 * np.linalg.norm(right)


def test_batch_statistics_norm_takes_nothing_from_the_call_before():
    layer, x = BatchStatisticsNorm(), activations()
    first = np.array(layer(x))
    layer(activations(1))
    np.testing.assert_array_equal(layer(x), first)
    assert [tuple(v.shape) for v in layer.trainable_variables] == [(3,)]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("running", {"momentum": 0.3, "epsilon": 0.2, "gamma_initializer": "zeros"}),
        ("batch", {"epsilon": 0.2}),
        ("layer", {"epsilon": 0.2}),
        ("none", {}),
    ],
)
def test_a_norm_can_be_rebuilt_from_its_config(kind, settings):
    layer = NORMS[kind](name="n", **settings)
    assert type(layer).from_config(layer.get_config()).get_config() == layer.get_config()
    assert all(layer.get_config()[name] == value for name, value in settings.items() if name != "gamma_initializer")


def test_an_unknown_norm_is_an_error_that_lists_those_there_are():
    with pytest.raises(InputError, match="unknown norm 'group'; choose one of running, batch, layer, none"):
        norm_layer("group", "n")


def test_layer_norm_normalizes_each_image_over_all_its_numbers():
    x, layer = activations(), NORMS["layer"](epsilon=0.1)
    layer(x)
    layer.gamma.assign([1.0, -2.0, 0.5])
    layer.beta.assign([0.0, 1.0, -3.0])
    flat = x.reshape(len(x), -1).astype(np.float64)
    mean, variance = (s[:, None, None, None] for s in (flat.mean(1), flat.var(1)))
    expected = (x - mean) / np.sqrt(variance + 0.1) * [1.0, -2.0, 0.5] + [0.0, 1.0, -3.0]
    np.testing.assert_allclose(layer(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (7, 3)])
def test_the_statistics_of_one_batch_can_normalize_another(shape):
    layer = NORMS["batch"]()
    first, other = activations(0, shape), activations(1, shape)[:1]
    layer(first)
    layer.beta.assign([1.0, 2.0, 3.0])
    mean, variance = channel_statistics(first)
    expected = (other - mean) / np.sqrt(variance + 1e-3) + [1.0, 2.0, 3.0]
    np.testing.assert_allclose(layer(other, training=False), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("shape", [(6, 5, 4, 3), (7, 3)])
def test_fused_kernels_give_value_and_derivatives_of_the_written_out_form(shape):
    rng = np.random.default_rng(0)
    weights, direction = (rng.normal(size=shape).astype(np.float32) for _ in range(2))
    beta_weight = tf.constant([0.3, -1.0, 2.0])

    def derivatives(fused):
        x, beta = tf.constant(activations(0, shape)), tf.constant([0.5, 0.0, -0.5])
        with tf.GradientTape() as outer:
            outer.watch([x, beta])
            with tf.GradientTape() as inner:
                inner.watch([x, beta])
                y, mean, variance = standardize(x, beta, 1e-3, fused=fused)
                loss = tf.reduce_sum(tf.sin(y) * weights)
            g_x, g_beta = inner.gradient(loss, [x, beta])
            along = tf.reduce_sum(g_x * direction) + tf.reduce_sum(g_beta * beta_weight)
        return y, mean, variance, g_x, g_beta, *outer.gradient(along, [x, beta])

    for a, b in zip(derivatives(True), derivatives(False), strict=True):
        assert np.linalg.norm(a - b) < 1e-5 * max(np.linalg.norm(b), 1)


@pytest.mark.parametrize("kind", ["batch", "layer"])
@pytest.mark.parametrize("shape", [(4, 3, 3, 2), (7, 2)])
def test_the_second_derivative_of_the_beta_and_of_the_input_is_that_of_plain_operations(kind, shape):
    rng = np.random.default_rng(0)
    layer = NORMS[kind](dtype="float64")
    layer.build(shape)
    x, weights, direction = (tf.constant(rng.normal(size=shape)) for _ in range(3))
    axes = list(range(len(shape) - 1)) if kind == "batch" else list(range(1, len(shape)))

    def plain(x):
        mean = tf.reduce_mean(x, axes, keepdims=True)
        variance = tf.reduce_mean(x * x, axes, keepdims=True) - mean * mean
        return (x - mean) / tf.sqrt(variance + layer.epsilon)

    def second(function):
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                loss = tf.reduce_sum(tf.sin(function(x)) * weights)
            along = tf.reduce_sum(inner.gradient(loss, x) * direction)
        return outer.gradient(along, x)

    np.testing.assert_allclose(second(layer), second(plain), rtol=1e-8, atol=1e-9)


def factors(images, seed=3):
    """Patches, kernel matrix and bias of a 3x3 convolution, and the convolution itself."""
    convolution = Convolution(5, 3, 1, "same", kind="factors", bias_initializer="ones")
    patches, matrix, bias = convolution(tf.constant(images))
    matrix = tf.constant(np.random.default_rng(seed).normal(size=matrix.shape), matrix.dtype)
    return patches, matrix, bias, tf.einsum("nhwm,mf->nhwf", patches, matrix) + bias


@pytest.mark.parametrize("kind", ["running", "batch"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("training", [True, False])
def test_a_norm_of_factors_is_the_norm_of_their_convolution(kind, channels, training):
    patches, matrix, bias, convolved = factors(activations(shape=(6, 5, 4, channels)))
    folded, after = NORMS[kind](), NORMS[kind]()
    for other in (1, 2):  # averages that are not the initial ones
        earlier = factors(activations(other, (6, 5, 4, channels)))
        folded(earlier[:3], training=True)
        after(earlier[3], training=True)
    out, expected = folded((patches, matrix, bias), training=training), after(convolved, training=training)
    np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-4)
    for ours, theirs in zip(folded.non_trainable_variables, after.non_trainable_variables, strict=True):
        drift = 0.0 if kind == "running" or ours.name != "mean" else np.asarray(bias)  # left out of batch statistics
        np.testing.assert_allclose(np.asarray(ours) + drift, theirs, rtol=1e-4, atol=1e-4)


def test_both_derivatives_of_a_standardized_product_are_those_of_the_formula():
    images = np.random.default_rng(0).normal(size=(4, 5, 4, 2))
    patches = tf.constant(np.concatenate([images, images**2, 1 + images], axis=-1))
    matrix, beta = (tf.constant(np.random.default_rng(1).normal(size=size)) for size in ((6, 3), (3,)))
    weights = tf.constant(np.random.default_rng(2).normal(size=(4, 5, 4, 3)))

    def folded(matrix, beta):
        return standardized_product(patches, matrix, 1.0, beta, 1e-3).out

    def written_out(matrix, beta):
        y = tf.einsum("nhwm,mf->nhwf", patches, matrix)
        mean = tf.reduce_mean(y, (0, 1, 2))
        return (y - mean) / tf.sqrt(tf.reduce_mean((y - mean) ** 2, (0, 1, 2)) + 1e-3) + beta

    def derivatives(function):
        with tf.GradientTape() as outer:
            outer.watch([matrix, beta])
            with tf.GradientTape() as inner:
                inner.watch([matrix, beta])
                loss = tf.reduce_sum(weights * tf.tanh(function(matrix, beta)))
            first = inner.gradient(loss, [matrix, beta])
            both = tf.reduce_sum(first[0] ** 2) + tf.reduce_sum(first[1] ** 2)
        return [*first, *outer.gradient(both, [matrix, beta])]

    for ours, theirs in zip(derivatives(folded), derivatives(written_out), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9)
