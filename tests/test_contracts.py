"""One battery per family, run on every member that is found by its file name."""

import functools
import inspect
import json

import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import contracts, learners, plugins
from cactus_tf.contracts import (
    Embedder,
    EmbedderContext,
    FeatureLearner,
    GraphEncoder,
    GraphLearner,
    Learner,
    LearnerContext,
    MetaLearner,
    PartitionContext,
)
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import evaluate
from cactus_tf.fewshot.training import meta_train
from cactus_tf.inference.heads import answerer
from cactus_tf.types import AssignedPartitions, Episode, Partition
from cactus_tf.utils.checkpoints import tf_variable

EMBEDDERS, LEARNERS = plugins.names("embedders"), plugins.names("learners")
WAY = 3
SHORT = {
    "inner_steps": 2,
    "eval_steps": 3,
    "starts": 2,
    "epochs": 40,
}  # of learners that adapt, that cluster, that fit a network


def tiny(family, name, **values):
    """The member's Options with those of `values` that it has."""
    options = plugins.options_type(family, name)
    fields = getattr(options, "__dataclass_fields__", {})
    return options(**{k: v for k, v in values.items() if k in fields}) if options else None


INFOS = {
    "datasets": contracts.DatasetInfo,
    "embedders": contracts.EmbedderInfo,
    "partitioners": contracts.PartitionerInfo,
    "augmentations": contracts.AugmentationInfo,
    "backbones": contracts.BackboneInfo,
    "learners": contracts.LearnerInfo,
}
MEMBERS = [(family, name) for family in plugins.FAMILIES for name in plugins.names(family)]


@pytest.mark.parametrize(("family", "name"), MEMBERS)
def test_every_member_declares_what_it_is(family, name):
    assert isinstance(plugins.load(family, name).INFO, INFOS[family])


def test_learners_have_titles_of_their_own():
    titles = [plugins.info("learners", name).title for name in LEARNERS]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("name", plugins.names("datasets"))
def test_a_data_set_can_be_located_loaded_and_versioned(name):
    module = plugins.load("datasets", name)
    assert list(inspect.signature(module.load).parameters)[:2] == ["data_dir", "context"]
    assert callable(module.locate)
    assert isinstance(module.INFO.version, int)


def test_a_bundled_data_set_is_uint8_in_canonical_order_with_labels_for_every_image():
    data = plugins.load("datasets", "digits").load()
    for split in (data.train, data.val, data.test):
        assert split.images.dtype == np.uint8
        assert split.images.shape[1:] == data.image_shape
        partition = split.partitions[0]
        np.testing.assert_array_equal(np.sort(partition.indices), np.arange(len(split)))
        np.testing.assert_array_equal(partition.indices, np.arange(len(split)))  # rows lie by class
        for c in range(len(partition.sizes)):
            rows = [image.tobytes() for image in split.images[partition.cluster(c)]]
            assert rows == sorted(rows)


# Embedders


def archives(folder, images):
    np.savez(folder / "toy_2_train.npz", X=images, Y=np.zeros(len(images)), Z=images[:, :2, 0, 0].astype(np.float32))
    return folder


