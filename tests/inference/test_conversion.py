"""Images as people have them, made what a learner takes."""

import io
import logging

import numpy as np
import pytest
from PIL import Image

from cactus_tf.datasets._io.decoding import array
from cactus_tf.errors import InputError
from cactus_tf.inference.conversion import pixel_scale, prepare

BYTES = np.random.default_rng(0).integers(0, 256, (5, 9, 9, 1), np.uint8)
COLORS = np.random.default_rng(1).integers(0, 256, (5, 9, 9, 3), np.uint8)


@pytest.mark.parametrize(
    "images",
    [BYTES, BYTES[..., 0], BYTES.astype(np.int64), BYTES.astype(np.float32), BYTES / 255, list(BYTES)],
    ids=["uint8", "without channels", "int64", "floats in 0..255", "floats in 0..1", "a list"],
)
def test_the_same_images_in_any_form_are_the_same_bytes(images):
    np.testing.assert_array_equal(prepare(images), BYTES)


def test_booleans_are_black_and_white():
    np.testing.assert_array_equal(prepare(BYTES > 100), 255 * (BYTES > 100))


def test_floats_are_in_the_range_that_is_said_whatever_their_largest_value():
    dark = np.full((1, 4, 4), 0.5)
    assert prepare(dark, 1).max() == 128
    assert prepare(np.zeros((1, 4, 4)), 255).max() == 0
    with pytest.raises(InputError, match=r"reach no more than 0.5, and those of fit were in 0..255"):
        prepare(dark, 255)
    with pytest.raises(InputError, match=r"reach 128, and those of fit were in 0..1"):
        prepare(256 * dark, 1)


def test_a_dark_image_is_in_the_range_of_those_beside_it():
    images = [np.full((4, 4), 200.0), np.full((5, 5), 1.0)]
    for scale in (pixel_scale(images), None):
        assert prepare(images, scale, (4, 4, 1)).max(axis=(1, 2, 3)).tolist() == [200, 1]


def test_only_floats_have_a_scale():
    assert [pixel_scale(x) for x in (BYTES, BYTES > 9, BYTES / 255, BYTES / 1.0)] == [None, None, 1, 255]


def test_another_size_is_resized_as_a_picture_in_a_folder_is(caplog):
    wide = np.random.default_rng(2).integers(0, 256, (1, 20, 30), np.uint8)
    Image.fromarray(wide[0]).save(file := io.BytesIO(), "PNG")
    with caplog.at_level(logging.INFO):
        np.testing.assert_array_equal(prepare(wide, shape=(8, 8, 1))[0], array(file.getvalue(), (8, 8, 1)))
    assert caplog.messages == ["images of 20x30x1 are resized to 8x8x1, the shape of the training images"]


def test_images_of_several_sizes_are_brought_to_one():
    assert prepare([np.zeros((9, 7)), np.zeros((20, 30, 3))], shape=(8, 8, 1)).shape == (2, 8, 8, 1)


def test_color_becomes_gray_by_the_weights_of_itu_601():
    gray = prepare(COLORS, shape=(9, 9, 1))[..., 0]
    np.testing.assert_allclose(gray, COLORS @ [0.299, 0.587, 0.114], atol=1)


def test_gray_becomes_color_by_equal_channels():
    np.testing.assert_array_equal(prepare(BYTES, shape=(9, 9, 3)), np.repeat(BYTES, 3, axis=3))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (BYTES - 300.0, r"values from -300 to -\d+: scale them to 0..255 or 0..1"),
        (BYTES.astype(int) + 200, r"values from \d+ to 4\d\d: scale"),
        (np.where(BYTES > 9, np.nan, 1.0), "NaN or infinity"),
        (np.full((2, 4, 4), np.inf), "NaN or infinity"),
        (BYTES[:0], "there are no images"),
        (BYTES[0, ..., 0], r"not \[9, 9\]: reshape them"),
        (COLORS[0], r"\[9, 9, 3\] is the shape of one image"),
        (COLORS.transpose(0, 3, 1, 2), "9 channels"),
        (np.array([["a"]]), "of type <U1"),
        ([np.zeros((4, 4)), np.zeros((5, 5))], "2 shapes"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_answered_with_the_rule(images, message):
    with pytest.raises(InputError, match=message):
        prepare(images)
