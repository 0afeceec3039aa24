"""Near-duplicates: small gray copies, groups by cosine, and the nearest row of another set."""

import numpy as np
import pytest
from PIL import Image

from cactus_tf.utils import near_duplicates
from cactus_tf.utils.near_duplicates import THUMBNAIL_COSINE, Compared, groups, nearest, thumbnails


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def photographs(number, side=96, channels=3):
    """Smooth random images."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (number, 8, 8, channels), np.uint8)
    return np.stack([resized(image, side) for image in coarse])


def resized(image, side):
    plain = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(plain.resize((side, side), Image.Resampling.BICUBIC)).reshape(side, side, -1)


def components(rows, threshold):
    """Groups by a plain double loop."""
    found = [{i} for i in range(len(rows))]
    for i in range(len(rows)):
        for j in range(i):
            if rows[i] @ rows[j] >= threshold:
                one, other = (next(group for group in found if k in group) for k in (i, j))
                if one is not other:
                    found.remove(other)
                    one |= other
    return sorted((sorted(group) for group in found if len(group) > 1), key=lambda group: (-len(group), group[0]))


@pytest.mark.parametrize("tile", [3, 7, 2048])
def test_groups_are_the_components_of_all_pairs_whatever_the_tile(tile, monkeypatch):
    monkeypatch.setattr(near_duplicates, "_TILE", tile)
    rows = unit(np.random.default_rng(1).normal(size=(40, 3)))
    found = groups([Compared(rows, 0.95)])
    assert [group.tolist() for group in found] == components(rows, 0.95)
    assert len(found) > 2


def test_a_pair_by_either_comparison_is_a_pair():
    one = np.eye(4, dtype=np.float32)
    other = one.copy()
    one[1], other[2] = one[0], other[1]
    assert [group.tolist() for group in groups([Compared(one, 0.9), Compared(other, 0.9)])] == [[0, 1, 2]]


def test_equal_rows_are_near_duplicates_at_a_cosine_of_one():
    row = unit(np.random.default_rng(0).normal(size=(1, 1280)))
    assert groups([Compared(np.repeat(row, 50, axis=0), 1.0)])[0].tolist() == list(range(50))


def test_one_image_has_no_near_duplicates():
    assert groups([Compared(np.ones((1, 1), np.float32), 0.9)]) == []


@pytest.mark.parametrize("tile", [3, 2048])
def test_the_nearest_row_is_that_of_the_largest_cosine(tile, monkeypatch):
    monkeypatch.setattr(near_duplicates, "_TILE", tile)
    rng = np.random.default_rng(2)
    one, other = unit(rng.normal(size=(20, 3))), unit(rng.normal(size=(31, 3)))
    cosines = one @ other.T
    expected = np.where(cosines.max(axis=1) >= 0.9, cosines.argmax(axis=1), -1)
    assert np.array_equal(nearest(Compared(one, 0.9), other), expected)
    assert {-1} < set(expected.tolist())


def test_nothing_is_near_an_empty_set():
    assert nearest(Compared(np.ones((2, 1), np.float32), 0.5), np.zeros((0, 1), np.float32)).tolist() == [-1, -1]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_small_a_brighter_and_a_noisy_copy_are_alike_and_other_images_are_not(channels):
    images = photographs(30, channels=channels)
    small = np.stack([resized(resized(image, 48), 96) for image in images])
    bright = np.minimum(images * 1.1, 255).astype(np.uint8)
    noisy = np.clip(images + np.random.default_rng(3).normal(0, 10, images.shape), 0, 255).astype(np.uint8)
    for copies in (small, bright, noisy):
        found = nearest(Compared(thumbnails(copies), THUMBNAIL_COSINE), thumbnails(images))
        assert found.tolist() == list(range(30))
    assert groups([Compared(thumbnails(images), THUMBNAIL_COSINE)]) == []


def test_images_of_one_shade_are_alike_no_other():
    blank = np.full((5, 84, 84, 3), 200, np.uint8)
    blank[:, ::2] += 1
    assert not thumbnails(blank).any()


@pytest.mark.parametrize("shape", [(28, 28, 1), (84, 84, 3), (5, 7, 3), (224, 100, 1)])
def test_small_copies_have_at_most_256_numbers_of_length_one(shape):
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    small = thumbnails(images)
    assert small.shape[1] <= 256
    assert np.linalg.norm(small, axis=1) == pytest.approx(1, abs=1e-5)
