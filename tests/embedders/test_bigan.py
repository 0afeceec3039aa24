"""BiGAN: its two trios, its losses, who moves what at which rate, and the statistics that encoding uses."""

import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import embedders
from cactus_tf.embedders import bigan
from cactus_tf.embedders._base import adam
from cactus_tf.embedders._base.fitting import state
from cactus_tf.embedders._base.network import NetworkContext
from cactus_tf.embedders.bigan import image_forms
from cactus_tf.embedders.bigan import model as models
from cactus_tf.embedders.bigan.layers import DeployedBatchNorm, deploy
from cactus_tf.embedders.bigan.losses import discriminator_loss, generator_loss, prior
from cactus_tf.embedders.bigan.networks import conv_trio, mlp_trio
from cactus_tf.errors import InputError

TINY = {
    "mlp": {"network": "mlp", "dims": 3, "units": 8, "batch": 8, "deploy_batches": 2},
    "conv": {"network": "conv", "dims": 3, "filters": 4, "batch": 8, "deploy_batches": 2},
}
KINDS = list(TINY)


def network(kind="mlp", shape=(8, 8, 1), steps=10, seed=0, **options):
    return models.Bigan(bigan.Options(**{**TINY[kind], **options}), NetworkContext(shape, 100, steps, seed))


def pictures(n, side=8, seed=0):
    """[n, side, side, 1] uint8: a bright Gaussian spot somewhere on black."""
    rng = np.random.default_rng(seed)
    rows, columns = rng.uniform(1, side - 2, (2, n, 1, 1))
    i = np.arange(side)
    distance = (i[:, None] - rows) ** 2 + (i[None, :] - columns) ** 2
    return np.round(255 * np.exp(-distance / 4))[..., None].astype(np.uint8)


def disturb(model, seed=1):
    """Random weights everywhere, so that zeros, ones and equal biases hide nothing."""
    rng = np.random.default_rng(seed)
    for v in model.trainable_variables:
        fan = max(1, int(np.prod(v.shape[:-1])))
        size = {"gamma": 1.0, "beta": 0.5}.get(v.name, 1 / np.sqrt(fan))
        v.assign(size * (rng.normal(size=v.shape) + (v.name == "gamma")))
    return model


def step_of(step=0):
    return tf.constant(step, tf.int64), tf.constant(pictures(8))


# Literal transcriptions of the tables, in NumPy and float64


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def relu(x):
    return np.maximum(x, 0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Literal:
    """The layers' weights by name, and what each batch norm was given."""

    def __init__(self, net):
        self.net, self.normalized = net, []

    def w(self, layer, weight="kernel"):
        return np.asarray(getattr(self.net.get_layer(layer), weight), np.float64)

    def dense(self, x, layer):
        return x @ self.w(layer)

    def z(self, z, layer):
        return self.dense(z, f"{layer}_z")

    def norm(self, x, layer):
        self.normalized.append(x)
        axes = tuple(range(x.ndim - 1))
        y = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-8)
        norm = self.net.get_layer(f"{layer}_norm")
        return y * self.w(f"{layer}_norm", "gamma") + self.w(f"{layer}_norm", "beta") if norm.affine else y

    def conv(self, x, layer, stride=1, groups=1):
        k = self.w(layer)
        return np.concatenate(
            [
                convolved(part, own, stride)
                for part, own in zip(np.split(x, groups, -1), np.split(k, groups, -1), strict=True)
            ],
            axis=-1,
        )


def convolved(x, k, stride):
    """Tap by tap, padded by half the kernel on all sides."""
    side, pad = k.shape[0], k.shape[0] // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    out = (x.shape[1] - side) // stride + 1
    last = stride * (out - 1) + 1
    taps = [(a, b) for a in range(side) for b in range(side)]
    return sum(x[:, a : a + last : stride, b : b + last : stride] @ k[a, b] for a, b in taps)


