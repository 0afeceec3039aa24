"""InfoGAN: its networks, its losses, who moves what, and whose averages embed."""

import itertools
import math

import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import embedders
from cactus_tf.embedders import infogan
from cactus_tf.embedders._base import fitting
from cactus_tf.embedders._base.network import NetworkContext
from cactus_tf.embedders.infogan import losses as formulas
from cactus_tf.embedders.infogan import model as models
from cactus_tf.embedders.infogan.latents import Latents, draw, each_category, each_value, joined
from cactus_tf.errors import InputError

TINY = {"noise": 5, "categories": 3, "depth": 2, "batch": 6}


def network(shape=(8, 8, 1), seed=0, **options):
    return models.Infogan(infogan.Options(**{**TINY, **options}), NetworkContext(shape, 100, 10, seed))


def shaken(model, seed=0):
    """The network with random gains, offsets and biases, and weights large enough to be felt."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        deviation = 0.5 if len(variable.shape) == 1 else 1 / math.sqrt(math.prod(variable.shape[:-1]) / 2)
        start = 1 if variable.name == "gamma" else 0
        variable.assign(start + rng.normal(size=variable.shape) * deviation)
    return model


def pictures(n, seed=0):
    """[n, 8, 8, 1] uint8, noise with one half bright, and which half that is: top, bottom, left or right [n]."""
    rng = np.random.default_rng(seed)
    kinds, images = rng.integers(0, 4, n), rng.integers(0, 60, (n, 8, 8, 1), np.uint8)
    halves = np.s_[:4], np.s_[4:], np.s_[:, :4], np.s_[:, 4:]
    for image, kind in zip(images, kinds, strict=True):
        image[halves[kind]] += 150
    return images, kinds


def batch_of(n=6, seed=0, shape=(8, 8, 1)):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)


def data(step=0, n=6):
    return tf.constant(step, tf.int64), tf.constant(batch_of(n))


@pytest.fixture(scope="module")
def full():
    """The paper's networks for 28x28 gray images."""
    return models.Infogan(infogan.Options(), NetworkContext((28, 28, 1), 100, 10, 0))


def tiny(steps):
    return embedders.build("infogan", steps=steps, **TINY)


@pytest.fixture(scope="module")
def fitted():
    """A small embedder after 3 steps on 20 images."""
    return tiny(3).fit(batch_of(20), seed=1)


# Networks


def trainable(part):
    return sum(math.prod(v.shape) for v in part.trainable_variables)


def test_parameter_counts_are_those_of_the_table_less_the_biases_that_batch_norm_takes_away(full):
    inert = 1024 + 6272 + 64
    generator = 75 * 1024 + 2 * 1024 + 1025 * 6272 + 2 * 6272 + (16 * 128 + 1) * 64 + 2 * 64 + 16 * 64 + 1
    assert trainable(full.generator) == generator - inert
    trunk = (16 + 1) * 64 + (16 * 64 + 1) * 128 + 2 * 128 + 6273 * 1024 + 2 * 1024
    assert trainable(full.trunk) == trunk - 128 - 1024
    assert trainable(full.head) == 1025
    assert trainable(full.hidden) == 1025 * 128 + 2 * 128 - 128
    assert trainable(full.recognition) == 129 * 14


def test_the_generator_goes_from_7x7_to_14x14_to_28x28_and_the_trunk_back(full):
    def sizes(part):
        return [s for s in dict.fromkeys(tuple(layer.output.shape[1:]) for layer in part.layers) if len(s) == 3]

    assert full.generator.input_shape == (None, 74)
    assert sizes(full.generator) == [(7, 7, 128), (14, 14, 64), (28, 28, 1)]
    assert sizes(full.trunk) == [(14, 14, 64), (7, 7, 128)]
    assert full.trunk.output_shape == (None, 1024)


def test_the_recognition_network_answers_with_14_numbers_of_which_12_embed(full):
    assert full.recognition.output_shape == (None, 14)
    assert full.encode(np.zeros((2, 28, 28, 1), np.uint8)).shape == (2, 12)


