"""Pixels and their principal components."""

import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA

from cactus_tf import embedders
from cactus_tf.embedders.pixels import components, whitening
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
    with pytest.raises(InputError, match=r"unknown member 'acid' of embedders; did you mean acai\? choose from acai, "):
        embedders.build("acid")
    with pytest.raises(InputError, match="pixels has no setting depth"):
        embedders.build("pixels", depth=2)


def many(n=400):
    """[n, 4, 5, 1] uint8 whose spread differs from pixel to pixel."""
    rng = np.random.default_rng(1)
    return rng.integers(0, np.linspace(4, 250, 20).reshape(4, 5, 1), (n, 4, 5, 1)).astype(np.uint8)


def bounded_to(images, monkeypatch):
    """Lets so many images of 4x5 be held."""
    monkeypatch.setattr(components, "FITTED_BYTES", images * 4 * 20)


def test_images_that_can_be_held_are_all_fitted_with_the_result_of_scikit_learn(monkeypatch):
    images = many()
    bounded_to(len(images), monkeypatch)
    rows = embedders.build("pixels", dims=3).fit(images, seed=5).transform(images)
    expected = PCA(3, random_state=0).fit_transform(images.reshape(len(images), -1).astype(np.float32) / 255)
    np.testing.assert_allclose(abs(rows), abs(expected), rtol=1e-3, atol=1e-4)


