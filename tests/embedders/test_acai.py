"""ACAI: its networks, its two losses, and who moves what."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import embedders
from cactus_tf.embedders import acai
from cactus_tf.embedders._base.network import NetworkContext
from cactus_tf.errors import InputError


def network(shape=(16, 16, 1), seed=0, **options):
    return acai.Acai(
        acai.Options(**{"depth": 2, "latent": 3, "batch": 6, **options}), NetworkContext(shape, 100, 10, seed)
    )


def pictures(n, side=16, seed=0):
    """[n, side, side, 1] uint8: a bright Gaussian spot somewhere on black."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.uniform(3, side - 4, (2, n, 1, 1))
    i = np.arange(side)
    distance = (i[:, None] - rows) ** 2 + (i[None, :] - columns) ** 2
    return np.round(255 * np.exp(-distance / 8))[..., None].astype(np.uint8)


@pytest.fixture(scope="module")
def full():
    """The paper's network for 28x28 gray images."""
    return acai.Acai(acai.Options(), NetworkContext((28, 28, 1), 100, 10, 0))


# Networks


def test_parameter_counts_are_those_of_the_original(full):
    parts = (full.encoder, full.decoder, full.critic)
    assert [part.count_params() for part in parts] == [166_288, 83_329, 166_288]


def test_a_28x28_image_becomes_32x32_then_4x4x16_and_comes_back(full):
    assert full.encoder.input_shape[1:] == (32, 32, 1)
    assert full.encoder.output_shape[1:] == (4, 4, 16)
    assert full.decoder.output_shape[1:] == (32, 32, 1)
    assert full.encode(np.zeros((2, 28, 28, 1), np.uint8)).shape == (2, 256)


def test_padding_is_two_pixels_of_background_and_pixels_lie_between_minus_one_and_one(full):
    image = np.full((1, 28, 28, 1), 255, np.uint8)
    image[0, 0, 0, 0] = 51
    x = full.scaled(image).numpy()[0, ..., 0]
    assert x.shape == (32, 32)
    np.testing.assert_array_equal(x[[0, 1, 30, 31]], -1)
    np.testing.assert_array_equal(x[:, [0, 1, 30, 31]], -1)
    np.testing.assert_allclose(x[2, 2], 51 * 2 / 255 - 1, rtol=1e-6)
    np.testing.assert_allclose(x[3:30, 3:30], 1)


def literal_encoder(shape, d, latent, scales):
    """The table of the original, layer by layer; 1x1 and 3x3 convolutions apart."""
    leaky = keras.layers.LeakyReLU
    layers = [keras.Input(shape), keras.layers.Conv2D(d, 1)]
    for i in range(scales):
        for _ in range(2):
            layers += [keras.layers.Conv2D(d * 2**i, 3, padding="same"), leaky(negative_slope=0.2)]
        layers += [keras.layers.AveragePooling2D(2)]
    layers += [keras.layers.Conv2D(d * 2**scales, 3, padding="same"), leaky(negative_slope=0.2)]
    return keras.Sequential([*layers, keras.layers.Conv2D(latent, 3, padding="same")])


def literal_decoder(shape, d, colors, scales):
    leaky = keras.layers.LeakyReLU
    layers = [keras.Input(shape)]
    for i in reversed(range(scales)):
        for _ in range(2):
            layers += [keras.layers.Conv2D(d * 2**i, 3, padding="same"), leaky(negative_slope=0.2)]
        layers += [keras.layers.UpSampling2D(2)]
    layers += [keras.layers.Conv2D(d, 3, padding="same"), leaky(negative_slope=0.2)]
    return keras.Sequential([*layers, keras.layers.Conv2D(colors, 3, padding="same")])


def test_the_networks_compute_what_the_table_of_the_original_says():
    model, rng = network((16, 16, 3), depth=4), np.random.default_rng(1)
    x = rng.uniform(-1, 1, (5, 16, 16, 3)).astype(np.float32)
    h = rng.normal(size=(5, 4, 4, 3)).astype(np.float32)
    cases = [
        (model.encoder, literal_encoder((16, 16, 3), 4, 3, 2), x),
        (model.decoder, literal_decoder((4, 4, 3), 4, 3, 2), h),
        (model.critic, literal_encoder((16, 16, 3), 4, 3, 2), x),
    ]
    for part, literal, inputs in cases:
        weights = [rng.normal(size=w.shape) / 4 for w in part.weights]  # biases too, which start at zero
        part.set_weights(weights)
        literal.set_weights(weights)
        np.testing.assert_allclose(part(inputs), literal(inputs), rtol=1e-3, atol=1e-4)  # order of summation


