import colorsys

import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import augmentations
from cactus_tf.augmentations import photo

NOTHING = {"crop": 1.0, "ratio": 1.0, "flip": 0.0, "jitter": 0.0, "gray": 0.0}


def photographs(number=5, channels=3):
    return np.random.default_rng(0).uniform(0, 1, (number, 8, 10, channels)).astype(np.float32)


def varied(images, **settings):
    return augmentations.build("photo", **{**NOTHING, **settings})(images, [0, 1]).numpy()


def test_without_anything_to_do_images_stay_as_they_are():
    np.testing.assert_allclose(varied(photographs()), photographs(), atol=1e-5)


def test_a_certain_flip_mirrors_every_image():
    np.testing.assert_allclose(varied(photographs(), flip=1.0), photographs()[:, :, ::-1], atol=1e-5)


def test_a_gray_image_has_the_luma_of_its_colors():
    images = photographs()
    gray = varied(images, gray=1.0)
    np.testing.assert_allclose(gray, np.repeat(images @ [[0.299], [0.587], [0.114]], 3, -1), atol=1e-5)


def test_crops_lie_in_the_image_and_show_the_share_that_was_asked_for():
    rng = np.random.default_rng(0)
    drawn = [tf.constant(rng.uniform(size=400).astype(np.float32)) for _ in range(5)]
    top, begin, bottom, end = photo.boxes(photo.Options(crop=0.3, ratio=1.5), *drawn).numpy().T
    left, right = np.minimum(begin, end), np.maximum(begin, end)
    assert min(top.min(), left.min()) >= 0
    assert max(bottom.max(), right.max()) <= 1 + 1e-6
    area = (bottom - top) * (right - left)
    assert area.max() <= 1 + 1e-6
    assert area.min() >= 0.3 * 0.7  # a crop as wide as the image cannot grow
    assert 0.4 < np.mean(begin > end) < 0.6


def test_a_crop_of_a_ramp_is_the_part_that_the_box_names():
    ramp = np.broadcast_to(np.arange(9, dtype=np.float32)[None, :, None, None], (1, 9, 9, 1))
    rows = photo.cropped(tf.constant(ramp), tf.constant([[0.25, 0.0, 0.75, 1.0]])).numpy()[0, :, 0, 0]
    np.testing.assert_allclose(rows, np.linspace(2, 6, 9), atol=1e-5)


def test_a_turn_of_the_hue_by_a_third_exchanges_the_channels_of_weak_colors():
    image = np.full((1, 2, 2, 3), 0.5, np.float32)
    image[..., 0] += 0.05
    turned = photo.recolored(tf.constant(image), 1.0, tf.constant(2 * np.pi / 3)).numpy()[0, 0, 0]
    hue = colorsys.rgb_to_hsv(*turned)[0]
    assert min(abs(hue - 1 / 3), abs(hue - 2 / 3)) < 0.08
    np.testing.assert_allclose(photo.recolored(tf.constant(image), 1.0, 0.0), image, atol=2e-3)


def test_jittered_colors_stay_in_range_and_gray_images_stay_gray():
    assert varied(photographs(), jitter=1.0, brightness=1.0, contrast=1.0).min() >= 0
    assert varied(photographs(), jitter=1.0, brightness=1.0, contrast=1.0).max() <= 1
    assert varied(photographs(channels=1), jitter=1.0).shape == (5, 8, 10, 1)


@pytest.mark.parametrize("part", ["brightness", "contrast", "saturation", "hue"])
def test_each_jitter_alone_changes_colors(part):
    others = dict.fromkeys({"brightness", "contrast", "saturation", "hue"} - {part}, 0.0)
    assert np.abs(varied(photographs(), jitter=1.0, **others) - photographs()).max() > 0.01
