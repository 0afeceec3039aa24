"""Embeddings centered on the mean of the training images and scaled to length 1, for every embedder."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.base import clone

from cactus_tf import FewShotClassifier, embedders, learners
from cactus_tf.contracts import GraphEncoder, TrainedNetwork
from cactus_tf.embedders._base import normalizing
from cactus_tf.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 6, 6, 1), np.uint8)
PLAIN = embedders.build("pixels").fit(IMAGES).transform(IMAGES)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, PLAIN),
        ({"norm": "none"}, PLAIN),
        ({"norm": "unit"}, unit(PLAIN)),
        ({"norm": "centered"}, unit(PLAIN - PLAIN.mean(axis=0))),
        ({"norm": "centered", "center": 0.5}, unit(PLAIN - 0.5 * PLAIN.mean(axis=0))),
    ],
)
def test_a_norm_subtracts_a_share_of_the_training_mean_and_divides_by_the_length(settings, expected):
    rows = embedders.build("pixels", **settings).fit(IMAGES).transform(IMAGES)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, expected, atol=1e-6)


def test_the_mean_is_that_of_the_training_images_alone():
    embedder = embedders.build("pixels", norm="centered").fit(IMAGES[:20])
    expected = unit(PLAIN[20:] - PLAIN[:20].mean(axis=0))
    np.testing.assert_allclose(embedder.transform(IMAGES[20:]), expected, atol=1e-6)


def test_an_embedding_of_length_zero_stays_zero():
    black = np.zeros((2, 6, 6, 1), np.uint8)
    np.testing.assert_array_equal(embedders.build("pixels", norm="unit").fit(black).transform(black), 0)


def test_fit_transform_is_fit_and_then_transform():
    rows = embedders.build("pixels", norm="centered").fit_transform(IMAGES)
    np.testing.assert_array_equal(rows, embedders.build("pixels", norm="centered").fit(IMAGES).transform(IMAGES))


def test_rows_in_pieces_are_the_rows_at_once(monkeypatch):
    monkeypatch.setattr(normalizing, "_PIECE", 7)
    center = embedders.center(PLAIN, "centered", 0.8)
    np.testing.assert_allclose(center, 0.8 * PLAIN.mean(axis=0), rtol=1e-5)
    pieces = np.asarray(embedders.normalized_pieces(PLAIN, center))
    np.testing.assert_array_equal(pieces, normalizing.normalized(PLAIN, center))


def test_a_normalized_embedder_offers_what_the_embedder_offers():
    assert isinstance(embedders.build("pixels", norm="unit"), GraphEncoder)
    assert not isinstance(embedders.build("precomputed", norm="unit"), GraphEncoder)
    assert isinstance(embedders.build("acai", norm="unit"), TrainedNetwork)


def test_in_a_graph_it_gives_the_same_embeddings():
    embedder = embedders.build("pixels", norm="centered").fit(IMAGES)
    spec = tf.TensorSpec((None, 6, 6, 1), tf.uint8)
    graph = tf.function(embedder.encode, input_signature=[spec])(IMAGES)
    np.testing.assert_allclose(graph, embedder.transform(IMAGES), atol=1e-6)


def test_a_saved_embedder_gives_the_same_embeddings(tmp_path):
    embedder = embedders.build("pixels", norm="centered", center=0.5).fit(IMAGES[:30])
    embedder.save(tmp_path / "new")
    loaded = embedders.build("pixels", norm="centered", center=0.5).load(tmp_path / "new")
    np.testing.assert_array_equal(loaded.transform(IMAGES), embedder.transform(IMAGES))


def test_an_embedder_that_was_saved_without_a_norm_names_the_missing_file(tmp_path):
    embedders.build("pixels").fit(IMAGES).save(tmp_path)
    with pytest.raises(InputError, match=r"center\.npy"):
        embedders.build("pixels", norm="centered").load(tmp_path)


def test_a_saved_classifier_normalizes_as_before(tmp_path):
    embedder = embedders.build("pixels", norm="centered").fit(IMAGES)
    classifier = FewShotClassifier(learners.build("nearest_neighbours", image_shape=(6, 6, 1)), embedder)
    classifier.fit(IMAGES[:6], [0, 0, 1, 1, 2, 2]).save(tmp_path)
    loaded = FewShotClassifier.load(tmp_path)
    np.testing.assert_array_equal(loaded.embedder.transform(IMAGES), embedder.transform(IMAGES))
    np.testing.assert_array_equal(loaded.predict(IMAGES), classifier.predict(IMAGES))


def test_the_norm_is_a_setting_of_a_scikit_learn_transformer():
    embedder = embedders.build("pixels", dims=3).fit(IMAGES).set_params(norm="unit")
    assert clone(embedder).get_params()["norm"] == "unit"
    np.testing.assert_allclose(np.linalg.norm(embedder.fit_transform(IMAGES), axis=1), 1, rtol=1e-5)


def test_before_fit_an_embedder_answers_with_a_hint():
    with pytest.raises(InputError, match="call fit or load first"):
        embedders.build("pixels", norm="unit").transform(IMAGES)


def test_an_unknown_norm_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="none, unit, centered"):
        embedders.build("pixels", norm="euclidean")