def normalized(x, gamma, beta, seen):
    """Batch norm with the batch's statistics, which go into `seen`."""
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes), x.var(axes)
    count = x.size // x.shape[-1]
    seen.append((mean, variance * count / (count - 1)))
    return gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta


def leaky(x):
    return np.where(x > 0, x, 0.01 * x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def convolved(x, kernel):
    """4x4, stride 2, SAME: one pixel of padding on each side of an even size."""
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = [
        [np.einsum("nabc,abcd->nd", x[:, i : i + 4, j : j + 4], kernel) for j in range(0, x.shape[2] - 2, 2)]
        for i in range(0, x.shape[1] - 2, 2)
    ]
    return np.array(rows).transpose(2, 0, 1, 3)


def transposed(x, kernel):
    """4x4, stride 2, SAME: every input pixel adds its kernel to a 4x4 patch, of which a pixel lies outside."""
    n, h, w, _ = x.shape
    out = np.zeros((n, 2 * h + 2, 2 * w + 2, kernel.shape[2]))
    for i in range(h):
        for j in range(w):
            out[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("nd,abcd->nabc", x[:, i, j], kernel)
    return out[:, 1:-1, 1:-1]


class Literal:
    """The table of spec and paper in NumPy, with the weights of a network; statistics of each norm go into `seen`."""

    def __init__(self, model):
        self.weights = {
            name: [v.numpy().astype(float) for v in getattr(model, name).trainable_variables]
            for name in ("generator", "trunk", "head", "hidden", "recognition")
        }
        height, width, _ = model.trunk.input_shape[1:]
        self.small = height // 4, width // 4, 4
        self.seen = []

    def generator(self, z):
        w0, g0, b0, w1, g1, b1, w2, g2, b2, w3, b3 = self.weights["generator"]
        h = np.maximum(normalized(z @ w0, g0, b0, self.seen), 0)
        h = np.maximum(normalized(h @ w1, g1, b1, self.seen), 0).reshape(-1, *self.small)
        h = np.maximum(normalized(transposed(h, w2), g2, b2, self.seen), 0)
        return sigmoid(transposed(h, w3) + b3)

    def trunk(self, x):
        w0, b0, w1, g1, o1, w2, g2, o2 = self.weights["trunk"]
        h = leaky(convolved(x, w0) + b0)
        h = leaky(normalized(convolved(h, w1), g1, o1, self.seen))
        return leaky(normalized(h.reshape(len(h), -1) @ w2, g2, o2, self.seen))

    def discriminator(self, features):
        w, b = self.weights["head"]
        return sigmoid(features @ w + b)[:, 0]

    def hidden(self, features):
        w, g, o = self.weights["hidden"]
        return leaky(normalized(features @ w, g, o, self.seen))

    def recognition(self, hidden):
        w, b = self.weights["recognition"]
        return hidden @ w + b


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 12, 3)])
def test_the_networks_compute_what_the_table_says(shape):
    model = shaken(network(shape))
    literal, rng = Literal(model), np.random.default_rng(1)
    z, x = rng.uniform(-1, 1, (6, 10)), rng.uniform(0, 1, (6, *shape))
    features = literal.trunk(x)
    cases = [
        (model.generator, z, literal.generator(z)),
        (model.trunk, x, features),
        (model.hidden, features, literal.hidden(features)),
        (model.recognition, features[:, :4], literal.recognition(features[:, :4])),
    ]
    for part, given, expected in cases:
        got, _ = models.by_batch(part, given.astype(np.float32))
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)  # float32 and order of summation
    probabilities = model._probability(features.astype(np.float32))
    np.testing.assert_allclose(probabilities, literal.discriminator(features), rtol=1e-3, atol=1e-4)


def test_initial_weights_have_the_papers_deviation(full):
    for variable in full.trainable_variables:
        value, own = variable.numpy(), 0.02
        if variable.name in ("bias", "beta"):
            np.testing.assert_array_equal(value, 0)
            continue
        if "trunk" in variable.path and value.ndim == 4:
            assert abs(value).max() <= 0.04  # cut at two deviations, which leaves 0.87962 of one
            own *= 0.87962
        mean = 1 if variable.name == "gamma" else 0
        # the estimates' own deviations are own / sqrt(n) and own / sqrt(2 n): five of them
        assert abs(value.mean() - mean) < 5 * own / math.sqrt(value.size)
        assert abs(value.std() - own) < 5 * own / math.sqrt(2 * value.size)