@pytest.fixture(scope="module")
def pictures():
    """[80, 28, 28, 1] uint8: two kinds of noisy bars."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 60, (80, 28, 28, 1), np.uint8)
    images[:40, :, 10:16] += 150
    images[40:, 10:16] += 150
    return images


class Unseen:
    """Labels that say so when they are looked at."""

    def __getattribute__(self, name):
        raise AssertionError(f"fit looked at y: {name}")

    def __len__(self):
        raise AssertionError("fit looked at y")

    __bool__ = __iter__ = __getitem__ = __eq__ = __array__ = __len__
    __hash__ = object.__hash__


@pytest.fixture(scope="module", params=EMBEDDERS)
def fitted(request, pictures, tmp_path_factory):
    """(name, fitted embedder, a function that builds another one)."""
    name = request.param
    folder = str(archives(tmp_path_factory.mktemp("archives"), pictures))
    small = {"depth": 2, "batch": 8, "units": 16, "deploy_batches": 3, "weights": "random", "input_size": 32}
    options = tiny("embedders", name, dir=folder, **small)
    context = EmbedderContext(dataset="toy", steps=2)
    module = plugins.load("embedders", name)
    embedder = module.build(context, options)
    if module.INFO.takes_learner:
        embedder.use(learners.build("protonets", image_shape=(28, 28, 1), filters=4))
    return name, embedder.fit(pictures, Unseen(), seed=1), lambda: module.build(context, options)


def test_an_embedder_follows_its_protocol(fitted):
    assert isinstance(fitted[1], Embedder)


def test_fit_accepts_the_labels_of_scikit_learn_and_ignores_them(fitted):
    taken = inspect.signature(type(fitted[1]).fit).parameters
    assert list(taken)[:6] == ["self", "images", "y", "seed", "folder", "callbacks"]
    assert ("names" in taken) == plugins.info("embedders", fitted[0]).takes_names
    assert taken["y"].default is None


def test_an_embedding_is_a_finite_float32_vector_per_image(fitted, pictures):
    embeddings = fitted[1].transform(pictures)
    assert embeddings.shape[0] == len(pictures)
    assert embeddings.ndim == 2
    assert embeddings.dtype == np.float32
    assert np.isfinite(embeddings).all()


def test_row_i_of_the_embeddings_belongs_to_image_i(fitted, pictures):
    whole, part = fitted[1].transform(pictures), fitted[1].transform(pictures[[7, 70, 3]])
    np.testing.assert_allclose(part, whole[[7, 70, 3]], rtol=1e-4, atol=1e-5)  # batch sizes change rounding


def test_a_saved_embedder_gives_the_same_embeddings(fitted, pictures, tmp_path):
    _, embedder, again = fitted
    embedder.save(tmp_path)
    loaded = again().load(tmp_path)
    np.testing.assert_allclose(loaded.transform(pictures), embedder.transform(pictures), rtol=1e-5, atol=1e-6)


def test_an_embedder_in_a_graph_gives_the_same_embeddings(fitted, pictures):
    name, embedder, _ = fitted
    if not isinstance(embedder, GraphEncoder):
        assert name not in ("acai", "bigan", "deepcluster", "infogan", "pixels", "pretrained")
        pytest.skip("this embedder cannot be exported")
    any_number = tf.TensorSpec((None, 28, 28, 1), tf.uint8)
    graph = tf.function(embedder.encode, input_signature=[any_number])(pictures)
    np.testing.assert_allclose(graph, embedder.transform(pictures), rtol=1e-4, atol=1e-5)


# Partitioners


@pytest.fixture(params=plugins.names("partitioners"))
def partitioned(request, tmp_path):
    """(a function that builds one partitioner, its context) on three blobs."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 30)
    context = PartitionContext(
        images=90,
        embeddings=(rng.normal(size=(90, 4)) + 8 * (labels[:, None] - 1)).astype(np.float32),
        labels=AssignedPartitions([labels]),
        names=np.array([f"image_{i}.jpg".encode() for i in range(90)]),
        way=3,
        images_per_cluster=4,
        seed=3,
    )
    for file in ("train_k3.json", "train_k3_1.json"):
        (tmp_path / file).write_text(json.dumps({f"image_{i}": int(c) for i, c in enumerate(labels)}))
    options = tiny("partitioners", request.param, dir=str(tmp_path))
    return lambda: plugins.load("partitioners", request.param).build(3, 2, options), context


def test_partitions_are_disjoint_clusters_of_existing_images(partitioned):
    build, context = partitioned
    partitions = build()(context)
    assert len(partitions) >= 1
    for partition in partitions:
        assert isinstance(partition, Partition)
        clusters = [partition.cluster(c) for c in range(len(partition.sizes))]
        assert [len(cluster) for cluster in clusters] == partition.sizes.tolist()
        members = np.concatenate(clusters)
        assert len(set(members)) == len(members)
        assert members.min() >= 0
        assert members.max() < 90
        for c, cluster in enumerate(clusters):
            np.testing.assert_array_equal(np.sort(cluster), np.flatnonzero(partition.assignments(90) == c))


def test_partitions_are_a_function_of_the_context_alone(partitioned):
    build, context = partitioned
    first, again = build()(context), build()(context)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.assignments(90), b.assignments(90))


