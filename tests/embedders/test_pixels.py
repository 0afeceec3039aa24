"""Pixels and their principal components."""

import numpy as np
import pytest
from sklearn.decomposition import PCA

from cactus_tf import embedders
from cactus_tf.embedders import pixels
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


def many(n=400):
    """[n, 4, 5, 1] uint8 whose spread differs from pixel to pixel."""
    rng = np.random.default_rng(1)
    return rng.integers(0, np.linspace(4, 250, 20).reshape(4, 5, 1), (n, 4, 5, 1)).astype(np.uint8)


def bounded_to(images, monkeypatch):
    """Lets so many images of 4x5 be held."""
    monkeypatch.setattr(pixels, "_FITTED_BYTES", images * 4 * 20)


def test_images_that_can_be_held_are_all_fitted_with_the_result_of_scikit_learn(monkeypatch):
    images = many()
    bounded_to(len(images), monkeypatch)
    rows = embedders.build("pixels", dims=3).fit(images, seed=5).transform(images)
    expected = PCA(3, random_state=0).fit_transform(images.reshape(len(images), -1).astype(np.float32) / 255)
    np.testing.assert_allclose(abs(rows), abs(expected), rtol=1e-3, atol=1e-4)


def test_of_more_images_a_part_is_fitted_that_follows_from_the_seed(monkeypatch):
    images = many()
    bounded_to(60, monkeypatch)
    first, again, other = (pixels._part(images, 3, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert len(first) == len(other) == 60
    assert (first != other).any()


def test_the_part_is_in_the_order_of_the_file_without_repeats_and_from_all_of_it(monkeypatch):
    numbered = np.broadcast_to(np.arange(250, dtype=np.uint8).reshape(-1, 1, 1, 1), (250, 4, 5, 1))
    bounded_to(60, monkeypatch)
    drawn = pixels._part(numbered, 3, seed=0)[:, 0, 0, 0].astype(int)
    assert (np.diff(drawn) > 0).all()
    assert drawn[0] < 50
    assert drawn[-1] >= 200


def test_components_of_a_part_are_those_of_the_part_and_near_those_of_all(monkeypatch):
    images = many(4000)
    whole = embedders.build("pixels", dims=3).fit(images).transform(images)
    bounded_to(2000, monkeypatch)
    rows = embedders.build("pixels", dims=3).fit(images, seed=5).transform(images)
    part = embedders.build("pixels", dims=3).fit(pixels._part(images, 3, seed=5), seed=5).transform(images)
    np.testing.assert_array_equal(rows, part)
    assert rows.var(axis=0).sum() > 0.99 * whole.var(axis=0).sum()


def test_there_are_at_least_as_many_images_as_components(monkeypatch):
    bounded_to(2, monkeypatch)
    assert embedders.build("pixels", dims=7).fit(IMAGES).transform(IMAGES).shape == (50, 7)