def test_every_weight_has_a_stream_of_its_own_and_the_seed_decides(full):
    firsts = [round(float(v.numpy().ravel()[0]) % 1, 7) for v in full.trainable_variables if v.numpy().any()]
    assert len(set(firsts)) == len(firsts)
    same, again, other = network(seed=1), network(seed=1), network(seed=2)
    np.testing.assert_array_equal(same.weights[0], again.weights[0])
    assert (same.weights[0].numpy() != other.weights[0].numpy()).all()


@pytest.mark.parametrize("shape", [(30, 28, 1), (28, 27, 3)])
def test_images_whose_sides_are_no_multiples_of_4_are_refused_by_size(shape):
    message = f"sides are multiples of 4, such as 28x28x1, these are {shape[0]}x{shape[1]}x{shape[2]}: pad or resize"
    with pytest.raises(InputError, match=message):
        embedders.build("infogan", steps=1).fit(np.zeros((128, *shape), np.uint8))


def test_wrong_settings_are_refused_by_name():
    with pytest.raises(InputError, match="infogan_features=logits: it must be one of codes, all, hidden"):
        embedders.build("infogan", features="logits")
    with pytest.raises(InputError, match="infogan_categories=1: it must be at least 2"):
        embedders.build("infogan", categories=1)


# Latents


def test_latents_are_noise_then_category_then_codes_each_from_its_own_uniform_number():
    u = np.array([[0, 0.25, 0.69, 0.5, 1], [0.5, 1, 0.71, 0.75, 0]], np.float32)
    latents = draw(tf.constant(u), noise=2, categories=10, codes=2)
    np.testing.assert_allclose(latents.noise, [[-1, -0.5], [0, 1]])
    np.testing.assert_array_equal(latents.category, np.eye(10)[[6, 7]])
    np.testing.assert_allclose(latents.codes, [[0, 1], [0.5, -1]])
    np.testing.assert_array_equal(latents.vectors(), np.hstack(latents))


def test_drawn_latents_are_uniform(full):
    latents = full.latents("generator", tf.constant(0, tf.int64), 20_000)
    assert latents.vectors().shape == (20_000, 74)
    counts = latents.category.numpy().sum(axis=0)
    assert ((counts - 2000) ** 2 / 2000).sum() < 33.7  # chi-square of 9 degrees: once in 10,000 seeds
    for part in (latents.noise.numpy(), latents.codes.numpy()):
        assert -1 <= part.min() < -0.999 < 0.999 < part.max() <= 1
        # of a uniform number the variance is 1/3 and that of its square 4/45: five deviations of the estimates
        assert abs(part.mean()) < 5 * math.sqrt(1 / 3 / part.size)
        assert abs((part**2).mean() - 1 / 3) < 5 * math.sqrt(4 / 45 / part.size)


def test_the_two_halves_of_a_step_and_any_two_steps_draw_different_latents(monkeypatch):
    model, drawn, made = network(), [], []

    def note(name, place):
        whole = getattr(model, name)
        monkeypatch.setattr(model, name, lambda *args: drawn.append(args[place].vectors()) or whole(*args))

    note("discriminator_losses", 2)
    note("generator_losses", 0)
    discriminator = model.discriminator_losses
    monkeypatch.setattr(model, "discriminator_losses", lambda x, m, z: made.append((m, z)) or discriminator(x, m, z))
    model.optimizers[1].learning_rate = 0.0  # the generator stays, so what it made can be made again
    for step in (0, 1):
        model.train_step(data(step))
    assert len({z.numpy().tobytes() for z in drawn}) == 4
    for images, z in made:
        np.testing.assert_allclose(images, models.by_batch(model.generator, z.vectors())[0], rtol=1e-5)


# Losses


def test_an_undecided_discriminator_loses_2_ln_2_and_its_generator_ln_2():
    half = tf.fill((5,), 0.5)
    np.testing.assert_allclose(formulas.discriminator_loss(half, half), 2 * math.log(2), rtol=1e-6)
    np.testing.assert_allclose(formulas.generator_loss(half), math.log(2), rtol=1e-6)


