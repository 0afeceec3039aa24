"""The linear adapter."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cactus_tf import backbones
from cactus_tf.backbones import linear
from cactus_tf.errors import InputError

X = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)


def test_a_linear_map_starts_as_the_identity():
    np.testing.assert_array_equal(backbones.build("linear", (8,))(X), X)


def test_a_narrower_one_is_a_projection_and_a_wider_one_keeps_distances():
    narrow = backbones.build("linear", (8,), filters=3).get_weights()[0]
    np.testing.assert_allclose(narrow.T @ narrow, np.eye(3), atol=1e-6)
    wide = np.asarray(backbones.build("linear", (8,), filters=20)(X))
    np.testing.assert_allclose(wide @ wide.T, X @ X.T, atol=1e-5)


def test_the_projection_is_a_function_of_the_seed():
    first, again, other = (backbones.build("linear", (8,), filters=3, seed=s).get_weights()[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_it_has_one_matrix_and_no_bias():
    model = backbones.build("linear", (8,))
    assert [tuple(v.shape) for v in model.trainable_variables] == [(8, 8)]


def test_an_empty_shape_is_refused():
    with pytest.raises(InputError, match="linear takes"):
        backbones.build("linear", ())


# Principal components


def started(rows=None, **settings):
    rows = np.random.default_rng(1).normal(size=(30, 8)).astype(np.float32) if rows is None else rows
    return rows, backbones.build("linear", (rows.shape[1],), rows=rows, **settings)


def test_a_map_of_embeddings_can_start_as_their_principal_components():
    rows, model = started(filters=3)
    pca = PCA(3).fit(rows)
    features = np.asarray(model(rows))
    np.testing.assert_allclose(features - features.mean(0), np.abs(pca.transform(rows)) * _signs(features), atol=1e-4)
    kernel = model.get_weights()[0]
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(3), atol=1e-5)


def _signs(features):
    """The direction of a component is free."""
    return np.sign(features - features.mean(0))


def test_all_principal_components_keep_every_distance():
    rows, model = started()
    features = np.asarray(model(rows))
    np.testing.assert_allclose(features @ features.T, rows @ rows.T, atol=1e-4)


def test_principal_components_of_too_few_embeddings_are_refused():
    with pytest.raises(InputError, match="5 embeddings of 8 numbers have no 8 principal components: set --filters=5"):
        started(X)


def test_principal_components_of_many_embeddings_come_from_some_of_them(monkeypatch):
    monkeypatch.setattr(linear, "_ROWS", 20)
    many = np.random.default_rng(0).normal(size=(150, 8)).astype(np.float32)
    _, model = started(many, filters=2, seed=4)
    np.testing.assert_array_equal(model.get_weights()[0], started(many, filters=2, seed=4)[1].get_weights()[0])
    monkeypatch.setattr(linear, "_ROWS", 150)
    assert not np.allclose(np.abs(model.get_weights()[0]), np.abs(started(many, filters=2, seed=4)[1].get_weights()[0]))
