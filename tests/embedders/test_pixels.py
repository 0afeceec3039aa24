"""Pixels and their principal components."""

import numpy as np
import pytest

from cactus_tf import embedders
from cactus_tf.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 1), np.uint8)


def test_pixels_are_the_flat_image_divided_by_255():
    rows = embedders.build("pixels").fit(IMAGES).transform(IMAGES)
    assert rows.dtype == np.float32
    assert rows.shape == (50, 20)
    assert rows[3, 7] == np.float32(IMAGES[3, 1, 2, 0]) / np.float32(255)


def test_components_are_those_of_the_eigenvectors_of_the_covariance():
    rows = embedders.build("pixels", dims=3).fit(IMAGES).transform(IMAGES)
    x = IMAGES.reshape(50, -1) / 255
    x = x - x.mean(axis=0)
    _, vectors = np.linalg.eigh(x.T @ x)
    expected = x @ vectors[:, ::-1][:, :3]  # largest first; a component's sign is free
    np.testing.assert_allclose(abs(rows), abs(expected), rtol=1e-3, atol=1e-4)


def test_new_images_are_projected_on_the_components_of_the_old():
    embedder = embedders.build("pixels", dims=2).fit(IMAGES[:40])
    np.testing.assert_allclose(embedder.transform(IMAGES)[:40], embedder.transform(IMAGES[:40]), atol=1e-6)


def test_all_components_keep_all_distances():
    rows = embedders.build("pixels", dims=20).fit(IMAGES).transform(IMAGES)
    x = IMAGES.reshape(50, -1) / 255
    np.testing.assert_allclose(np.linalg.norm(rows[0] - rows[1]), np.linalg.norm(x[0] - x[1]), rtol=1e-4)


def test_more_components_than_there_can_be_are_refused():
    with pytest.raises(InputError, match="21 components of 50 images are at most 20"):
        embedders.build("pixels", dims=21).fit(IMAGES)


def test_a_damaged_file_is_named(tmp_path):
    embedders.build("pixels", dims=2).fit(IMAGES).save(tmp_path)
    (tmp_path / "arrays.npz").write_bytes(b"short")
    with pytest.raises(InputError, match=str(tmp_path)):
        embedders.build("pixels").load(tmp_path)


def test_images_of_another_size_than_in_the_fit_are_refused():
    with pytest.raises(InputError, match="fitted on 4x5x1"):
        embedders.build("pixels").fit(IMAGES).transform(np.zeros((2, 5, 4, 1), np.uint8))


def test_unknown_embedders_and_settings_are_named():
    with pytest.raises(InputError, match="'acid' is none of the embedders; there are acai, "):
        embedders.build("acid")
    with pytest.raises(InputError, match="pixels has no setting depth"):
        embedders.build("pixels", depth=2)
