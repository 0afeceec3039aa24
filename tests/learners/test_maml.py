"""MAML, its variants and training from scratch: what they compute, against the papers and against each other."""

import types

import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import learners, plugins
from cactus_tf.contracts import BackboneInfo
from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.training import make_task_update, meta_train
from cactus_tf.learners import maml
from cactus_tf.learners._adaptation import networks
from cactus_tf.types import AssignedPartitions, Episode

WAY = 4


def build(name="maml", way=WAY, **settings):
    settings = {"image_shape": (28, 28, 1), "filters": 4, "seed": 2, "eval_steps": 3, **settings}
    return learners.build(name, way=way, **settings)


def task(way=WAY, shot=1, query=3, seed=0):
    rng = np.random.default_rng(seed)
    return Episode(*(rng.integers(0, 256, (way, n, 28, 28, 1), np.uint8) for n in (shot, query)), 0, 0)


def flat(episode):
    """Support rows, their labels, query rows."""
    way, shot = episode.support.shape[:2]
    support, query = (x.reshape(-1, *x.shape[2:]) for x in episode[:2])
    return support, np.repeat(np.arange(way), shot), query


def weights(learner):
    return [np.array(v) for v in learner.network.model.trainable_variables]


def test_the_settings_are_the_papers():
    options, training = maml.Options(), maml.INFO.training
    assert (options.inner_lr, options.inner_steps, options.eval_steps) == (0.05, 5, 50)
    assert (training.filters, training.query, training.tasks_per_step, training.norm) == (32, 5, 8, "batch")
    assert not options.first_order
    assert options.transductive


@pytest.mark.parametrize(("shape", "way", "expected"), [((28, 28, 1), 20, 28_852), ((84, 84, 3), 5, 32_773)])
def test_the_network_has_the_published_number_of_weights(shape, way, expected):
    learner = learners.build("maml", image_shape=shape, way=way)
    assert sum(int(np.prod(v.shape)) for v in learner.trainable_variables) == expected


def test_the_head_starts_standard_normal_on_small_images_and_glorot_on_large_ones():
    small = np.array(build(way=20, filters=32).network.model.get_layer("head").kernel)
    large = np.array(build(image_shape=(84, 84, 3)).network.model.get_layer("head").kernel)
    assert small.std() == pytest.approx(1, abs=0.15)  # 640 draws: standard error 0.03
    assert np.abs(large).max() <= np.sqrt(6 / sum(large.shape))


def test_large_images_are_pooled_and_their_gradients_clipped_by_default():
    large = {"image_shape": (84, 84, 3)}
    assert build(**large).gradient_clip == 10
    assert build().gradient_clip is None
    assert build(clip=2.0).gradient_clip == 2
    pooled, strided = (build(**large, pooled=p).network.model.get_layer("head").kernel.shape[0] for p in (True, False))
    assert (pooled, strided) == (5 * 5 * 4, 4)


def test_a_step_of_the_summed_loss_at_20_way_is_a_step_of_rate_1_on_the_mean_loss():
    learner = build(way=20, inner_steps=1, eval_steps=1)
    support, labels, query = flat(task(20))
    model = learner.network.model
    start = [tf.convert_to_tensor(v) for v in model.trainable_variables]

    def logits(values, rows):
        return model.stateless_call(values, model.non_trainable_variables, rows / np.float32(255))[0]

    with tf.GradientTape() as tape:
        tape.watch(start)
        mean = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits(start, support)))
    gradients = tape.gradient(mean, start, unconnected_gradients="zero")
    after = [
        w if v.name == "beta" else w - 1.0 * g  # 20 classes times 0.05
        for v, w, g in zip(model.trainable_variables, start, gradients, strict=True)
    ]
    np.testing.assert_allclose(learner.classify(support, labels, query, 20), logits(after, query), rtol=1e-3, atol=1e-3)


def test_the_head_is_cut_to_the_way_of_the_question():
    learner = build(way=6)
    support, labels, query = flat(task(3))
    first = np.array(learner.classify(support, labels, query, 3))
    head = learner.network.model.get_layer("head")
    head.kernel.assign(np.array(head.kernel) + np.array([0, 0, 0, 7, -7, 9], np.float32))
    np.testing.assert_allclose(learner.classify(support, labels, query, 3), first, rtol=1e-5, atol=1e-6)


def test_more_classes_than_the_head_has_are_an_error_that_names_both_flags():
    support, labels, query = flat(task(5))
    with pytest.raises(InputError, match=r"5 classes are more than the 4 outputs .*--way: lower --eval_ways to 4"):
        build().classify(support, labels, query, 5)


def test_a_norm_with_running_averages_is_an_error_that_lists_the_others():
    with pytest.raises(InputError, match=r"--norm=running averages statistics over tasks.*batch, layer or none"):
        build(norm="running")


def test_embeddings_that_are_missing_are_an_error_with_the_remedy():
    with pytest.raises(InputError, match="--on_embeddings needs embeddings"):
        build(on_embeddings=True)