def test_logarithms_are_guarded_by_1e_minus_8():
    np.testing.assert_allclose(formulas.generator_loss(tf.zeros(3)), -math.log(1e-8), rtol=1e-6)
    np.testing.assert_allclose(formulas.discriminator_loss(tf.zeros(3), tf.ones(3)), -2 * math.log(1e-8), rtol=1e-6)
    wrong = formulas.categorical_information(tf.eye(2), 1000 * tf.eye(2)[::-1])
    np.testing.assert_allclose(wrong, math.log(2) + math.log(1e-8), rtol=1e-6)


def test_ten_categories_are_worth_ln_10_nats_to_a_sure_recognition_network_and_none_to_an_ignorant_one():
    category = tf.eye(10)
    np.testing.assert_allclose(formulas.categorical_information(category, 100 * category), math.log(10), rtol=1e-6)
    np.testing.assert_allclose(formulas.categorical_information(category, tf.ones((10, 10))), 0, atol=1e-6)


def test_means_that_are_the_codes_are_worth_half_the_codes_squares_and_zeros_nothing():
    codes = tf.constant([[0.5, -1.0], [1.0, 0.25]])
    np.testing.assert_allclose(formulas.continuous_information(codes, tf.zeros((2, 2))), 0, atol=1e-6)
    squares = (0.25 + 1 + 1 + 0.0625) / 2
    np.testing.assert_allclose(formulas.continuous_information(codes, codes), squares / 2, rtol=1e-6)


def test_the_log_density_is_that_of_the_normal_distribution():
    x, mean = np.array([[0.3, -1.2]]), np.array([[0.1, 0.4]])
    density = np.prod(np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi), axis=1)
    np.testing.assert_allclose(formulas.gaussian_log_density(x, mean), np.log(density), rtol=1e-6)


def literal_informations(category, codes, flat):
    """H(c) - E[- log Q(c | x)] of both parts, image by image; flat is [n, k logits, m means, m unused]."""
    (n, k), m = category.shape, codes.shape[1]
    discrete, continuous = math.log(k), 0.0
    for i in range(n):
        q = np.exp(flat[i, :k]) / np.exp(flat[i, :k]).sum()
        discrete += math.log(q[category[i].argmax()] + 1e-8) / n
        for j in range(m):
            prior = -0.5 * math.log(2 * math.pi) - codes[i, j] ** 2 / 2
            posterior = -0.5 * math.log(2 * math.pi) - (codes[i, j] - flat[i, k + j]) ** 2 / 2
            continuous += (posterior - prior) / n
    return discrete, continuous


def test_both_players_losses_are_the_papers_image_by_image():
    model = shaken(network(weight=0.7))
    literal, x = Literal(model), np.random.default_rng(2).uniform(0, 1, (6, 8, 8, 1))
    latents = model.latents("generator", tf.constant(3, tf.int64), 6)
    made = literal.generator(latents.vectors().numpy().astype(float))
    on_images, features = literal.discriminator(literal.trunk(x)), literal.trunk(made)
    on_made, flat = literal.discriminator(features), literal.recognition(literal.hidden(features))
    expected = {
        "discriminator_loss": -np.mean(np.log(on_images + 1e-8) + np.log(1 - on_made + 1e-8)),
        "generator_loss": -np.mean(np.log(on_made + 1e-8)),
    }
    information = literal_informations(latents.category.numpy(), latents.codes.numpy(), flat)
    x, made = x.astype(np.float32), made.astype(np.float32)
    players = model.discriminator_losses(x, made, latents), model.generator_losses(latents)
    for (loss, value), losses in zip(expected.items(), players, strict=True):
        np.testing.assert_allclose(losses[loss], value, rtol=1e-3)
        found = losses["categorical_information"], losses["continuous_information"]
        np.testing.assert_allclose(found, information, rtol=2e-3, atol=1e-4)
        np.testing.assert_allclose(model.objective(losses), value - 0.7 * sum(information), rtol=2e-3)


# Who moves what


def moved(variables, before):
    return [bool((v.numpy() != old).any()) for v, old in zip(variables, before, strict=True)]