def deconvolved(x, k):
    """What `convolved` of stride 2 transposes: each input spreads a 5x5 stamp, two pixels further than the last."""
    n, side = x.shape[:2]
    y = np.zeros((n, 2 * side + 3, 2 * side + 3, k.shape[2]))
    for i in range(side):
        for j in range(side):
            y[:, 2 * i : 2 * i + 5, 2 * j : 2 * j + 5] += np.einsum("nc,abfc->nabf", x[:, i, j], k)
    return y[:, 2:-1, 2:-1]


def pooled(x):
    """The largest of 3x3 at every second place; outside there is nothing."""
    side = x.shape[1]
    window = [slice(max(0, 2 * i - 1), 2 * i + 2) for i in range(side // 2)]
    return np.stack([np.stack([x[:, a, b].max((1, 2)) for b in window], 1) for a in window], 1)


def mlp_generator(l, z):  # noqa: E741
    h = relu(l.norm(l.dense(z, "fc1"), "fc1"))
    h = relu(l.norm(l.dense(h, "fc2") + l.z(z, "fc2"), "fc2"))
    return sigmoid(l.dense(h, "out"))


def mlp_encoder(l, x):  # noqa: E741
    h = leaky(l.dense(x, "fc1"))
    h = leaky(l.norm(l.dense(h, "fc2"), "fc2"))
    return 2 * sigmoid(l.dense(h, "out")) - 1


def mlp_discriminator(l, x, z):  # noqa: E741
    h = leaky(l.dense(x, "fc1"))
    h = leaky(l.norm(l.dense(h, "fc2") + l.z(z, "fc2"), "fc2"))
    return l.dense(h, "out")


def conv_generator(l, z):  # noqa: E741
    h = relu(l.norm(l.dense(z, "fc"), "fc"))
    h = h.reshape(len(z), 4, 4, -1)
    for layer in ("deconv1", "deconv2", "deconv3"):
        h = relu(l.norm(deconvolved(h, l.w(layer)) + l.z(z, layer)[:, None, None], layer))
    return 2 * sigmoid(deconvolved(h, l.w("out"))) - 1


def conv_discriminator(l, x, z):  # noqa: E741
    h = leaky(l.conv(x, "conv1", 2))
    for layer in ("conv2", "conv3", "conv4"):
        h = leaky(l.norm(l.conv(h, layer, 2) + l.z(z, layer)[:, None, None], layer))
    return l.dense(h.reshape(len(x), -1), "out")


def conv_encoder(l, x):  # noqa: E741
    h = pooled(leaky(l.conv(x, "conv1", 4)))
    h = pooled(leaky(l.norm(l.conv(h, "conv2", 1, 2), "conv2")))
    h = leaky(l.norm(l.conv(h, "conv3"), "conv3"))
    h = leaky(l.norm(l.conv(h, "conv4", 1, 2), "conv4"))
    h = leaky(l.norm(l.conv(h, "conv5", 1, 2), "conv5"))
    return 2 * sigmoid(l.dense(h.reshape(len(x), -1), "out")) - 1


LITERAL = {
    "mlp": (mlp_generator, mlp_encoder, mlp_discriminator),
    "conv": (conv_generator, conv_encoder, conv_discriminator),
}


def inputs(kind, n=5, seed=3):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (n, 64)) if kind == "mlp" else rng.uniform(-1, 1, (n, 64, 64, 1))
    return x.astype(np.float32), rng.uniform(-1, 1, (n, 3)).astype(np.float32)


# Networks


def test_parameter_counts_of_the_mlp_trio_are_those_of_the_original():
    trio = mlp_trio(28 * 28, 50, 1024, 0)
    counts = [sum(int(np.prod(v.shape)) for v in net.trainable_variables) for net in trio]
    assert counts == [1_953_792, 1_902_592, 1_903_616]


@pytest.fixture(scope="module")
def full():
    """The paper's convolutional trio."""
    return conv_trio(3, 200, 64, 0)


def test_the_convolutional_trio_has_as_many_tensors_as_the_original(full):
    norms = [sum(isinstance(layer, DeployedBatchNorm) for layer in net.layers) for net in full]
    tensors = [len(net.trainable_variables) + 3 * n for net, n in zip(full, norms, strict=True)]  # + counter, mean, var
    assert tensors == [28, 26, 23]
    for net, n in zip(full, norms, strict=True):
        assert sum(v.name == "gamma" for v in net.weights) == sum(v.name == "beta" for v in net.weights) == n


def test_the_convolutional_trio_has_the_shapes_of_the_table(full):
    def shapes(net):
        return [tuple(v.shape) for v in net.trainable_variables if v.name == "kernel" and not v.path.count("_z/")]

    generator, encoder, discriminator = full
    deconvs = [(5, 5, 256, 512), (5, 5, 128, 256), (5, 5, 64, 128), (5, 5, 3, 64)]
    convs = [(11, 11, 3, 96), (5, 5, 48, 256), (3, 3, 256, 384), (3, 3, 192, 384), (3, 3, 192, 256)]
    joint = [(5, 5, 3, 64), (5, 5, 64, 128), (5, 5, 128, 256), (5, 5, 256, 512)]
    assert shapes(generator) == [(200, 4 * 4 * 512), *deconvs]
    assert shapes(encoder) == [*convs, (4 * 4 * 256, 200)]
    assert shapes(discriminator) == [*joint, (4 * 4 * 512, 1)]
    assert generator.output_shape == (None, 64, 64, 3)
    assert generator.get_layer("fc_norm").gamma.shape == (8192,)


@pytest.mark.parametrize("kind", KINDS)
def test_the_networks_compute_what_the_table_of_the_original_says(kind):
    model = disturb(network(kind))
    x, z = inputs(kind)
    nets = (model.generator, model.encoder, model.discriminator)
    for net, literal, given in zip(nets, LITERAL[kind], ([z], [x], [x, z]), strict=True):
        answer = net(given if len(given) > 1 else given[0], training=True).numpy()
        expected = literal(Literal(net), *(a.astype(np.float64) for a in given))
        assert expected.std() > 0.01
        np.testing.assert_allclose(answer, expected, rtol=1e-3, atol=1e-4)  # float32, and few images per norm


def test_weights_are_in_the_order_of_saved_embedders(full):
    paths = [v.path for v in full.generator.weights if "norm" not in v.path]
    deconvolutions = [path for i in (1, 2, 3) for path in (f"deconv{i}_z/kernel", f"deconv{i}/kernel")]
    assert paths == ["fc/kernel", *deconvolutions, "out/kernel"]


def test_initial_weights_have_the_deviations_of_the_original(full):
    for net in (*full, *mlp_trio(784, 50, 256, 0)):
        maps = any(v.shape.rank == 4 for v in net.weights)
        for v in net.trainable_variables:
            value, layer = v.numpy(), v.path.split("/")[-2]
            if v.name != "kernel":
                np.testing.assert_array_equal(value, float(v.name == "gamma"))
            elif net.name == "discriminator" and layer == "out":
                np.testing.assert_array_equal(value, 0)
            else:
                expected = 0.5 if maps and layer.endswith("_z") else 0.02
                # the estimate's own deviation is expected / sqrt(2 n): five of them
                assert abs(value.std() - expected) < 5 * expected / np.sqrt(2 * value.size)


def test_every_weight_has_a_stream_of_its_own_and_the_seed_decides():
    kernels = [v.numpy() for v in network().trainable_variables if v.numpy().any()]
    assert len({kernel.ravel()[0] for kernel in kernels}) == len(kernels)
    np.testing.assert_array_equal(network().weights[0], kernels[0])
    assert (network(seed=1).weights[0].numpy() != kernels[0]).all()


# Losses


def test_the_losses_are_the_papers_pair_by_pair():
    a, b = np.random.default_rng(0).normal(0, 2, (2, 7, 1))
    d, g = 0.0, 0.0
    for on_data, on_sample in zip(sigmoid(a[:, 0]), sigmoid(b[:, 0]), strict=True):
        d -= (np.log(on_data) + np.log(1 - on_sample)) / 2 / 7
        g -= (np.log(1 - on_data) + np.log(on_sample)) / 2 / 7
    np.testing.assert_allclose(discriminator_loss(a, b), d, rtol=1e-6)
    np.testing.assert_allclose(generator_loss(a, b), g, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_both_players_start_at_ln_2(kind):
    losses = network(kind).losses(*map(tf.constant, inputs(kind, 8)))
    for name in ("discriminator_loss", "generator_loss"):
        np.testing.assert_allclose(losses[name], np.log(2), rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_images_and_samples_pass_the_discriminator_apart_each_with_its_own_statistics(kind):
    model = disturb(network(kind))
    x, z = inputs(kind, 8)
    g, e, d = LITERAL[kind]
    x64, z64 = x.astype(np.float64), z.astype(np.float64)
    codes, samples = e(Literal(model.encoder), x64), g(Literal(model.generator), z64)
    on_data = d(Literal(model.discriminator), x64, codes)
    on_samples = d(Literal(model.discriminator), samples, z64)
    losses = model.losses(*map(tf.constant, (x, z)))
    np.testing.assert_allclose(losses["discriminator_loss"], discriminator_loss(on_data, on_samples), rtol=1e-3)
    np.testing.assert_allclose(losses["generator_loss"], generator_loss(on_data, on_samples), rtol=1e-3)
    some = -(-len(x) // 4)
    again = g(Literal(model.generator), codes[:some])
    np.testing.assert_allclose(losses["reconstruction_error"], np.mean((x[:some] - again) ** 2), rtol=1e-3)


def test_the_prior_is_uniform_between_minus_one_and_one():
    z = prior((5000, 2), [1, 2]).numpy().ravel()
    # Kolmogorov and Smirnov's bound for 10,000 draws, passed once in 10,000 times
    distance = abs((np.sort(z) + 1) / 2 - np.linspace(0, 1, z.size)).max()
    assert distance < 2.23 / np.sqrt(z.size)


# Steps


@pytest.mark.parametrize("kind", KINDS)
def test_each_player_moves_by_the_gradient_of_its_own_loss_and_decay_at_the_common_weights(kind):
    model = disturb(network(kind, rate=1e-3, decay=0.01))
    step, images = step_of(5)
    x = model.form.training(images, model._key("bigan crops", step))
    z = prior((len(images), 3), model._key("bigan prior", step))
    with tf.GradientTape(persistent=True) as tape:
        losses = model.losses(x, z)
    expected = [
        tape.gradient(losses[name], player)
        for name, player in zip(("generator_loss", "discriminator_loss"), model.players, strict=True)
    ]
    before = [[v.numpy() for v in player] for player in model.players]
    model.train_step((step, images))
    for gradients, old, player in zip(expected, before, model.players, strict=True):
        for gradient, was, v in zip(gradients, old, player, strict=True):
            total = gradient.numpy() + (0 if v.name == "gamma" else 0.01 * was)
            clear = abs(total) > 1e-4  # Adam's first step is the rate times the sign; rounding blurs zeros
            np.testing.assert_allclose((v.numpy() - was)[clear], -1e-3 * np.sign(total[clear]), rtol=0.05)


def test_the_players_divide_the_weights_among_them():
    for kind in KINDS:
        model = network(kind)
        players = [{id(v) for v in player} for player in model.players]
        assert not players[0] & players[1]
        assert players[0] | players[1] == {id(v) for v in model.trainable_variables}


def test_decay_pulls_kernels_and_biases_towards_zero_but_no_gamma():
    model = disturb(network("conv", rate=1e-3, decay=1e6))
    before = [v.numpy() for v in model.trainable_variables]
    model.train_step(step_of())
    for v, was in zip(model.trainable_variables, before, strict=True):
        towards = np.sign(v.numpy() - was) == -np.sign(was)
        assert towards.all() == (v.name != "gamma")


@pytest.mark.parametrize("kind", KINDS)
def test_the_step_is_the_same_compiled_and_plain_and_every_scalar_has_its_meaning(kind):
    results = []
    for compiled in (False, True):
        model = disturb(network(kind))
        step = tf.function(model.train_step) if compiled else model.train_step
        results.append({k: float(v) for k, v in step(step_of(1)).items()})
    assert results[0] == pytest.approx(results[1], rel=1e-4, abs=1e-6)
    assert set(results[0]) == set(bigan.INFO.metrics)


def test_both_optimizers_take_the_rate_of_their_step():
    schedule = adam.ConstantThenDecay(4, 2e-4, 0.01)
    for optimizer in network(steps=4).optimizers:
        for step in range(4):
            optimizer.iterations.assign(step)
            assert float(optimizer.learning_rate) == pytest.approx(float(schedule(step)), rel=1e-6)


# The statistics that encoding uses


@pytest.mark.parametrize("kind", KINDS)
def test_deployed_statistics_are_means_of_batch_means_and_of_unbiased_batch_variances(kind):
    model = disturb(network(kind))
    batches = [inputs(kind, 4, seed)[0] for seed in range(3)]
    deploy(model.encoder, tf.data.Dataset.from_tensor_slices(np.stack(batches)))
    means, variances = [], []
    for x in batches:
        literal = Literal(model.encoder)
        LITERAL[kind][1](literal, x.astype(np.float64))
        flat = [h.reshape(-1, h.shape[-1]) for h in literal.normalized]
        means.append([h.mean(0) for h in flat])
        variances.append([h.var(0, ddof=1) for h in flat])
    norms = [layer for layer in model.encoder.layers if isinstance(layer, DeployedBatchNorm)]
    assert len(norms) == (1 if kind == "mlp" else 4)
    for i, norm in enumerate(norms):
        np.testing.assert_allclose(norm.mean, np.mean([m[i] for m in means], 0), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(norm.variance, np.mean([v[i] for v in variances], 0), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_finishing_depends_on_the_trained_weights_alone_and_changes_none_of_them(kind):
    model, images = disturb(network(kind)), pictures(20)
    trained = [v.numpy() for v in model.trainable_variables]
    model.finish(images)
    first = [v.numpy() for v in model.weights]
    model.finish(images)
    for v, value in zip(model.weights, first, strict=True):
        np.testing.assert_allclose(v, value, rtol=1e-4, atol=1e-6)
    for v, value in zip(model.trainable_variables, trained, strict=True):
        np.testing.assert_array_equal(v, value)


@pytest.mark.parametrize("kind", KINDS)
def test_finishing_takes_as_many_training_batches_as_were_asked_for(kind):
    model, images = disturb(network(kind, deploy_batches=3)), pictures(20)
    model.finish(images)
    found = [v.numpy() for v in model.encoder.non_trainable_variables]
    batches = model.data(images, 8, model._purpose("bigan deploy"), 0, 3)
    deploy(model.encoder, batches.map(lambda step, batch: model.form.encoding(batch)))  # so small that no crop moves
    for a, b in zip(found, model.encoder.non_trainable_variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_every_step_has_its_own_crops_and_codes_of_the_prior(monkeypatch):
    model, keys = network(), []
    for place, name in ((model.form, "training"), (models, "prior")):
        whole = getattr(place, name)
        monkeypatch.setattr(
            place, name, lambda x, key, whole=whole: (keys.append(tuple(key.numpy())), whole(x, key))[1]
        )
    for step in (0, 1):
        model.train_step(step_of(step))
    assert len(keys) == len(set(keys)) == 4


# How images are seen


def test_flat_images_are_row_major_in_zero_to_one_and_come_back():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 2), np.uint8)
    form = image_forms.Flat((4, 5, 2))
    np.testing.assert_allclose(form.encoding(images), images.reshape(3, -1) / 255, rtol=1e-6)
    np.testing.assert_allclose(form.pictured(form.training(images, None)), images / 255, rtol=1e-6)


def ramps(n, height, width):
    """Brightness tells the place: rows in the first channel, columns in the second."""
    rows, columns = np.linspace(0, 255, height), np.linspace(0, 255, width)
    image = np.stack([*np.meshgrid(rows, columns, indexing="ij")], -1).astype(np.uint8)
    return np.tile(image, (n, 1, 1, 1))


@pytest.mark.parametrize(("shape", "size"), [((84, 84), (72, 72)), ((64, 96), (72, 108)), ((218, 178), (88, 72))])
def test_training_crops_lie_anywhere_in_the_image_of_short_side_72_and_the_encoded_one_in_its_middle(shape, size):
    form, images = image_forms.Crops((*shape, 2)), ramps(200, *shape)
    whole = tf.image.resize(images, size, antialias=True).numpy() / 127.5 - 1
    crops = form.training(tf.constant(images), tf.constant([1, 2], tf.int64)).numpy()
    tops = [abs(whole[0, :, 0, 0] - crop[0, 0, 0]).argmin() for crop in crops]
    lefts = [abs(whole[0, 0, :, 1] - crop[0, 0, 1]).argmin() for crop in crops]
    for image, crop, top, left in zip(whole[:20], crops, tops, lefts, strict=False):
        np.testing.assert_allclose(crop, image[top : top + 64, left : left + 64], atol=1e-5)
    for places, side in ((tops, size[0]), (lefts, size[1])):
        span = side - 64
        assert (min(places), max(places)) == (0, span) if span < 10 else len(set(places)) > span / 2
    top, left = (size[0] - 64) // 2, (size[1] - 64) // 2
    np.testing.assert_allclose(
        form.encoding(images[:1]), whole[:1, top : top + 64, left : left + 64], rtol=1e-5, atol=1e-5
    )


def test_small_images_are_enlarged_whole_for_the_convolutional_trio():
    form, images = image_forms.Crops((28, 28, 1)), pictures(3, 28)
    expected = tf.image.resize(images, (64, 64)) / 127.5 - 1
    np.testing.assert_allclose(form.encoding(images), expected, atol=1e-5)
    np.testing.assert_allclose(form.training(tf.constant(images), [1, 2]), expected, atol=1e-5)


@pytest.mark.parametrize(("shape", "form"), [((28, 28, 1), "Flat"), ((63, 90, 3), "Flat"), ((64, 64, 1), "Crops")])
def test_the_size_of_the_images_chooses_the_trio(shape, form):
    model = models.Bigan(bigan.Options(units=4, filters=4, dims=2), NetworkContext(shape, 100, 10, 0))
    assert type(model.form).__name__ == form


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_show_reconstructions_samples_and_mixes(kind):
    model, images = disturb(network(kind)), pictures(4)
    shown = model.pictures(tf.constant(images))
    side = 8 if kind == "mlp" else 64
    assert set(shown) == set(bigan.INFO.pictures)
    assert shown["reconstructions"].shape == (2, 4, side, side, 1)
    assert shown["samples"].shape == (4, 16, side, side, 1)
    assert shown["interpolations"].shape == (2, 9, side, side, 1)
    for picture in shown.values():
        assert picture.numpy().min() >= -1e-6
        assert picture.numpy().max() <= 1 + 1e-6
    of_codes, ends = shown["reconstructions"][1], shown["interpolations"]
    np.testing.assert_allclose(ends[:, 0], of_codes[:2], atol=1e-6)
    np.testing.assert_allclose(ends[:, -1], of_codes[:1:-1], atol=1e-6)


# Fits


def test_a_short_fit_learns_an_encoder_and_a_generator_that_invert_each_other():
    embedder = embedders.build("bigan", steps=800, dims=3, units=128, rate=2e-3, batch=64, deploy_batches=30)
    embedder.fit(pictures(1000), seed=0)
    unseen = pictures(100, seed=1)
    x, reconstructions = unseen / 255, embedder.model(tf.constant(unseen)).numpy()
    errors = ((x[:, None] - reconstructions[None]) ** 2).mean((2, 3, 4))  # [image, reconstruction]
    own, best_constant = np.diag(errors).mean(), np.mean((x - x.mean(0)) ** 2)
    assert own < 0.8 * best_constant  # no answer that ignores its image does better than the mean image
    assert own < 0.5 * errors.mean()  # did codes not tell images apart, their own would be no closer than another's
    first, last = embedder.curve[0], embedder.curve[-1]
    assert last["reconstruction_error"] < first["reconstruction_error"] / 2


@pytest.mark.slow
def test_an_interrupted_fit_goes_on_to_the_same_weights_and_only_at_the_same_length(tmp_path, stop_at):
    def build(steps=6):
        return embedders.build("bigan", steps=steps, **TINY["mlp"])

    images = pictures(20)
    with pytest.raises(KeyboardInterrupt):
        build().fit(images, folder=tmp_path, callbacks=[stop_at(3)])
    resumed, whole = build().fit(images, folder=tmp_path), build().fit(images)
    for a, b in zip(state(resumed.model), state(whole.model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)  # threads change the order of summation
    with pytest.raises(InputError, match="steps 6, now 9"):
        build(9).fit(images, folder=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_an_embedding_lies_in_the_cube_depends_on_its_image_alone_and_survives_saving(kind, tmp_path):
    images = pictures(20)
    embedder = embedders.build("bigan", steps=3, **TINY[kind]).fit(images)
    whole = embedder.transform(images)
    assert whole.shape == (20, 3)
    assert abs(whole).max() < 1
    assert whole.std(0).min() > 0
    np.testing.assert_allclose(embedder.transform(images[4:5]), whole[4:5], rtol=1e-4, atol=1e-6)
    embedder.save(tmp_path)
    np.testing.assert_array_equal(embedders.build("bigan").load(tmp_path).transform(images), whole)


# Settings


def test_defaults_are_the_authors():
    options = bigan.Options()
    assert (options.rate, options.beta, options.decay, options.batch) == (2e-4, 0.5, 2.5e-5, 128)
    assert (options.units, options.filters, options.deploy_batches) == (1024, 64, 1000)
    assert {name: bigan.INFO.steps[name] for name in ("mnist", "omniglot", "digits")} == {
        "mnist": 156_000, "omniglot": 68_400, "digits": 2800,
    }  # fmt: skip
    for optimizer in network().optimizers:
        assert (optimizer.beta_1, optimizer.beta_2, optimizer.epsilon) == (0.5, 0.999, 1e-8)


@pytest.mark.parametrize(("dataset", "dims"), [("mnist", 50), ("digits", 50), ("omniglot", 200), (None, 200)])
def test_the_data_set_decides_the_default_dims_of_the_code(dataset, dims):
    assert embedders.build("bigan", dataset).options.dims == dims
    assert embedders.build("bigan", dataset, dims=7).options.dims == 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "resnet"}, "--bigan_network=resnet: it must be mlp or conv; or leave it out"),
        ({"filters": 6}, "--bigan_filters=6: it must be a multiple of 4"),
    ],
)
def test_settings_that_no_trio_has_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        embedders.build("bigan", **options)


@pytest.mark.parametrize(("images", "steps"), [(100, 400), (1280, 4000), (10**6, 200_000)])
def test_the_default_length_is_four_hundred_epochs_or_two_hundred_thousand_steps(images, steps):
    assert bigan.sized(bigan.Options(), None, images)[1] == steps
    assert bigan.sized(bigan.Options(), 9, images)[1] == 9
