import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from cactus_tf import augmentations
from cactus_tf.augmentations import affine

NOTHING = {"rotation": 0.0, "scale": 0.0, "shear": 0.0, "shift": 0.0}


def drawings(number=6, side=12, paper=0.0):
    """[number, side, side, 1] with ink in the middle."""
    images = np.full((number, side, side, 1), paper, np.float32)
    ink = np.random.default_rng(0).uniform(0, 1, (number, side - 6, side - 6, 1))
    images[:, 3:-3, 3:-3] = ink
    return images


def test_copies_are_those_of_a_bilinear_transform_by_the_same_matrices():
    options, images, seed = affine.Options(), drawings(), [3, 8]
    copies = affine.build(options)(images, seed).numpy()
    for image, copy, row in zip(
        images, copies, affine.inverse_transforms(options, 6, tf.constant([12.0, 12.0]), seed).numpy(), strict=True
    ):
        matrix = row[:6].reshape(2, 3)[::-1]  # SciPy's points are (row, column)
        expected = ndimage.affine_transform(image[..., 0], matrix[:, 1::-1], matrix[:, 2], order=1, mode="constant")
        np.testing.assert_allclose(copy[..., 0], expected, atol=2e-5)


def test_ranges_of_zero_leave_images_as_they_are():
    images = drawings()
    np.testing.assert_allclose(augmentations.build("affine", **NOTHING)(images, [0, 1]), images, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("rotation", 30.0, lambda m: np.degrees(np.arctan2(m[1, 0], m[0, 0]))),
        ("scale", 0.25, lambda m: m[1, 1] - 1),
        ("shear", 0.2, lambda m: m[0, 1]),
    ],
)
def test_each_setting_has_its_own_range(name, value, expected):
    options = affine.Options(**{**NOTHING, name: value})
    rows = affine.inverse_transforms(options, 500, tf.constant([20.0, 20.0]), [1, 2]).numpy()
    drawn = np.array([expected(row[:6].reshape(2, 3)) for row in rows])
    assert np.abs(drawn).max() <= value + 1e-4
    assert drawn.min() < -0.9 * value
    assert drawn.max() > 0.9 * value


def test_the_middle_stays_in_the_middle_without_shifts():
    options = affine.Options(shift=0.0)
    for row in affine.inverse_transforms(options, 20, tf.constant([9.0, 13.0]), [1, 2]).numpy():
        np.testing.assert_allclose(row[:6].reshape(2, 3) @ [6, 4, 1], [6, 4], atol=1e-4)


def test_what_comes_in_from_outside_has_the_color_of_the_paper():
    copies = augmentations.build("affine", shift=0.5)(drawings(paper=1.0), [0, 0]).numpy()
    np.testing.assert_allclose(copies[:, [0, -1]].max(axis=(1, 2, 3)), 1, atol=1e-6)
    assert copies.min() >= -1e-6
    blank = np.full((3, 8, 8, 3), 0.7, np.float32)
    np.testing.assert_allclose(augmentations.build("affine", shift=0.9)(blank, [0, 0]), blank, atol=1e-6)
