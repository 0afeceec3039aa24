"""DeepCluster: its networks, what a step moves, and when its pseudo-labels change."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA
from sklearn.metrics import normalized_mutual_info_score

from cactus_tf import embedders
from cactus_tf.embedders import deepcluster
from cactus_tf.embedders._base import fitting
from cactus_tf.embedders._base.network import NetworkContext
from cactus_tf.embedders._base.trained import TrainedEmbedder
from cactus_tf.embedders.deepcluster import model as models
from cactus_tf.embedders.deepcluster import networks, options
from cactus_tf.errors import InputError, RunError


def network(shape=(12, 12, 1), images=100, seed=0, **options):
    values = {"clusters": 7, "dims": 5, "batch": 6, **options}
    return models.DeepCluster(deepcluster.Options(**values), NetworkContext(shape, images, 10, seed))


def stripes(n, side=12, seed=0):
    """([n, side, side, 1] uint8 of noisy stripes at a random place, [n] their direction, one of 4)."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 4, n)
    angle, phase = kinds * np.pi / 4, rng.uniform(0, 2 * np.pi, n)
    i = np.arange(side)
    along = np.cos(angle)[:, None, None] * i[:, None] + np.sin(angle)[:, None, None] * i[None, :]
    waves = np.sin(1.6 * along + phase[:, None, None]) + rng.normal(0, 0.2, (n, side, side))
    return np.round(255 * np.clip((waves + 1) / 2, 0, 1))[..., None].astype(np.uint8), kinds


IMAGES, KINDS = stripes(62)
SETTINGS = {"clusters": 4, "dims": 5, "batch": 12}  # 62 images are 5 steps an epoch, and 2 left over


def embedder(steps, **options):
    return embedders.build("deepcluster", steps=steps, **{**SETTINGS, **options})


def batch(model, n=6, step=3):
    labels = np.arange(n) % model.clusters
    return tf.constant(step, tf.int64), tf.constant(IMAGES[:n]), tf.constant(labels, tf.int32)


# Networks


def test_alexnet_on_64_pixels_flattens_the_originals_9216_numbers():
    alexnet = networks.convolutions((64, 64, 2), networks.FORMS["alexnet"], 0)
    sides = [layer.output.shape[1] for layer in alexnet.layers if type(layer) in (keras.layers.Conv2D, MAX_POOL)]
    assert sides == [62, 30, 30, 14, 14, 14, 14, 6]
    assert alexnet.output_shape == (None, 9216)
    kernels = 5 * 5 * 2 * 96 + 5 * 5 * 96 * 256 + 9 * (256 * 384 + 384 * 384 + 384 * 256)
    assert trained(alexnet) == kernels + 2 * (96 + 256 + 384 + 384 + 256)


MAX_POOL = keras.layers.MaxPooling2D


def trained(model):
    return sum(int(np.prod(v.shape)) for v in model.trainable_variables)


@pytest.mark.parametrize(("side", "flat"), [(32, 512), (64, 2048), pytest.param(224, 25088, marks=pytest.mark.slow)])
def test_vgg16_has_the_papers_thirteen_convolutions_and_halves_five_times(side, flat):
    vgg = networks.convolutions((side, side, 2), networks.FORMS["vgg16"], 0)
    assert vgg.output_shape == (None, flat)
    # torchvision's 14,714,688 on 3 channels with biases, less 4,224 biases and 576 weights of the third channel
    assert trained(vgg) == 14_714_688 - 4_224 - 576 + 2 * 4_224


def test_conv4_has_the_parameters_of_its_table_and_at_most_20_million_multiply_adds():
    model = network((28, 28, 1), images=1000, clusters=500)
    kernels = 9 * (2 * 32 + 32 * 64 + 64 * 128 + 128 * 128)
    linear = 1152 * 512 + 512 + 512 * 512 + 512
    assert sum(int(np.prod(v.shape)) for v in model.players[0]) == kernels + 2 * (32 + 64 + 128 + 128) + linear
    assert sum(int(np.prod(v.shape)) for v in model.players[1]) == 512 * 500 + 500
    positions = 9 * (28**2 * (2 + 2 * 32) + 14**2 * 32 * 64 + 7**2 * (64 * 128 + 128 * 128))
    assert positions + 1152 * 512 + 512 * 512 + 512 * 500 < 20e6


