"""Crops and epochs of DeepCluster: pure functions against their definitions."""

import numpy as np
import pytest
import tensorflow as tf

from cactus_tf.embedders.deepcluster import crops as crops
from cactus_tf.embedders.deepcluster import epochs as epochs

# Crops


def windows(n=2000, height=30, width=40, scale=0.2, tries=crops.TRIES, seed=0):
    u = np.random.default_rng(seed).random((n, tries, 4), np.float32)
    return crops.random_windows(tf.constant(u), height, width, scale).numpy()


def test_random_windows_lie_in_the_image_with_the_areas_and_ratios_that_were_asked_for():
    top, left, h, w = windows().T
    assert min(top.min(), left.min()) >= 0
    assert (top + h).max() <= 30 + 1e-4
    assert (left + w).max() <= 40 + 1e-4
    area = h * w / (30 * 40)
    assert 0.2 - 1e-4 <= area.min() < 0.25
    assert 0.9 < area.max() <= 1 + 1e-4
    assert abs(np.log(w / h)).max() <= np.log(4 / 3) + 1e-3
    assert np.corrcoef(top[h < 20], h[h < 20])[0, 1] < 0.1  # the place of small crops is free


def test_the_first_draw_that_fits_counts_and_the_whole_image_where_none_does():
    square, wide = [0.0, 0.5, 0.5, 0.5], [1.0, 1.0, 0.5, 0.5]  # half the area; all of it, 4/3 as wide as high
    u = tf.constant([[wide, square], [wide, wide], [square, wide]], tf.float32)
    half = 20 * np.sqrt(0.5)
    centered = [10 - half / 2, 10 - half / 2, half, half]
    expected = [centered, [0, 0, 20, 20], centered]
    np.testing.assert_allclose(crops.random_windows(u, 20, 20, 0.5), expected, rtol=1e-5)


def test_an_84_pixel_image_shows_the_middle_that_72_by_72_leaves_of_it():
    top, left, h, w = crops.central_window(84, 100)
    assert (h, w) == pytest.approx((84 * 64 / 72,) * 2)
    assert (top, left) == pytest.approx(((84 - h) / 2, (100 - w) / 2))


def bilinear(image, y, x):
    """Value between pixel centers, [c]."""
    i, j = min(int(y), image.shape[0] - 2), min(int(x), image.shape[1] - 2)
    a, b = y - i, x - j
    top = (1 - b) * image[i, j] + b * image[i, j + 1]
    return (1 - a) * top + a * ((1 - b) * image[i + 1, j] + b * image[i + 1, j + 1])