def test_initial_weights_have_the_deviation_that_leaky_relu_keeps(full):
    for part in (full.encoder, full.decoder, full.critic):
        for weight in part.weights:
            value = weight.numpy()
            if value.ndim == 1:
                np.testing.assert_array_equal(value, 0)
            else:
                expected = 1 / np.sqrt(1.04 * np.prod(value.shape[:3]))
                # the estimate's own deviation is expected / sqrt(2 n): five of them
                assert abs(value.std() - expected) < 5 * expected / np.sqrt(2 * value.size)


def test_every_weight_has_a_stream_of_its_own_and_the_seed_decides(full):
    kernels = [w.numpy() for w in full.weights if len(w.shape) == 4]
    firsts = [kernel.ravel()[0] / kernel.std() for kernel in kernels]
    assert len(set(firsts)) == len(firsts)
    same, other = network(seed=1), network(seed=2)
    again = network(seed=1)
    np.testing.assert_array_equal(same.weights[0], again.weights[0])
    assert (same.weights[0].numpy() != other.weights[0].numpy()).all()


@pytest.mark.parametrize(
    ("shape", "scales", "padded"),
    [((28, 28, 1), 3, (32, 32)), ((84, 84, 3), 4, (96, 96)), ((8, 8, 1), 1, (8, 8)), ((31, 40, 1), 3, (32, 40))],
)
def test_any_side_is_padded_to_a_multiple_of_what_the_encoder_halves(shape, scales, padded):
    assert acai.scales_of(shape, 4) == scales
    padding = acai.paddings(shape, scales)
    assert tuple(side + sum(p) for side, p in zip(shape, padding[1:3], strict=False)) == padded


def test_color_images_of_another_size_work_and_take_the_wider_network():
    model = network((20, 20, 3), depth=None, latent=16)
    assert model.encoder.layers[1].filters == 64
    assert model.encode(np.zeros((1, 20, 20, 3), np.uint8)).shape == (1, 5 * 5 * 16)


def test_images_too_small_to_halve_are_refused_by_size():
    with pytest.raises(InputError, match="at least 6 pixels a side, these are 5x28x1"):
        embedders.build("acai", steps=1).fit(np.zeros((64, 5, 28, 1), np.uint8))


def test_pictures_show_reconstructions_and_mixes_from_one_image_to_its_mirror_image():
    model, images = network(), pictures(4)
    shown = model.pictures(tf.constant(images))
    assert set(shown) == set(acai.INFO.pictures)
    assert shown["reconstructions"].shape == (2, 4, 16, 16, 1)
    assert shown["interpolations"].shape == (2, 9, 16, 16, 1)
    np.testing.assert_allclose(shown["reconstructions"][0], images / 255, atol=1e-6)
    ends = shown["interpolations"][:, 0], shown["interpolations"][:, -1]
    np.testing.assert_allclose(ends[0], shown["reconstructions"][1, :2], atol=1e-6)
    np.testing.assert_allclose(ends[1], shown["reconstructions"][1, :1:-1], atol=1e-6)


# Losses


def test_the_mixing_coefficient_is_the_distance_to_the_nearer_end():
    u = np.linspace(0, 1, 101)
    alpha = acai.mixing_coefficient(u)
    np.testing.assert_allclose(alpha, np.minimum(u, 1 - u), atol=1e-12)
    assert 0 <= alpha.min() <= alpha.max() <= 0.5


def literal_losses(x, alpha, encoder, decoder, critic, advweight, gamma):
    """The paper's losses image by image."""
    n, h = len(x), encoder(x)
    autoencoder = critic_total = 0.0
    for i in range(n):
        mixed = alpha[i] * h[i] + (1 - alpha[i]) * h[n - 1 - i]
        r, y = decoder(h[i : i + 1])[0], decoder(mixed[None])[0]
        on_mix = critic(y[None])[0].mean()
        on_blend = critic((gamma * x[i] + (1 - gamma) * r)[None])[0].mean()
        autoencoder += ((x[i] - r) ** 2).mean() / n + advweight * on_mix**2 / n
        critic_total += (on_mix - alpha[i]) ** 2 / n + on_blend**2 / n
    return autoencoder, critic_total