def test_images_drawn_from_a_cluster_are_distinct_members(partitioned):
    build, context = partitioned
    partition = build()(context)[0]
    for c, size in enumerate(partition.sizes):
        drawn = partition.draw(c, min(size, 5), np.random.default_rng(c))
        assert len(set(drawn.tolist())) == min(size, 5)
        assert set(drawn) <= set(partition.cluster(c))


# Backbones


@pytest.mark.parametrize("shape", [(28, 28, 1), (84, 84, 3)])
@pytest.mark.parametrize("name", plugins.names("backbones"))
def test_a_backbone_gives_features_or_logits(name, shape):
    module, images = plugins.load("backbones", name), np.zeros((2, *shape), np.float32)
    assert module.build(shape, None, filters=4)(images).shape[0] == 2
    assert module.build(shape, 7, filters=4)(images).shape == (2, 7)


# Learners


def context(way=WAY):
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (50, 28, 28, 1), np.uint8)
    return LearnerContext((28, 28, 1), way, filters=4, embeddings=rng.normal(size=(50, 6)), images=images, clusters=5)


def inputs(learner, n, seed):
    rng = np.random.default_rng(seed)
    if learner.consumes == "images":
        return rng.integers(0, 256, (n, 28, 28, 1), np.uint8)
    return rng.normal(size=(n, 6)).astype(np.float32)


@pytest.fixture(scope="module", params=LEARNERS)
def learner(request):
    module = plugins.load("learners", request.param)
    built = module.build(context(), tiny("learners", request.param, **SHORT))
    assert built.consumes == "images" or module.INFO.uses_embeddings
    return built


def name_of(learner):
    return type(learner).__module__.rsplit(".")[-1]


def test_a_learner_follows_its_protocol(learner):
    assert isinstance(learner, Learner)


def test_the_info_of_a_learner_fits_its_protocols(learner):
    info = plugins.info("learners", name_of(learner))
    assert isinstance(learner, MetaLearner) == bool(info.training)
    assert isinstance(learner, GraphLearner) == info.exportable
    assert (isinstance(learner, FeatureLearner) and bool(info.training)) == info.features
    assert isinstance(learner, contracts.ClusterLearner) <= info.uses_clusters


def test_a_learner_returns_a_logit_per_query_and_class(learner):
    labels = np.array([2, 0, 1, 1, 0, 1])  # any order, unequal numbers
    logits = np.asarray(learner.classify(inputs(learner, 6, 0), labels, inputs(learner, 4, 1), WAY))
    assert logits.shape == (4, WAY)
    assert not np.isnan(logits).any()


def test_the_order_of_the_support_set_does_not_matter(learner):
    labels, order = np.array([0, 1, 2, 0, 1, 2]), np.array([5, 2, 0, 1, 4, 3])
    support, query = inputs(learner, 6, 0), inputs(learner, 8, 1)
    first = np.asarray(learner.classify(support, labels, query, WAY))
    again = np.asarray(learner.classify(support[order], labels[order], query, WAY))
    np.testing.assert_array_equal(first.argmax(1), again.argmax(1))


def test_a_support_image_as_a_query_gets_its_own_label(learner):
    if not isinstance(learner, FeatureLearner) and learner.consumes == "images":
        pytest.skip("a learner that adapts may forget")
    if plugins.info("learners", name_of(learner)).uses_clusters:
        pytest.skip("support images may share a cluster")
    support, labels = inputs(learner, 3, 0), np.array([1, 2, 0])
    logits = np.asarray(learner.classify(support, labels, support, WAY))
    np.testing.assert_array_equal(logits.argmax(1), labels)


