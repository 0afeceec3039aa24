"""Cluster matching, cluster coloring and the network that predicts clusters, each against its words written out."""

from collections import Counter

import keras
import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from cactus_tf import learners
from cactus_tf.contracts import LearnerContext
from cactus_tf.errors import InputError
from cactus_tf.learners._clusters import TrainingClusters

CENTERS = np.float32([[0, 0], [9, 0], [0, 9], [9, 9], [20, 0], [20, 20]])
SIZES = [12, 12, 12, 12, 12, 6]


@pytest.fixture(autouse=True)
def one_thread():
    """As in evaluation: the fits are too small to share among threads."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def training():
    """[66, 2] embeddings in six blobs; the last has six images only."""
    rng = np.random.default_rng(0)
    return np.concatenate([c + rng.normal(size=(n, 2)) for c, n in zip(CENTERS, SIZES, strict=True)]).astype(np.float32)


def tasks(number, way=4, shot=3, blobs=6):
    """Support and query embeddings scattered over the last blobs, so that clusters are shared, missed and tied."""
    rng = np.random.default_rng(1)
    for _ in range(number):
        support, query = (CENTERS[rng.integers(6 - blobs, 6, n)] + rng.normal(size=(n, 2)) for n in (way * shot, 20))
        yield support.astype(np.float32), np.repeat(np.arange(way), shot), query.astype(np.float32)


def nearest(x, centers):
    return min(range(len(centers)), key=lambda j: ((x - centers[j]) ** 2).sum())


def blob_means(training):
    return [part.mean(0) for part in np.split(training, np.cumsum(SIZES)[:-1])]


def test_a_query_takes_the_majority_label_of_the_nearest_cluster_that_was_hit(training):
    learner = learners.build("cluster_matching", embeddings=training, clusters=6, starts=3)
    centers = blob_means(training)
    for support, labels, query in tasks(30):
        hit = {}
        for x, label in zip(support, labels, strict=True):
            hit.setdefault(nearest(x, centers), []).append(label)
        label_of = {}
        for cluster, found in hit.items():
            counts = Counter(found)
            label_of[cluster] = min(label for label in counts if counts[label] == max(counts.values()))
        known = list(label_of)
        expected = [label_of[known[nearest(x, [centers[c] for c in known])]] for x in query]
        np.testing.assert_array_equal(learner.classify(support, labels, query, 4).argmax(1), expected)


def test_a_cluster_passes_its_label_on_if_it_has_one_and_is_large_enough(training):
    learner = learners.build("cluster_colour", embeddings=training, clusters=6, starts=3)
    centers = blob_means(training)
    cluster_of = np.repeat(np.arange(6), SIZES)
    alone = 0
    for support, labels, query in tasks(20, way=3, shot=2, blobs=3):
        hit = {}
        for x, label in zip(support, labels, strict=True):
            hit.setdefault(nearest(x, centers), set()).add(label)
        x, y = list(support), list(labels)
        for i, embedding in enumerate(training):
            found = hit.get(cluster_of[i], set())
            if len(found) == 1 and SIZES[cluster_of[i]] >= 2 + 5:
                x.append(embedding)
                y.append(next(iter(found)))
        alone += len(x) == 6
        y, x = zip(*sorted(zip(y, x, strict=True), key=lambda row: (row[0], row[1].tobytes())), strict=True)
        fitted = LogisticRegression(solver="saga", C=1.0, max_iter=500, random_state=0).fit(np.array(x, float), y)
        logits = learner.classify(support, labels, query, 3)
        np.testing.assert_allclose(log_softmax(logits, axis=1), fitted.predict_log_proba(query), atol=1e-6)
    assert learner.unanswered == alone
    assert 0 < alone < 20


@pytest.mark.parametrize("name", ["cluster_matching", "cluster_colour"])
def test_another_seed_or_number_of_starts_finds_the_same_blobs(training, name):
    support, labels, query = next(tasks(1))
    answers = [
        learners.build(name, embeddings=training, clusters=6, starts=starts, seed=seed)
        .classify(support, labels, query, 4)
        .argmax(1)
        for seed, starts in ((0, 4), (0, 4), (1, 5))
    ]
    np.testing.assert_array_equal(answers[0], answers[1])
    np.testing.assert_array_equal(answers[0], answers[2])


@pytest.mark.parametrize("name", ["cluster_matching", "cluster_colour", "cluster_network"])
def test_what_the_clusters_lack_is_an_error_when_they_are_needed_and_not_before(name, noise):
    built = [
        learners.build(name, image_shape=(28, 28, 1), images=noise, embeddings=embeddings, clusters=50)
        for embeddings in (None, np.zeros((20, 2), np.float32))
    ]
    with pytest.raises(InputError, match=f"{name} clusters the training embeddings, but there are none"):
        built[0].prepare()
    with pytest.raises(InputError, match=f"{name}: --clusters=50 is more than the 20 training images"):
        built[1].prepare()


def test_the_network_needs_the_training_images():
    with pytest.raises(InputError, match="cluster_network learns from the training images"):
        learners.build("cluster_network", embeddings=np.zeros((20, 2)), clusters=2).prepare()


# The network that predicts clusters


def shapes(n, seed):
    """[n, 28, 28, 1] uint8 of three kinds, upright, flat and square, and the kinds."""
    rng = np.random.default_rng(seed)
    kinds, images = rng.integers(0, 3, n), rng.integers(0, 60, (n, 28, 28, 1), np.uint8)
    for image, kind in zip(images, kinds, strict=True):
        image[slice(2, 26) if kind != 1 else slice(10, 16), slice(2, 26) if kind != 0 else slice(10, 16)] += 150
    return images, kinds


@pytest.fixture(scope="module")
def network():
    """Trained on images of three kinds, whose embeddings show the kind."""
    images, kinds = shapes(240, 0)
    embeddings = np.eye(3, dtype=np.float32)[kinds] + np.random.default_rng(2).normal(size=(240, 3)) / 100
    return learners.build("cluster_network", images=images, embeddings=embeddings, clusters=3, epochs=30, starts=3)


def test_the_network_learns_to_see_the_cluster_of_an_unseen_image(network):
    images, kinds = shapes(60, 1)
    found = network.features(images)[:, 0]
    assert len({(a, b) for a, b in zip(found, kinds, strict=True)}) == 3  # a cluster per kind and a kind per cluster


def test_the_network_is_the_authors(network):
    layers = network.network.layers
    assert [type(layer).__name__ for layer in layers] == [*["Conv2D"] * 4, "Flatten", "Dense"]
    for layer in layers[:4]:
        assert (layer.filters, layer.kernel_size, layer.strides, layer.padding) == (32, (3, 3), (2, 2), "same")
        assert layer.activation is keras.activations.relu
    assert layers[4].output.shape == (None, 128)
    assert network.network.count_params() == 320 + 3 * 9248 + 128 * 3 + 3


def test_a_query_takes_the_majority_of_its_predicted_cluster_and_label_0_where_that_is_empty(network):
    rng = np.random.default_rng(3)
    before, dark = network.unanswered, 0
    for _ in range(40):
        clusters, labels, asked = rng.integers(0, 3, 4), rng.integers(0, 4, 4), rng.integers(0, 3, 2)
        expected = []
        for cluster in asked:
            counts = Counter(labels[clusters == cluster].tolist())
            most = max(counts.values(), default=0)
            expected.append(min((label for label in counts if counts[label] == most), default=0))
        dark += not set(asked) & set(clusters)
        logits = network.classify_features(clusters[:, None], labels, asked[:, None], 4)
        np.testing.assert_array_equal(logits.argmax(1), expected)
    assert network.unanswered - before == dark > 0


def test_the_network_follows_from_the_seed():
    images, kinds = shapes(40, 4)
    features = []
    for seed in (5, 5, 6):
        context = {"images": images, "embeddings": np.eye(3)[kinds], "clusters": 3, "seed": seed}
        features.append(
            learners.build("cluster_network", **context, epochs=1, starts=1).network(images / 255.0).numpy()
        )
    np.testing.assert_allclose(features[0], features[1], rtol=1e-5, atol=1e-6)
    assert not np.allclose(features[0], features[2], rtol=1e-2)


def test_a_context_has_the_papers_number_of_clusters():
    assert LearnerContext((28, 28, 1)).clusters == 500


def test_fewer_distinct_embeddings_than_clusters_leave_clusters_empty_without_a_warning():
    context = LearnerContext((2,), clusters=5, embeddings=CENTERS[np.arange(30) % 3])
    assert np.count_nonzero(TrainingClusters("cluster_matching", context, 2).sizes) == 3