def test_both_losses_are_the_papers_image_by_image():
    model, rng = network(advweight=0.7, gamma=0.3), np.random.default_rng(0)
    model.set_weights([2 * w.numpy() for w in model.weights])  # so that the critic's answers weigh in
    x = rng.uniform(-1, 1, (6, 16, 16, 1)).astype(np.float32)
    alpha = rng.uniform(0, 0.5, 6).astype(np.float32)
    arrays = [lambda a, part=part: part(a).numpy() for part in (model.encoder, model.decoder, model.critic)]
    autoencoder, critic = literal_losses(x, alpha, *arrays, 0.7, 0.3)
    losses = model.losses(x, alpha)
    assert abs(autoencoder - losses["reconstruction_error"]) > 1e-3 * autoencoder
    np.testing.assert_allclose(losses["autoencoder_loss"], autoencoder, rtol=1e-5)
    np.testing.assert_allclose(losses["critic_loss"], critic, rtol=1e-5)


def test_codes_are_mixed_with_their_mirror_image_in_the_batch():
    h = np.random.default_rng(0).normal(size=(5, 2, 2, 3)).astype(np.float32)
    alpha = np.array([0, 0.2, 0.3, 0.4, 0.5], np.float32)
    mixed = acai.mix(h, alpha)
    for i in range(5):
        np.testing.assert_allclose(mixed[i], alpha[i] * h[i] + (1 - alpha[i]) * h[4 - i], rtol=1e-5)


def test_each_player_moves_by_the_gradient_of_its_own_loss_at_the_common_weights():
    model, images = network(rate=1e-3), pictures(6)
    step = np.int64(5)
    u = tf.random.stateless_uniform((6,), seed=(model._noise, step))
    with tf.GradientTape(persistent=True) as tape:
        losses = model.losses(model.scaled(images), acai.mixing_coefficient(u))
    expected = [tape.gradient(losses[name], players) for name, players in zip(LOSSES, model.players, strict=True)]
    before = [[v.numpy() for v in player] for player in model.players]
    model.train_step((tf.constant(step), tf.constant(images)))
    for gradients, old, player in zip(expected, before, model.players, strict=True):
        for gradient, was, variable in zip(gradients, old, player, strict=True):
            clear = (
                abs(gradient.numpy()) > 1e-5
            )  # Adam's first step is the rate times the sign; its epsilon blurs zeros
            moved = (variable.numpy() - was)[clear]
            np.testing.assert_allclose(moved, -1e-3 * np.sign(gradient.numpy()[clear]), rtol=0.05)


LOSSES = ("autoencoder_loss", "critic_loss")


@pytest.mark.parametrize("still", [0, 1])
def test_a_player_whose_own_rate_is_zero_stays_where_it_is(still):
    model = network()
    model.optimizers[still].learning_rate = 0.0
    before = [[v.numpy() for v in player] for player in model.players]
    model.train_step((tf.constant(0, tf.int64), tf.constant(pictures(6))))
    moved = [
        [(v.numpy() != was).any() for v, was in zip(player, old, strict=True)]
        for player, old in zip(model.players, before, strict=True)
    ]
    assert not any(moved[still])
    assert all(moved[1 - still])


def test_every_scalar_of_a_step_has_its_meaning_written_down():
    losses = network().train_step((tf.constant(0, tf.int64), tf.constant(pictures(6))))
    assert set(losses) == set(acai.INFO.metrics)


def test_the_step_is_the_same_compiled_and_plain():
    results = []
    for compiled in (False, True):
        model = network()
        step = tf.function(model.train_step) if compiled else model.train_step
        results.append({k: float(v) for k, v in step((tf.constant(1, tf.int64), tf.constant(pictures(6)))).items()})
    assert results[0] == pytest.approx(results[1], rel=1e-5, abs=1e-7)


# Learning


def test_a_short_fit_reconstructs_unseen_images_better_than_their_mean_does():
    embedder = embedders.build("acai", steps=100, depth=8, rate=2e-3, batch=32).fit(pictures(400), seed=0)
    unseen = pictures(100, seed=1)
    x = embedder.model.scaled(unseen).numpy()
    error = np.mean((embedder.model(unseen) - x) ** 2)
    best_constant = np.mean((x - x.mean(axis=0)) ** 2)  # no answer that ignores its input does better
    assert error < 0.7 * best_constant


def test_defaults_are_the_papers():
    options = acai.Options()
    assert (options.latent, options.latent_width, options.advweight, options.gamma) == (16, 4, 0.5, 0.2)
    assert (options.rate, options.batch, acai.INFO.steps) == (1e-4, 64, 262_144)
    for optimizer in network().optimizers:
        assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.9, 0.999, 1e-8)