def values(variables):
    return [v.numpy() for v in variables]


@pytest.mark.parametrize("still", [0, 1])
def test_a_player_whose_own_rate_is_zero_stays_where_it_is_and_the_other_moves(still):
    model = shaken(network())
    model.optimizers[still].learning_rate = 0.0
    players = model.players
    before = [values(player) for player in players]
    model.train_step(data())
    assert not any(moved(players[still], before[still]))
    assert all(moved(players[1 - still], before[1 - still]))


def test_the_players_share_no_weight_and_leave_none_out():
    model = network()
    discriminator, generator = ({v.path for v in player} for player in model.players)
    assert not discriminator & generator
    assert discriminator | generator == {v.path for v in model.trainable_variables}
    named = {path.split("/")[0].split("_")[0] for path in discriminator}
    assert named == {"trunk", "head", "hidden", "recognition"}


@pytest.mark.parametrize("which", [0, 1])
def test_each_player_moves_by_the_gradient_of_its_own_objective(which):
    model = shaken(network(discriminator_rate=1e-3, generator_rate=1e-3))
    model.optimizers[1 - which].learning_rate = 0.0
    step, images = data(5)
    first, second = (model.latents(use, step, 6) for use in ("discriminator", "generator"))
    made, _ = models.by_batch(model.generator, first.vectors())
    with tf.GradientTape() as tape:
        losses = [lambda: model.discriminator_losses(model.scaled(images), made, first), None][which]
        objective = model.objective(losses() if losses else model.generator_losses(second))
    player = model.players[which]
    gradients, before = tape.gradient(objective, player), values(player)
    model.train_step((step, images))
    for gradient, old, variable in zip(gradients, before, player, strict=True):
        clear = abs(gradient.numpy()) > 1e-5  # Adam's first step is the rate times the sign; epsilon blurs zeros
        shift = (variable.numpy() - old)[clear]
        np.testing.assert_allclose(shift, -1e-3 * np.sign(gradient.numpy()[clear]), rtol=0.05)


def test_the_generator_meets_the_discriminator_as_that_ones_own_step_has_left_it():
    model, step, images = shaken(network(discriminator_rate=0.1, generator_rate=1e-3)), *data(5)
    before = values(model.players[1])
    model.train_step((step, images))
    after = values(model.players[1])
    for variable, old in zip(model.players[1], before, strict=True):
        variable.assign(old)  # the generator is back, the discriminator has moved
    with tf.GradientTape() as tape:
        objective = model.objective(model.generator_losses(model.latents("generator", step, 6)))
    for gradient, old, new in zip(tape.gradient(objective, model.players[1]), before, after, strict=True):
        clear = abs(gradient.numpy()) > 1e-5  # Adam's first step is the rate times the sign; epsilon blurs zeros
        np.testing.assert_allclose((new - old)[clear], -1e-3 * np.sign(gradient.numpy()[clear]), rtol=0.05)


@pytest.mark.parametrize("which", [0, 1])
def test_the_gradient_of_an_objective_is_its_finite_difference(which):
    model = shaken(network())
    latents, x = model.latents("generator", tf.constant(2, tf.int64), 32), model.scaled(batch_of(32))
    made, _ = models.by_batch(model.generator, latents.vectors())

    def objective():
        losses = model.generator_losses(latents) if which else model.discriminator_losses(x, made, latents)
        return model.objective(losses)

    with tf.GradientTape() as tape:
        value = objective()
    player = model.players[which]
    for variable, gradient in zip(player, tape.gradient(value, player), strict=True):
        start, direction = variable.numpy(), gradient.numpy() / np.linalg.norm(gradient)
        ends = []
        for shift in (1e-3, -1e-3):
            variable.assign(start + shift * direction)
            ends.append(float(objective()))
        variable.assign(start)
        # kinks and curvature within the step, and 32 bits
        np.testing.assert_allclose((ends[0] - ends[1]) / 2e-3, np.linalg.norm(gradient), rtol=0.05, atol=1e-3)