def literal(shape, table):
    """Layers one by one, ReLU in front of the pools, where the papers have it; table of (filters, side, pad) or "P"."""
    layers = [keras.Input(shape)]
    for entry in table:
        if isinstance(entry[0], str):
            layers += [keras.layers.MaxPooling2D(int(entry[0][1]), int(entry[0][2]))]
        else:
            filters, side, pad = entry
            layers += [keras.layers.ZeroPadding2D(pad), keras.layers.Conv2D(filters, side, use_bias=False)]
            layers += [keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5), keras.layers.ReLU()]
    return keras.Sequential([*layers, keras.layers.Flatten()])


TABLES = {
    "alexnet": [(96, 5, 1), ("P32",), (256, 5, 2), ("P32",), (384, 3, 1), (384, 3, 1), (256, 3, 1), ("P32",)],
    "conv4": [(32, 3, 1), ("P22",), (64, 3, 1), ("P22",), (128, 3, 1), (128, 3, 1), ("P22",)],
    "vgg16": [
        *[(64, 3, 1)] * 2, ("P22",), *[(128, 3, 1)] * 2, ("P22",), *[(256, 3, 1)] * 3, ("P22",),
        *[(512, 3, 1)] * 3, ("P22",), *[(512, 3, 1)] * 3, ("P22",),
    ],
}  # fmt: skip


def drawn(weight, rng):
    """Kernels as they are; norms with gammas of both signs, betas and running averages that matter."""
    draw = {
        "gamma": lambda: rng.choice([-1, 1], weight.shape) * rng.uniform(0.5, 1.5, weight.shape),
        "beta": lambda: rng.normal(-0.5, 0.5, weight.shape),
        "running_mean": lambda: rng.normal(0, 0.2, weight.shape),
        "running_variance": lambda: rng.uniform(0.2, 1, weight.shape),
    }
    return draw.get(weight.name, weight.numpy)()


@pytest.mark.parametrize(
    ("name", "side", "training"),
    [("alexnet", 32, False), ("vgg16", 32, False), ("conv4", 13, False), ("alexnet", 32, True), ("conv4", 13, True)],
)
def test_the_networks_compute_what_their_table_says(name, side, training):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, side, side, 2)).astype(np.float32)
    fast, slow = networks.convolutions(x.shape[1:], networks.FORMS[name], 0), literal(x.shape[1:], TABLES[name])
    weights = [drawn(w, rng) for w in fast.weights]
    fast.set_weights(weights)
    slow.set_weights(weights)
    expected = slow(x, training=training).numpy()
    assert 0.02 < (expected > 0).mean() < 0.98
    np.testing.assert_allclose(fast(x, training=training), expected, rtol=1e-2, atol=1e-3)  # order of summation


def test_sobel_maps_are_the_two_kernels_at_every_pixel_of_the_mean_channel():
    rng = np.random.default_rng(0)
    for channels in (1, 3):
        x = rng.normal(size=(2, 5, 6, channels)).astype(np.float32)
        gray = np.pad(x.mean(axis=-1), ((0, 0), (1, 1), (1, 1)))
        maps = networks.sobel(x).numpy()
        kernels = [[1, 0, -1], [2, 0, -2], [1, 0, -1]], [[1, 2, 1], [0, 0, 0], [-1, -2, -1]]
        for i in range(5):
            for j in range(6):
                for m, kernel in enumerate(kernels):
                    expected = (gray[:, i : i + 3, j : j + 3] * np.array(kernel)).sum(axis=(1, 2))
                    np.testing.assert_allclose(maps[:, i, j, m], expected, rtol=1e-4, atol=1e-5)


def test_colors_are_normalized_as_imagenets_and_gray_keeps_its_zero():
    np.testing.assert_allclose(networks.scaled(tf.zeros((1, 1, 1, 1))), 0)
    color = networks.scaled(tf.fill((1, 1, 1, 3), 255.0)).numpy().ravel()
    np.testing.assert_allclose(color, [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], rtol=1e-5)