def test_on_embeddings_the_network_is_fully_connected():
    learner = build(on_embeddings=True, embeddings=np.zeros((9, 16), np.float32), filters=32, way=20)
    assert learner.consumes == "embeddings"
    assert [v.shape for v in learner.network.model.trainable_variables if len(v.shape) == 2] == [
        (16, 32),
        (32, 32),
        (32, 20),
    ]


def test_a_query_depends_on_the_others_in_transductive_evaluation_only():
    support, labels, query = flat(task(shot=2))
    for transductive in (True, False):
        learner = build(transductive=transductive)
        assert learner.transductive is transductive
        together = np.array(learner.classify(support, labels, query, WAY))
        alone = np.concatenate([learner.classify(support, labels, q[None], WAY) for q in query])
        assert np.allclose(alone, together, rtol=1e-3, atol=1e-4) is not transductive


def answer_by_support_statistics(learner, weights, support, query):
    """Logits of the queries, layer by layer: each batch norm takes mean and variance of the support set there."""
    by_name = dict(zip((v.path for v in learner.network.model.trainable_variables), weights, strict=True))
    rows = [x / np.float32(255) for x in (support, query)]
    for i in range(1, 5):
        rows = [tf.nn.conv2d(x, by_name[f"conv{i}/kernel"], 2, "SAME") for x in rows]
        mean, variance = np.mean(rows[0], (0, 1, 2)), np.var(rows[0], (0, 1, 2))
        rows = [tf.nn.relu((x - mean) / np.sqrt(variance + 1e-3) + by_name[f"norm{i}/beta"]) for x in rows]
    return tf.reduce_mean(rows[1], (1, 2)) @ by_name["head/kernel"] + by_name["head/bias"]