@pytest.mark.slow
def test_the_unused_log_variances_never_move():
    model = shaken(network())
    before = model.recognition.trainable_variables[0].numpy()
    model.train_step(data())
    after = model.recognition.trainable_variables[0].numpy()
    assert (before[:, :5] != after[:, :5]).all()
    np.testing.assert_array_equal(before[:, 5:], after[:, 5:])


# Whose averages


def test_a_batchs_statistics_are_those_of_true_images_and_no_step_keeps_any():
    model = shaken(network())
    literal, (step, images) = Literal(model), data()
    literal.hidden(literal.trunk(images.numpy() / 255.0))
    found = model.statistics(images)
    for got, expected in zip(found, [s for pair in literal.seen for s in pair], strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
    before = values(model.non_trainable_variables)
    model.train_step((step, images))
    model.pictures(images)
    assert not any(moved(model.non_trainable_variables, before))


def test_finishing_averages_the_statistics_of_every_batch_of_an_epoch_with_the_final_weights(fitted):
    model, images = fitted.model, batch_of(20)  # 3 batches of 6
    batches = [part for _, part in model.data(images, 6, model._noise["averages"], 0, 3)]
    assert len({row.tobytes() for part in batches for row in part.numpy()}) == 18
    expected = [np.mean(s, axis=0) for s in zip(*map(model.statistics, batches), strict=True)]
    kept = [*model.trunk.non_trainable_variables, *model.hidden.non_trainable_variables]
    for average, mean in zip(kept, expected, strict=True):
        np.testing.assert_allclose(average, mean, rtol=1e-4, atol=1e-6)
    before = values(model.weights)
    model.finish(images)
    for a, b in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(a, b)  # of the weights alone


def test_an_embedding_does_not_depend_on_the_other_images_of_the_batch(fitted):
    model, images = fitted.model, batch_of(7, seed=3)
    whole = model.encode(images)
    np.testing.assert_allclose(model.encode(images[2:3]), whole[2:3], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.encode(images[::-1]), whole[::-1], rtol=1e-4, atol=1e-5)


def test_where_the_averages_are_a_batchs_own_its_embeddings_are_those_of_training():
    model = shaken(network())
    literal, images = Literal(model), batch_of(9, seed=4)
    flat = literal.recognition(literal.hidden(literal.trunk(images / 255.0)))
    norms = [layer for part in (model.trunk, model.hidden) for layer in part.layers if "norm" in layer.name]
    for norm, (mean, unbiased) in zip(norms, literal.seen, strict=True):
        count = 9 * 4 if "trunk_1" in norm.name else 9  # 2x2 positions
        norm.running_mean.assign(mean)
        norm.running_variance.assign(unbiased * (count - 1) / count)
    np.testing.assert_allclose(model.encode(images), flat[:, :5], rtol=1e-3, atol=1e-4)


def test_features_are_the_codes_the_whole_output_or_the_layer_below():
    images = batch_of()
    codes, everything, hidden = (network(features=f).encode(images) for f in infogan.FEATURES)
    assert (codes.shape, everything.shape, hidden.shape) == ((6, 3 + 2), (6, 3 + 2 + 2), (6, 2 * 2))
    np.testing.assert_array_equal(codes, everything[:, :5])
    np.testing.assert_allclose(network().recognition(hidden), everything, rtol=1e-6)


# Pictures


def test_each_category_comes_with_the_same_noise_and_codes():
    one = Latents(tf.constant([[0.1], [0.2]]), tf.eye(3)[1:], tf.constant([[0.3], [0.4]]))
    every = each_category(one)
    np.testing.assert_array_equal(every.category.numpy().argmax(axis=1), [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(every.noise[:, 0], tf.tile(one.noise[:, 0], [3]))
    np.testing.assert_array_equal(every.codes[:, 0], tf.tile(one.codes[:, 0], [3]))


def test_one_code_takes_each_value_and_all_else_stays():
    one = Latents(tf.constant([[0.1], [0.2]]), tf.eye(2), tf.constant([[0.3, 0.4], [0.5, 0.6]]))
    varied = each_value(one, 1, tf.constant([-2.0, 0.0, 2.0]))
    np.testing.assert_allclose(varied.codes, [[0.3, -2], [0.3, 0], [0.3, 2], [0.5, -2], [0.5, 0], [0.5, 2]])
    np.testing.assert_allclose(varied.noise[:, 0], [0.1, 0.1, 0.1, 0.2, 0.2, 0.2])
    np.testing.assert_array_equal(varied.category, np.repeat(np.eye(2), 3, axis=0))
    both = joined([one, varied])
    np.testing.assert_array_equal(both.codes, np.vstack([one.codes, varied.codes]))


def test_pictures_are_of_fixed_latents_one_image_per_place():
    model, images = shaken(network()), batch_of(4)
    shown = model.pictures(tf.constant(images))
    assert set(shown) == set(infogan.INFO.pictures)
    assert {name: p.shape[:2] for name, p in shown.items()} == {
        "samples": (3, 9),
        "categories": (3, 9),
        "codes": (6, 9),
    }
    for name, again in model.pictures(tf.constant(images[::-1])).items():
        np.testing.assert_array_equal(shown[name], again)
        assert 0 <= again.numpy().min() < again.numpy().max() <= 1
        assert len({image.tobytes() for image in again.numpy().reshape(-1, 64)}) == len(again) * 9


# Steps and fits


def test_every_scalar_of_a_step_has_its_meaning_written_down():
    assert set(network().train_step(data())) == set(infogan.INFO.metrics)


def test_the_step_is_the_same_compiled_and_plain():
    results = []
    for compiled in (False, True):
        model = shaken(network())
        step = tf.function(model.train_step) if compiled else model.train_step
        losses = {k: float(v) for k, v in step(data(1)).items()}
        results.append((losses, values(model.weights)))
    (plain, plain_weights), (graph, graph_weights) = results
    assert plain == pytest.approx(graph, rel=1e-4, abs=1e-6)
    for a, b in zip(plain_weights, graph_weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)  # Adam magnifies the rounding of small gradients


def test_defaults_are_the_papers(full):
    options = infogan.Options()
    assert (options.noise, options.categories, options.codes, options.weight) == (62, 10, 2, 1)
    assert (options.batch, options.features, infogan.INFO.steps) == (128, "codes", 5000)
    rates = [round(float(optimizer.learning_rate.numpy()), 7) for optimizer in full.optimizers]
    assert rates == [2e-4, 1e-3]
    for optimizer in full.optimizers:
        assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.5, 0.999, 1e-8)


def test_an_interrupted_fit_goes_on_to_the_same_weights_and_optimizers(tmp_path, stop_at):
    images = batch_of(20)
    with pytest.raises(KeyboardInterrupt):
        tiny(8).fit(images, seed=1, folder=tmp_path, callbacks=[stop_at(3)])
    resumed, whole = tiny(8).fit(images, seed=1, folder=tmp_path), tiny(8).fit(images, seed=1)
    for a, b in zip(fitting.state(resumed.model), fitting.state(whole.model), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)  # threads change the order of summation


def test_a_saved_embedder_gives_the_same_embeddings(fitted, tmp_path):
    images = batch_of(20)
    fitted.save(tmp_path)
    loaded = embedders.build("infogan").load(tmp_path)
    np.testing.assert_array_equal(loaded.transform(images), fitted.transform(images))


def test_a_short_fit_tells_four_kinds_of_unseen_images_apart_better_than_any_three_categories_could():
    sizes = {"noise": 5, "categories": 4, "codes": 1, "depth": 8, "batch": 32}
    embedder = embedders.build("infogan", steps=300, discriminator_rate=1e-3, generator_rate=1e-3, **sizes)
    embedder.fit(pictures(600)[0], seed=1)
    first, last = embedder.curve[0], embedder.curve[-1]
    assert last["categorical_information"] > 0.7 * math.log(4) > first["categorical_information"] + 0.5
    unseen, kinds = pictures(300, seed=1)
    together = np.zeros((4, 4), int)
    np.add.at(together, (embedder.transform(unseen)[:, :4].argmax(axis=1), kinds), 1)
    right = max(sum(together[i, p] for i, p in enumerate(order)) for order in itertools.permutations(range(4)))
    assert right > 300 - np.bincount(kinds).min()  # three categories are wrong on a whole kind, at least the rarest