def test_a_window_is_sampled_at_the_centers_of_its_parts():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (3, 11, 13, 2), np.uint8)
    chosen = np.array([[1.2, 2.5, 7.1, 6.3], [2, 3, 5, 5], [1, 1, 9, 11]], np.float32)
    out = crops.cut(images, tf.constant(chosen), (5, 4)).numpy()
    mirrored = crops.cut(images, tf.constant(chosen), (5, 4), tf.constant([True, False, True])).numpy()
    for n, (top, left, h, w) in enumerate(chosen):
        for i in range(5):
            for j in range(4):
                expected = bilinear(images[n] * 1.0, top + (i + 0.5) * h / 5 - 0.5, left + (j + 0.5) * w / 4 - 0.5)
                np.testing.assert_allclose(out[n, i, j], expected, rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(mirrored, np.stack([out[0, :, ::-1], out[1], out[2, :, ::-1]]), atol=1e-2)


def test_the_whole_image_at_its_own_size_is_itself_and_enlarging_stays_inside_of_it():
    images = np.random.default_rng(0).integers(1, 256, (2, 9, 7, 3), np.uint8)
    whole = tf.constant([[0.0, 0, 9, 7]] * 2)
    np.testing.assert_allclose(crops.cut(images, whole, (9, 7)), images, atol=1e-3)
    assert crops.cut(images, whole, (27, 21)).numpy().min() >= 1  # outside would be 0


# Epochs


def test_whitened_columns_are_uncorrelated_with_unit_variance_and_in_order_of_variance():
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(500, 4)) * [1, 5, 0.1, 2] @ np.linalg.qr(rng.normal(size=(4, 4)))[0] + 3).astype("f")
    centered = features.copy()
    mean, matrix = epochs.whitening(centered, 3)
    np.testing.assert_allclose(mean, features.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(centered, features - mean)
    np.testing.assert_allclose(np.cov((features - mean) @ matrix, rowvar=False), np.eye(3), atol=1e-3)
    lengths = 1 / np.linalg.norm(matrix, axis=0)  # deviations along the components
    np.testing.assert_allclose(lengths, [5, 2, 1], rtol=0.1)


def test_directions_without_variance_are_left_at_zero():
    features = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    features[:, 2:] = features[:, :1]
    _, matrix = epochs.whitening(features, 6)
    assert np.count_nonzero(np.linalg.norm(matrix, axis=0)) == 2
    assert not np.any(epochs.whitening(np.ones((5, 3), np.float32), 2)[1])


def test_rows_get_unit_length_and_a_zero_row_stays():
    np.testing.assert_allclose(epochs.unit(np.array([[3.0, 4.0], [0, 0]])), [[0.6, 0.8], [0, 0]])


def test_as_many_clusters_as_distinct_rows_are_one_row_each_and_the_seed_decides():
    rows = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    assert sorted(epochs.cluster(rows, 20, 20, 0)) == list(range(20))
    a, again, other = (epochs.cluster(rows, 5, 20, seed) for seed in (1, 1, 2))
    assert a.dtype == np.int32
    np.testing.assert_array_equal(a, again)
    assert (a != other).any()


SIZES = [400, 200, 100, 50, 10, 1, 0, 39]  # one cluster is empty
ASSIGNMENTS = np.random.default_rng(0).permutation(np.repeat(np.arange(8), SIZES)).astype(np.int32)


def order(seed=0, legacy=False):
    return epochs.balanced_order(ASSIGNMENTS, np.random.default_rng(seed), legacy)


def test_every_cluster_that_has_images_comes_up_as_often():
    n, each = 800, 800 // 7 + 1
    counts = np.bincount(ASSIGNMENTS[order()], minlength=8)
    assert len(order()) == n == counts.sum()
    assert counts[6] == 0
    assert counts.max() <= each
    assert np.delete(counts, 6).min() >= each - (7 * each - n)


def test_images_repeat_only_in_clusters_that_are_not_larger_than_their_share():
    times = np.bincount(order(), minlength=800)
    for c, size in enumerate(SIZES):
        repeated = times[c == ASSIGNMENTS].max(initial=0) > 1
        assert repeated == (0 < size <= 115)


def test_the_legacy_order_takes_the_drawn_numbers_for_places_among_images_sorted_by_cluster():
    by_cluster = np.argsort(ASSIGNMENTS, kind="stable")
    np.testing.assert_array_equal(order(legacy=True), by_cluster[order()])
    mean = np.mean([np.bincount(ASSIGNMENTS[order(s, True)], minlength=8) for s in range(20)], axis=0)
    assert mean[0] > 2 * mean[2] > 4 * mean[4]  # as uneven as the clusters themselves


def test_epochs_begin_once_each_and_not_again_where_a_fit_goes_on():
    begun = []
    callback = epochs.AtEpochs(3, begun.append, lambda: begun[-1] if begun else -1)
    for step in range(8):
        callback.on_train_batch_begin(step)
    assert begun == [0, 1, 2]
    resumed = epochs.AtEpochs(3, begun.append, lambda: begun[-1])
    for step in (8, 9):
        resumed.on_train_batch_begin(step)
    assert begun == [0, 1, 2, 3]
