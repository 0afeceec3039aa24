import numpy as np
import pytest

from cactus_tf.datasets import digits
from cactus_tf.datasets._io.preparing import Labeled


@pytest.fixture(scope="module")
def splits():
    return digits.load()


def rows(images):
    return {image.tobytes() for image in images}


def test_splits_have_the_documented_sizes_shape_and_type(splits):
    assert [len(s) for s in (splits.train, splits.val, splits.test)] == [1000, 297, 500]
    assert splits.image_shape == (28, 28, 1)
    assert all(s.images.dtype == np.uint8 for s in (splits.train, splits.val, splits.test))


def test_no_image_is_in_two_splits(splits):
    assert len(rows(splits.train.images) | rows(splits.val.images) | rows(splits.test.images)) == 1797


def test_every_digit_has_enough_images_for_tasks_in_every_split(splits):
    for split, least in ((splits.train, 20), (splits.val, 10), (splits.test, 20)):
        sizes = split.partitions[0].sizes
        assert len(sizes) == 10
        assert sizes.min() >= least


def test_images_carry_their_own_label(splits):
    from sklearn.datasets import load_digits

    source = load_digits()
    label = {image.tobytes(): c for image, c in zip(digits.enlarge(source.images), source.target, strict=True)}
    for split in (splits.train, splits.val, splits.test):
        clusters = split.partitions[0].assignments(len(split))
        assert [label[image.tobytes()] for image in split.images] == clusters.tolist()


def test_preparing_twice_gives_the_same_arrays(splits):
    np.testing.assert_array_equal(digits.load().train.images, splits.train.images)


def test_digits_fill_the_box_that_mnist_digits_fill():
    images = digits.enlarge(np.full((2, 8, 8), 16.0))
    expected = np.zeros((2, 28, 28, 1), np.uint8)
    expected[:, 4:24, 4:24] = 255
    np.testing.assert_array_equal(images, expected)


def test_enlarging_keeps_up_and_left_apart():
    corner = np.zeros((1, 8, 8))
    corner[0, :2, 4:] = 16
    image = digits.enlarge(corner)[0, :, :, 0]
    assert image[5, 20] == 255
    assert image[20, 5] == image[5, 5] == image[20, 20] == 0


def test_enlarging_smooths_edges():
    half = np.zeros((1, 8, 8))
    half[0, :, 4:] = 16
    row = digits.enlarge(half)[0, 14, 4:24, 0].astype(int)
    assert (np.diff(row) >= 0).all()
    assert len(np.unique(row)) > 3


def test_the_split_does_not_look_at_labels():
    images = np.arange(1797, dtype=np.int32).reshape(-1, 1, 1, 1)
    some = digits.split(Labeled(images, np.zeros(1797, np.int32)))
    other = digits.split(Labeled(images, np.arange(1797, dtype=np.int32)))
    for name in some:
        np.testing.assert_array_equal(some[name].images, other[name].images)


def test_a_data_dir_is_refused(complains, tmp_path):
    with complains("data_dir", tmp_path, "leave"):
        digits.load(tmp_path)