def test_initial_weights_have_the_papers_deviation_and_streams_of_their_own():
    model, firsts = network((28, 28, 1), images=1000, clusters=500), []
    for variable in [*model.players[0], *model.players[1]]:
        value = variable.numpy()
        if value.ndim == 1:
            np.testing.assert_array_equal(value, float("gamma" in variable.name))
            continue
        small = 0.01 * np.sqrt(8)  # of the two fully connected layers of conv4; the head has the paper's
        convolution = value.ndim == 4
        expected = np.sqrt(2 / (9 * value.shape[-1])) if convolution else (0.01 if value.shape[1] == 500 else small)
        assert abs(value.std() - expected) < 5 * expected / np.sqrt(2 * value.size)  # five deviations of the estimate
        firsts.append(value.ravel()[0] / expected)
    assert len(set(firsts)) == len(firsts)


def test_the_seed_decides_on_the_initial_weights():
    a, again, other = (network(seed=seed).body.convolutions.weights[0].numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(a, again)
    assert (a != other).all()


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((7, 28, 1), {}, "conv4 takes views of at least 8 pixels a side, not 7x28x1: enlarge the images"),
        ((28, 28, 1), {"network": "vgg16"}, "vgg16 takes .* at least 32 pixels a side, not 28x28x1: .* take conv4"),
        ((28, 28, 1), {"network": "lenet"}, "--deepcluster_network=lenet: .* choose from alexnet, vgg16, conv4"),
        ((28, 28, 1), {"clusters": 65}, "--deepcluster_clusters=65 is more than the 64 training images: lower it"),
        ((28, 28, 1), {"dims": 64}, "--deepcluster_dims=64: 64 images with 512 features have at most 63: lower it"),
        ((28, 28, 1), {"crop_scale": 1.5}, "--deepcluster_crop_scale=1.5: it must be .* at most 1"),
    ],
)
def test_settings_and_images_that_do_not_fit_are_refused(shape, options, message):
    with pytest.raises(InputError, match=message):
        embedders.build("deepcluster", steps=1, batch=8, **options).fit(np.zeros((64, *shape), np.uint8))


def test_large_images_take_alexnet_and_small_ones_conv4():
    assert networks.form_of(None, (64, 64, 3))[0] == "alexnet"
    assert networks.form_of(None, (28, 64, 1))[0] == "conv4"


def test_large_images_are_cropped_and_only_colors_are_mirrored():
    model = network((84, 96, 3), network="conv4")
    images = np.random.default_rng(0).integers(0, 256, (2, 84, 96, 3), np.uint8)
    assert model.views.embedded(images).shape == model.views.cropped(images, np.int64(0)).shape == (2, 64, 64, 3)
    assert model.encode(images).shape == (2, 5)
    assert (model.views.flip, model.views.scale) == (True, 0.08)
    small = network((28, 28, 1))
    assert (small.views.flip, small.views.scale) == (False, 0.5)


def test_about_half_of_the_crops_of_color_images_are_mirrored_and_every_step_has_its_own():
    ramp = np.tile(np.arange(0, 168, 2, np.uint8)[None, None, :, None], (200, 84, 1, 3))  # brighter to the right
    views = network((84, 84, 3), network="conv4").views
    first, again, second = (views.cropped(ramp, np.int64(step)).numpy() for step in (0, 0, 1))
    mirrored = first[:, 0, 0, 0] > first[:, 0, -1, 0]
    assert 60 < mirrored.sum() < 140  # of 200; the deviation is 7
    np.testing.assert_array_equal(first, again)
    assert (first != second).any(axis=(1, 2, 3)).mean() > 0.99


@pytest.mark.parametrize(("images", "clusters"), [(2, 2), (100, 10), (22_000, 500), (10**7, 10_000)])
def test_the_number_of_clusters_follows_the_number_of_images(images, clusters):
    assert options.clusters_of(deepcluster.Options(), images) == clusters


def test_defaults_are_the_papers():
    o = deepcluster.Options()
    assert (options.BATCH, o.rate, o.momentum, o.weight_decay) == (256, 0.05, 0.9, 1e-5)
    assert (o.dropout, o.kmeans_iterations, o.sobel, o.legacy_sampling, o.side) == (0.5, 20, True, False, 64)
    assert deepcluster.INFO.steps["omniglot"] == 200 * (22_000 // 256)


# Steps


def test_the_loss_of_equal_logits_is_the_logarithm_of_the_number_of_clusters_and_else_that_of_the_definition():
    np.testing.assert_allclose(models.pseudo_label_loss(tf.zeros((5, 7)), np.arange(5)), np.log(7), rtol=1e-6)
    logits, labels = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32), [2, 0, 1, 1]
    expected = [-np.log(np.exp(row[c]) / np.exp(row).sum()) for row, c in zip(logits, labels, strict=True)]
    np.testing.assert_allclose(models.pseudo_label_loss(logits, labels), np.mean(expected), rtol=1e-5)