def test_features_give_the_same_logits_as_images(learner):
    if not isinstance(learner, FeatureLearner):
        pytest.skip("this learner has no features per image")
    support, labels, query = inputs(learner, 6, 0), np.array([0, 1, 2, 0, 1, 2]), inputs(learner, 5, 1)
    expected = np.asarray(learner.classify(support, labels, query, WAY))
    features = np.asarray(learner.features(support)), np.asarray(learner.features(query))
    answer = np.asarray(learner.classify_features(features[0], labels, features[1], WAY))
    np.testing.assert_allclose(answer, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("labels", [[2, 0, 1, 1, 0, 1], [1, 0, 0, 0, 1, 1], [2, 0, 2, 0, 2, 2]])
def test_in_a_graph_a_learner_classifies_each_query_as_if_it_were_alone(learner, labels):
    if not isinstance(learner, GraphLearner):
        pytest.skip("this learner cannot be exported")
    support, query, way = inputs(learner, 6, 0), inputs(learner, 5, 1), max(labels) + 1
    any_number = tf.TensorSpec((None, *support.shape[1:]), support.dtype)
    signature = [any_number, tf.TensorSpec((None,), tf.int32), any_number, tf.TensorSpec((), tf.int32)]
    graph = tf.function(learner.classify_in_graph, input_signature=signature)
    alone = np.asarray(answerer(learner, support, np.array(labels), way)(query))
    scale = np.abs(alone[np.isfinite(alone)]).max()
    np.testing.assert_allclose(graph(support, labels, query, way), alone, rtol=1e-3, atol=1e-3 * scale)


def noise_episodes(learner):
    rows, classes = inputs(learner, 400, 9), np.repeat(np.arange(20), 20)
    return Episodes(rows, AssignedPartitions([classes]), way=WAY, shot=2, query=5, seed=4)


def band(episodes, number):
    """Bounds that a fair coin of bias 1/way leaves once in 10,000 times, queries taken as independent draws.

    Queries of an episode share its support set, which widens the spread; the factor 1.5 allows for it.
    """
    queries = number * episodes.way * episodes.query
    half = 1.5 * 3.9 * np.sqrt((1 / WAY) * (1 - 1 / WAY) / queries)
    return 1 / WAY - half, 1 / WAY + half


@pytest.mark.slow
def test_on_noise_with_random_classes_accuracy_is_chance_before_and_after_training(learner):
    episodes = noise_episodes(learner)
    low, high = band(episodes, 200)
    assert low < evaluate(learner, episodes, 200).mean < high
    if isinstance(learner, MetaLearner):
        other = Episodes(episodes.rows, AssignedPartitions([np.arange(400) % 20]), way=WAY, shot=1, query=5, seed=5)
        meta_train(learner, other, steps=8)
        assert low < evaluate(learner, episodes, 200).mean < high


def test_training_loss_is_a_finite_scalar_with_gradients_and_equal_in_a_graph(learner):
    if not isinstance(learner, MetaLearner):
        pytest.skip("this learner is not meta-trained")
    episode = Episode(*map(tf.convert_to_tensor, noise_episodes(learner)[0]))
    with tf.GradientTape() as tape:
        eager = learner.training_loss(episode).loss
    variables = [tf_variable(v) for v in learner.trainable_variables]
    gradients = tape.gradient(eager, variables, unconnected_gradients="zero")
    graph = tf.function(lambda e: learner.training_loss(e).loss)(episode)
    assert eager.shape == ()
    assert all(np.isfinite(g).all() for g in gradients)
    assert sum(np.any(g) for g in gradients) > len(gradients) / 2  # biases in front of batch norm have none
    np.testing.assert_allclose(graph, eager, rtol=1e-5)


@pytest.mark.parametrize("name", LEARNERS)
def test_variables_hold_all_that_training_changes(name):
    build = functools.partial(plugins.load("learners", name).build, context(), tiny("learners", name, **SHORT))
    trained, fresh = build(), build()
    if not isinstance(trained, MetaLearner):
        pytest.skip("this learner is not meta-trained")
    meta_train(trained, noise_episodes(trained), steps=5, outer_lr=1e-2)
    support, labels, query = inputs(trained, 6, 0), np.array([0, 1, 2, 0, 1, 2]), inputs(trained, 5, 1)
    expected = np.asarray(trained.classify(support, labels, query, WAY))
    assert not np.allclose(np.asarray(fresh.classify(support, labels, query, WAY)), expected, rtol=1e-2)
    for variable, value in zip(fresh.variables, trained.variables, strict=True):
        variable.assign(value)
    np.testing.assert_allclose(np.asarray(fresh.classify(support, labels, query, WAY)), expected, rtol=1e-5)