def test_of_more_images_a_part_is_fitted_that_follows_from_the_seed(monkeypatch):
    images = many()
    bounded_to(60, monkeypatch)
    first, again, other = (components.some(images, 3, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert len(first) == len(other) == 60
    assert (first != other).any()


def test_the_part_is_in_the_order_of_the_file_without_repeats_and_from_all_of_it(monkeypatch):
    numbered = np.broadcast_to(np.arange(250, dtype=np.uint8).reshape(-1, 1, 1, 1), (250, 4, 5, 1))
    bounded_to(60, monkeypatch)
    drawn = components.some(numbered, 3, seed=0)[:, 0, 0, 0].astype(int)
    assert (np.diff(drawn) > 0).all()
    assert drawn[0] < 50
    assert drawn[-1] >= 200


def test_components_of_a_part_are_those_of_the_part_and_near_those_of_all(monkeypatch):
    images = many(4000)
    whole = embedders.build("pixels", dims=3).fit(images).transform(images)
    bounded_to(2000, monkeypatch)
    rows = embedders.build("pixels", dims=3).fit(images, seed=5).transform(images)
    part = embedders.build("pixels", dims=3).fit(components.some(images, 3, seed=5), seed=5).transform(images)
    np.testing.assert_array_equal(rows, part)
    assert rows.var(axis=0).sum() > 0.99 * whole.var(axis=0).sum()


def test_there_are_at_least_as_many_images_as_components(monkeypatch):
    bounded_to(2, monkeypatch)
    assert embedders.build("pixels", dims=7).fit(IMAGES).transform(IMAGES).shape == (50, 7)


# Whitening


def photographs(n=600, shape=(5, 4, 2), seed=2):
    """[n, ...] uint8 whose neighbors go together."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, 40)) @ (rng.normal(size=(40, 40)) + 4 * np.eye(40))
    return np.clip(120 + 12 * mixed, 0, 255).reshape(n, *shape).astype(np.uint8)


PHOTOGRAPHS = photographs()


def whitened(images=PHOTOGRAPHS, seed=5, **options):
    return embedders.build("pixels", whiten=True, **options).fit(images, seed=seed).transform(images).astype(float)


def literal(images):
    """[n, d] of the paper's ablation, a step at a time."""
    x = np.array([image.ravel() for image in images.astype(np.float64)])
    for i in range(len(x)):
        x[i] = (x[i] - x[i].mean()) / np.sqrt(x[i].var() + 10)
    u, s, _ = np.linalg.svd(np.cov(x.T))
    w = u @ np.diag(1 / np.sqrt(s + 1e-5)) @ u.T
    return np.array([w @ row for row in x])


def test_whitening_is_that_of_the_papers_ablation_step_by_step():
    rows = embedders.build("pixels", whiten=True).fit(PHOTOGRAPHS).transform(PHOTOGRAPHS)
    assert rows.dtype == np.float32
    # float32, and up to 316 times in the direction that no image has any of
    np.testing.assert_allclose(rows, literal(PHOTOGRAPHS), atol=1e-3)


def test_whitened_training_images_have_the_identity_as_covariance_but_for_the_mean_of_each_image():
    """Every image has mean 0, so no variance is left along (1, ..., 1)."""
    d = 40
    np.testing.assert_allclose(np.cov(whitened().T), np.eye(d) - np.full((d, d), 1 / d), atol=2e-3)


def test_of_fewer_images_than_pixels_the_covariance_is_the_identity_on_what_they_span():
    values = np.linalg.eigvalsh(np.cov(whitened(PHOTOGRAPHS[:20]).T))
    np.testing.assert_allclose(values, [0] * 21 + [1] * 19, atol=2e-3)  # the mean takes one of 20


def test_new_images_are_whitened_by_the_old_and_each_by_itself():
    embedder = embedders.build("pixels", whiten=True).fit(PHOTOGRAPHS[:400])
    rows = embedder.transform(PHOTOGRAPHS)
    np.testing.assert_allclose(rows[:400], whitened(PHOTOGRAPHS[:400]), atol=1e-4)
    np.testing.assert_allclose(embedder.transform(PHOTOGRAPHS[500:501])[0], rows[500], atol=1e-4)


def test_contrast_and_brightness_of_an_image_are_gone_but_for_the_ten_in_the_root():
    image = np.arange(40, dtype=np.uint8).reshape(1, 5, 4, 2)
    plain, other = whitening.normalized(image), whitening.normalized(3 * image + 60)
    np.testing.assert_allclose(other, plain * np.sqrt((133.25 + 10) / (133.25 + 10 / 9)), rtol=1e-5)


def test_an_image_of_one_value_is_nothing():
    assert not whitening.normalized(np.full((2, 5, 4, 2), 77, np.uint8)).any()


@pytest.mark.parametrize("chunk", [1, 7, 599, 1000])
def test_the_covariance_does_not_depend_on_how_many_images_are_read_at_a_time(chunk, monkeypatch):
    monkeypatch.setattr(whitening, "_CHUNK", chunk)
    x = whitening.normalized(PHOTOGRAPHS).astype(float)
    np.testing.assert_allclose(whitening.covariance(PHOTOGRAPHS), np.cov(x.T), rtol=1e-9, atol=1e-12)


def test_whitened_dims_are_the_first_components_divided_by_their_deviation():
    x = np.cov(whitening.normalized(PHOTOGRAPHS).T.astype(float))
    first = np.linalg.eigh(x)[1][:, ::-1][:, :3]
    found = embedders.build("pixels", whiten=True, dims=3).fit(PHOTOGRAPHS).transform(PHOTOGRAPHS).astype(float)
    np.testing.assert_allclose(np.cov(found.T), np.eye(3), atol=1e-3)
    along = whitening.normalized(PHOTOGRAPHS) @ first
    np.testing.assert_allclose(abs(found), abs(along) / along.std(axis=0, ddof=1), atol=1e-3)


def test_all_whitened_components_have_the_distances_of_whitened_pixels():
    components, pixels_ = whitened(dims=39), whitened()  # of 40, one has no variance
    distances = [np.linalg.norm(rows[:20, None] - rows[None, :20], axis=-1) for rows in (components, pixels_)]
    np.testing.assert_allclose(*distances, rtol=1e-3, atol=1e-3)


def large_from(numbers, monkeypatch):
    """Makes images of so many numbers too large for a covariance; 80 images of 40 can be held."""
    monkeypatch.setattr(components, "FITTED_BYTES", 80 * 4 * 40)
    assert components._SQUARES * 8 * numbers**2 > 80 * 4 * 40


def test_of_large_images_the_first_components_are_whitened_and_logged(monkeypatch, caplog):
    large_from(40, monkeypatch)
    monkeypatch.setattr(components, "TRUNCATED", 6)
    images = PHOTOGRAPHS[:80]
    with caplog.at_level("INFO", "cactus_tf"):
        found = whitened(images)
    assert "images of 40 numbers are too large to whiten whole; 6 components are, with " in caplog.text
    monkeypatch.undo()
    np.testing.assert_allclose(abs(found), abs(whitened(images, dims=6)), atol=0.02)  # the search is approximate


def test_of_large_images_as_many_components_are_whitened_as_are_asked_for_or_as_there_can_be(monkeypatch):
    large_from(40, monkeypatch)
    assert whitened(dims=3).shape == (600, 3)
    assert whitened(PHOTOGRAPHS[:30]).shape == (30, 30)


def test_the_components_of_many_large_images_are_those_of_the_part_that_can_be_held(monkeypatch):
    large_from(40, monkeypatch)
    monkeypatch.setattr(components, "TRUNCATED", 6)
    part = components.some(PHOTOGRAPHS, 6, seed=5)
    assert len(part) == 80
    expected = embedders.build("pixels", whiten=True).fit(part, seed=5).transform(PHOTOGRAPHS)
    np.testing.assert_allclose(whitened(), expected, atol=1e-5)


def test_more_whitened_components_than_there_can_be_are_refused():
    with pytest.raises(InputError, match="21 components of 50 images are at most 20"):
        embedders.build("pixels", dims=21, whiten=True).fit(IMAGES)


@pytest.mark.parametrize("options", [{}, {"dims": 3}])
def test_a_loaded_whitening_is_the_saved_one(tmp_path, options):
    embedder = embedders.build("pixels", whiten=True, **options).fit(PHOTOGRAPHS)
    embedder.save(tmp_path)
    again = embedders.build("pixels").load(tmp_path)
    np.testing.assert_array_equal(again.transform(PHOTOGRAPHS), embedder.transform(PHOTOGRAPHS))


@pytest.mark.parametrize("options", [{}, {"dims": 3}, {"whiten": True}, {"whiten": True, "dims": 3}], ids=str)
def test_in_a_graph_every_form_gives_the_same_embeddings(options):
    embedder = embedders.build("pixels", **options).fit(IMAGES)
    signature = [tf.TensorSpec((None, 4, 5, 1), tf.uint8)]
    graph = tf.function(embedder.encode, input_signature=signature)(IMAGES[:7])
    np.testing.assert_allclose(graph, embedder.transform(IMAGES[:7]), rtol=1e-4, atol=1e-4)