def test_a_fresh_head_starts_near_that_loss():
    model = network()
    assert abs(float(model.train_step(batch(model))["loss"]) - np.log(7)) < 0.05


def gradients(model, data):
    step, images, labels = data
    with tf.GradientTape() as tape:
        logits = model.head(tf.nn.relu(model.body.features(model.views.cropped(images, step), step)))
        loss = models.pseudo_label_loss(logits, labels)
    return tape.gradient(loss, model.players)


def test_two_steps_are_pytorchs_sgd_with_momentum_for_the_network_and_without_for_the_head():
    model = network(weight_decay=0.1)
    velocity = [0.0] * len(model.players[0])
    for number in range(2):
        data = batch(model, step=number)
        slopes = gradients(model, data)
        before = [[v.numpy() for v in player] for player in model.players]
        slopes = [[g + 0.1 * w for g, w in zip(*pair, strict=True)] for pair in zip(slopes, before, strict=True)]
        velocity = [0.9 * v + g for v, g in zip(velocity, slopes[0], strict=True)]
        model.train_step(data)
        for moved, player, old in zip((velocity, slopes[1]), model.players, before, strict=True):
            for m, variable, was in zip(moved, player, old, strict=True):
                np.testing.assert_allclose(variable.numpy(), was - 0.05 * m, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("still", [0, 1])
def test_a_player_whose_own_rate_is_zero_stays_where_it_is(still):
    model = network()
    model.optimizers[still].learning_rate = 0.0
    before = [[v.numpy() for v in player] for player in model.players]
    model.train_step(batch(model))
    moved = [
        [(v.numpy() != was).any() for v, was in zip(player, old, strict=True)]
        for player, old in zip(model.players, before, strict=True)
    ]
    assert not any(moved[still])
    assert all(moved[1 - still])


def test_dropout_is_the_steps_own_and_there_is_none_outside_of_training():
    model = network()
    x = model.views.embedded(IMAGES[:6])
    flat = model.body.convolutions(networks.sobel(x / 255), training=True)
    first, second = (w[0].numpy() for w in (model.body.first.weights, model.body.second.weights))

    def mask(place, shape):
        seed = (model.body._seeds[place], 3)
        return tf.nn.experimental.stateless_dropout(tf.ones(shape), 0.5, seed).numpy()

    hidden = np.maximum((flat * mask(0, flat.shape)) @ first, 0)
    expected = (hidden * mask(1, hidden.shape)) @ second  # biases are still 0
    np.testing.assert_allclose(model.body.features(x, np.int64(3)), expected, rtol=1e-3, atol=1e-6)
    assert set(np.unique(mask(0, flat.shape))) == {0, 2}
    assert (mask(0, (6, 512)) != mask(1, (6, 512))).any()
    np.testing.assert_array_equal(model.body.features(x), model.body.features(x))
    assert (model.body.features(x, np.int64(4)).numpy() != model.body.features(x, np.int64(3)).numpy()).any()


def test_the_step_is_the_same_compiled_and_plain():
    results = []
    for compiled in (False, True):
        model = network()
        step = tf.function(model.train_step) if compiled else model.train_step
        results.append({k: float(v) for k, v in step(batch(model)).items()})
    assert results[0] == pytest.approx(results[1], rel=1e-5, abs=1e-7)


def test_every_scalar_of_a_step_has_its_meaning_written_down():
    model = network()
    assert set(model.train_step(batch(model))) == set(deepcluster.INFO.metrics)


def test_pictures_show_image_crop_and_two_sobel_maps():
    model = network()
    shown = model.pictures(tf.constant(IMAGES[:3]))
    assert set(shown) == set(deepcluster.INFO.pictures)
    picture = shown["inputs"].numpy()
    assert picture.shape == (4, 3, 12, 12, 1)
    assert 0 <= picture.min() < picture.max() <= 1
    np.testing.assert_allclose(picture[0], IMAGES[:3] / 255, rtol=1e-6)


# Epochs


class Spy(models.DeepCluster):
    """Reports labels that are not the present ones: the first pixel of image i is i."""

    def train_step(self, data):
        _, images, labels = data
        present = tf.gather(tf.convert_to_tensor(self.assignments), tf.cast(images[:, 0, 0, 0], tf.int32))
        stale = tf.reduce_sum(tf.cast(present != labels, tf.float32))
        return {**super().train_step(data), "stale": stale, "head": tf.reduce_mean(tf.abs(self.head.bias.value))}


class Watch(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.logs, self.assignments, self.biases = [], [], []

    def on_train_batch_begin(self, batch, logs=None):
        self.assignments.append(self.model.assignments.numpy())
        self.biases.append(np.abs(self.model.head.bias.numpy()).max())

    def on_train_batch_end(self, batch, logs=None):
        self.logs.append(logs)


@pytest.fixture(scope="module")
def watched():
    images = IMAGES.copy()
    images[:, 0, 0, 0] = np.arange(len(images))
    watch = Watch()
    TrainedEmbedder("spy", Spy, deepcluster.Options(**SETTINGS), 15).fit(images, seed=2, callbacks=[watch])
    return watch


def test_every_batch_has_the_labels_of_its_own_epoch_from_the_first_step_on(watched):
    assert [logs["stale"] for logs in watched.logs] == [0] * 15
    starts = watched.assignments[::5]
    assert (starts[0] != starts[1]).any()
    assert (starts[1] != starts[2]).any()
    for step in range(15):
        np.testing.assert_array_equal(watched.assignments[step], starts[step // 5])


def test_every_epoch_begins_with_a_head_of_its_own(watched):
    np.testing.assert_array_equal([b == 0 for b in watched.biases], [s % 5 == 0 for s in range(15)])
    model, kernels = network(images=62), []
    for epoch in range(2):
        model.begin(IMAGES, epoch)
        kernels.append(model.head.kernel.numpy())
        assert abs(kernels[-1].std() - 0.01) < 5 * 0.01 / np.sqrt(2 * kernels[-1].size)
    assert (kernels[0] != kernels[1]).all()
    assert not [v for v in model.optimizers[1].variables if v.name not in ("iteration", "learning_rate")]


def test_agreement_of_consecutive_epochs_and_the_clusters_in_use_are_logged(watched):
    agreement = [logs["agreement"] for logs in watched.logs]
    starts = watched.assignments[::5]
    expected = [0, *(normalized_mutual_info_score(a, b) for a, b in itertools.pairwise(starts))]
    np.testing.assert_allclose(agreement, np.repeat(expected, 5), rtol=1e-5)
    assert 0 < expected[1] < 1  # else an agreement of labels with themselves would do
    assert all(
        logs["used_clusters"] == len(np.unique(a)) for logs, a in zip(watched.logs, watched.assignments, strict=True)
    )


def test_equal_labels_come_in_another_order_in_another_epoch():
    model, orders = network(images=62, batch=8), []
    model.assignments.assign(np.arange(62) % 5)
    numbered = np.arange(62, dtype=np.uint8)[:, None, None, None]
    for epoch in range(2):
        model.epoch.assign(epoch)
        data = model.data(numbered, 8, 3, 7 * epoch, 7 * epoch + 7)
        orders.append(np.concatenate([images.numpy().ravel() for _, images, _ in data]))
    assert (orders[0] != orders[1]).any()


def test_a_batch_of_an_epoch_that_has_not_begun_is_an_error():
    model = network(images=62)
    with pytest.raises(tf.errors.OpError, match="before its epoch had begun"):
        next(iter(model.data(IMAGES, 6, 0, 0, 1)))


def test_embeddings_are_the_whitened_components_of_the_training_features_scaled_to_length_one():
    model = network(images=62)
    model.finish(IMAGES)
    features = model.features(IMAGES).numpy()
    pca = PCA(5, whiten=True, svd_solver="full").fit(features)
    others = stripes(9, seed=7)[0]
    for images in (IMAGES, others):
        rows = pca.transform(model.features(images).numpy())
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        found = model.encode(images).numpy()
        np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
        np.testing.assert_allclose(abs(found), abs(rows), rtol=1e-2, atol=1e-3)  # signs of components are free


def test_what_is_clustered_is_what_is_embedded_also_where_components_come_from_some_images(monkeypatch):
    for most in (100, 20):
        monkeypatch.setattr(models, "_WHITENED", most)
        model = network(images=62)
        rows = model.reduced(IMAGES)
        np.testing.assert_allclose(rows, model.encode(IMAGES), rtol=1e-3, atol=1e-4)


def test_features_that_are_not_finite_end_the_fit_in_words():
    model = network(images=62)
    model.body.second.bias.assign(tf.fill((512,), np.nan))
    with pytest.raises(RunError, match="features are NaN or infinite after step 0; lower --deepcluster_rate"):
        model.begin(IMAGES, 0)


@pytest.mark.parametrize(
    ("images", "dims", "expected"),
    [(22_000, None, 256), (38_400, None, 256), (1000, None, 25), (62, None, 2), (62, 61, 61), (9000, 512, 512)],
)
def test_by_default_there_are_40_images_per_component_and_never_more_components_than_features_or_images(
    images, dims, expected
):
    assert options.dims_of(deepcluster.Options(dims=dims), images, 512) == expected
    assert network(images=62, dims=61).whitening.shape == (512, 61)


def test_the_default_number_of_clusters_follows_the_data_set():
    built = {name: embedders.build("deepcluster", dataset=name).options for name in ("celeba", "digits", "omniglot")}
    assert {name: o.clusters for name, o in built.items()} == {"celeba": 1000, "digits": None, "omniglot": 500}


@pytest.mark.parametrize(("images", "batch"), [(60, 16), (1000, 32), (5000, 128), (22_000, 256), (10**6, 256)])
def test_the_default_batch_leaves_thirty_steps_an_epoch_within_bounds(images, batch):
    sized, steps = deepcluster.sized(deepcluster.Options(), None, images)
    assert (sized.batch, steps) == (batch, 200 * (images // batch))


def test_a_given_batch_or_length_stays():
    assert deepcluster.sized(deepcluster.Options(batch=8), 7, 1000) == (deepcluster.Options(batch=8), 7)


# Learning


def assert_same(a, b):
    for x, y in zip(*(fitting.state(e.model) for e in (a, b)), strict=True):
        np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=1e-4, atol=1e-5)  # threads change the order of summation


@pytest.fixture(scope="module")
def whole():
    return embedder(13).fit(IMAGES, seed=1)


@pytest.mark.parametrize("stop", [7, 10])
def test_a_fit_stopped_within_or_between_epochs_goes_on_to_the_same_labels_and_weights(whole, tmp_path, stop, stop_at):
    with pytest.raises(KeyboardInterrupt):
        embedder(13).fit(IMAGES, seed=1, folder=tmp_path, callbacks=[stop_at(stop)])
    assert_same(embedder(13).fit(IMAGES, seed=1, folder=tmp_path), whole)


def test_a_longer_fit_goes_on_from_a_shorter_one(whole, tmp_path):
    embedder(8).fit(IMAGES, seed=1, folder=tmp_path)
    assert_same(embedder(13).fit(IMAGES, seed=1, folder=tmp_path), whole)


def test_a_saved_embedder_gives_the_same_embeddings(tmp_path):
    fitted = embedder(3).fit(IMAGES)
    fitted.save(tmp_path)
    loaded = embedders.build("deepcluster").load(tmp_path)
    np.testing.assert_array_equal(loaded.transform(IMAGES), fitted.transform(IMAGES))


def test_a_short_fit_predicts_its_labels_and_from_them_the_kind_of_unseen_images():
    images, kinds = stripes(400)
    watch = Watch()
    model = embedder(50, batch=40, clusters=8).fit(images, callbacks=[watch]).model
    losses = [logs["loss"] for logs in watch.logs]
    assert np.mean(losses[-5:]) < 0.75 * np.log(8)  # no constant answer is below the logarithm
    kind_of = [np.bincount(kinds[model.assignments.numpy() == c], minlength=4).argmax() for c in range(8)]
    unseen, truth = stripes(200, seed=1)
    predicted = model.head(tf.nn.relu(model.features(unseen))).numpy().argmax(axis=1)
    blind = np.bincount(truth).max() / 200  # what a head that has learned nothing gets at best, about 0.3
    assert np.mean(np.take(kind_of, predicted) == truth) > 2 * blind
