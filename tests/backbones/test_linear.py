"""The linear adapter."""

import numpy as np
import pytest

from cactus_tf import backbones
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