def test_without_looking_at_other_queries_the_statistics_are_those_of_the_adapted_support_set():
    learner = build(transductive=False, eval_steps=3, inner_lr=0.2)
    support, labels, query = flat(task(shot=2))
    trace = learner.trace(support, labels, query, WAY)
    for steps in range(4):
        weights, _ = learner.network.adapt(support / np.float32(255), labels, WAY, steps)
        expected = answer_by_support_statistics(learner, weights, support, query)
        np.testing.assert_allclose(trace.query[steps], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_norms_of_single_images_are_never_transductive(norm):
    assert not build(norm=norm).transductive


def test_the_trace_begins_before_adaptation_and_ends_with_the_answer():
    learner = build(eval_steps=5)
    support, labels, query = flat(task())
    trace = learner.trace(support, labels, query, WAY)
    assert trace.support.shape == (6, 4, WAY)
    assert trace.query.shape == (6, 12, WAY)
    model = learner.network.model
    np.testing.assert_allclose(trace.query[0], model(query / np.float32(255)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(trace.support[0], model(support / np.float32(255)), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(trace.query[-1], learner.classify(support, labels, query, WAY), rtol=1e-5)
    shorter = build(eval_steps=2).trace(support, labels, query, WAY)
    np.testing.assert_allclose(shorter.query, trace.query[:3], rtol=1e-3, atol=1e-3)


def test_answering_leaves_the_start_alone():
    learner = build()
    before = weights(learner)
    learner.classify(*flat(task()), WAY)
    for a, b in zip(before, weights(learner), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("maml", {"conv1", "conv2", "conv3", "conv4", "head"}),
        ("scratch", {"conv1", "conv2", "conv3", "conv4", "head"}),
        ("meta_sgd", {"conv1", "conv2", "conv3", "conv4", "head"}),
        ("anil", {"head"}),
        ("reptile", {"conv1", "norm1", "conv2", "norm2", "conv3", "norm3", "conv4", "norm4", "head"}),
    ],
)
def test_each_learner_adapts_the_layers_that_its_paper_says(name, expected):
    learner = build(name)
    assert {v.path.split("/")[0] for v in learner.network_for(WAY).adapted_variables} == expected


def test_meta_sgd_begins_as_maml_and_has_a_gradient_for_every_rate():
    first, second = build("maml"), build("meta_sgd")
    episode = Episode(*map(tf.constant, task()))
    np.testing.assert_allclose(second.training_loss(episode).loss, first.training_loss(episode).loss, rtol=1e-4)
    assert len(second.trainable_variables) == len(first.trainable_variables) + 10
    rates = make_task_update(second)(episode).gradients[-10:]
    assert sum(np.any(r) for r in rates) == 6  # four kernels and the head; biases in front of batch norm are inert


@pytest.mark.slow
def test_recomputed_inner_steps_give_meta_sgd_the_same_gradients_of_weights_and_rates():
    plain, recomputing = build("meta_sgd", norm="layer"), build("meta_sgd", norm="layer", recompute=True)
    episode = Episode(*map(tf.constant, task()))
    pairs = zip(*(make_task_update(learner)(episode).gradients for learner in (plain, recomputing)), strict=True)
    for expected, actual in pairs:
        assert np.linalg.norm(actual - expected) <= 1e-4 * np.linalg.norm(expected)  # float32, other order of sums


def test_the_rate_of_meta_sgd_has_the_slope_of_the_loss():
    learner = build("meta_sgd", inner_steps=1, norm="layer")
    episode = Episode(*map(tf.constant, task()))
    rate = learner.trainable_variables[-1]  # of the head's bias
    gradient = np.array(make_task_update(learner)(episode).gradients[-1])
    losses, start = [], np.array(rate)
    for sign in (1, -1):
        rate.assign(start + sign * 1e-2)
        losses.append(float(learner.training_loss(episode).loss))
    assert gradient.sum() == pytest.approx((losses[0] - losses[1]) / 2e-2, rel=2e-2)


def test_reptile_follows_the_way_from_the_start_to_the_adapted_weights():
    learner = build("reptile", inner_steps=2, inner_lr=0.01)
    episode = task()
    rows = np.concatenate([x.reshape(-1, 28, 28, 1) for x in episode[:2]])
    labels = np.concatenate([np.repeat(np.arange(WAY), n) for n in (1, 3)])
    network = learner.network
    values = [tf.convert_to_tensor(v) for v in network.model.trainable_variables]
    for _ in range(2):
        with tf.GradientTape() as tape:
            tape.watch(values)
            logits = network.model.stateless_call(values, network.model.non_trainable_variables, rows / np.float32(255))
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits[0])
            loss = tf.reduce_sum(losses) / 4  # four images of each class
        gradients = tape.gradient(loss, values, unconnected_gradients="zero")
        values = [v - 0.01 * g for v, g in zip(values, gradients, strict=True)]
    update = make_task_update(learner)(Episode(*map(tf.constant, episode)))
    for direction, start, end in zip(update.gradients, network.start(), values, strict=True):
        np.testing.assert_allclose(direction, start - end, rtol=1e-2, atol=1e-5)


def test_scratch_takes_the_authors_rate_and_length_and_learns_nothing_from_tasks():
    from cactus_tf.learners import scratch

    options = scratch.Options()
    assert (options.inner_lr, options.eval_steps) == (0.1, 200)
    assert scratch.INFO.training is None


def test_scratch_has_a_head_for_each_way_whatever_the_way_of_training():
    support, labels, query = flat(task())
    pair = [build("scratch", way=way).classify(support, labels, query, WAY) for way in (WAY, 20)]
    np.testing.assert_allclose(pair[0], pair[1], rtol=1e-4, atol=1e-4)
    assert build("scratch", way=20).network_for(WAY).classes == WAY


def test_pooling_is_refused_for_networks_that_have_no_choice_of_it():
    with pytest.raises(InputError, match="pooled is a setting of conv4, and the network is mlp"):
        build(backbone="mlp", pooled=True)


@pytest.fixture
def minimal_backbone(monkeypatch):
    """A backbone whose `build` has none of the optional arguments, as a module named "minimal"."""

    def build(image_shape, out=None, *, filters=2, norm="batch", seed=0, dtype="float32"):
        images = keras.Input(image_shape, dtype=dtype)
        x = keras.layers.Flatten()(keras.layers.Conv2D(filters, 7, strides=7)(images))
        return keras.Model(images, keras.layers.Dense(out, name="head")(x))

    module = types.ModuleType("minimal")
    module.build, module.INFO = build, BackboneInfo()
    load, names = plugins.load, plugins.names
    monkeypatch.setattr(plugins, "load", lambda family, name: module if name == "minimal" else load(family, name))
    monkeypatch.setattr(plugins, "names", lambda family: [*names(family), "minimal"])


@pytest.fixture
def gpu(monkeypatch):
    """TensorFlow reports a GPU."""
    monkeypatch.setattr(networks.tf.config, "list_physical_devices", lambda kind=None: ["GPU:0"])


@pytest.mark.usefixtures("minimal_backbone", "gpu")
def test_a_backbone_without_the_optional_arguments_is_trained_and_answers():
    learner = build(backbone="minimal")
    episodes = Episodes(
        np.zeros((20, 28, 28, 1), np.uint8), AssignedPartitions([np.arange(20) % WAY]), way=WAY, query=2
    )
    assert meta_train(learner, episodes, steps=1, tasks_per_step=2) == 1
    support, labels, query = flat(task())
    assert learner.classify(support, labels, query, WAY).shape == (WAY * 3, WAY)


@pytest.mark.usefixtures("minimal_backbone", "gpu")
def test_on_a_gpu_tasks_share_kernels_if_the_backbone_can():
    assert build(backbone="conv4").vectorized
    assert not build(backbone="conv4", vectorized=False).vectorized
    assert not build(backbone="minimal").vectorized
    assert build(backbone="mlp").vectorized


def test_resnet_has_a_default_width_of_its_own():
    learner = build(backbone="resnet", filters=None, norm="layer", image_shape=(16, 16, 1))
    assert learner.network.model.get_layer("stem").filters == 64


def test_adaptation_fits_the_support_set():
    learner = build("scratch", eval_steps=60, filters=16)
    support, labels, query = flat(task(shot=2))
    trace = learner.trace(support, labels, query, WAY)
    assert np.mean(np.argmax(trace.support[-1], -1) == labels) == 1
