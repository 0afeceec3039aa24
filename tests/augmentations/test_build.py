import numpy as np
import pytest
import tensorflow as tf

import cactus_tf as ct
from cactus_tf import augmentations, plugins
from cactus_tf.errors import InputError

NAMES = plugins.names("augmentations")


@pytest.fixture
def images():
    return np.random.default_rng(1).uniform(0, 1, (6, 9, 9, 3)).astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
def test_each_image_is_varied_by_itself_as_seed_and_position_say(name, images):
    vary = augmentations.build(name)
    whole = vary(images, [5, 7]).numpy()
    assert whole.shape == images.shape
    assert whole.dtype == np.float32
    np.testing.assert_allclose(vary(images[:4], [5, 7]), whole[:4], atol=1e-6)
    np.testing.assert_array_equal(vary(images, [5, 7]), whole)
    changed = images.copy()
    changed[2] = 0
    np.testing.assert_allclose(vary(changed, [5, 7]).numpy()[[0, 1, 3, 4, 5]], whole[[0, 1, 3, 4, 5]], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_step_varies_images_as_a_call_does(name, images):
    vary = augmentations.build(name)
    compiled = tf.function(vary, autograph=False)  # as the training step
    np.testing.assert_allclose(compiled(images, tf.constant([5, 7], tf.int64)), vary(images, [5, 7]), atol=1e-5)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "none"])
def test_another_seed_or_position_gives_another_copy(name, images):
    vary = augmentations.build(name)
    copies = [vary(images[:1].repeat(6, 0), seed).numpy() for seed in ([5, 7], [5, 8], [6, 7])]
    flat = np.concatenate(copies).reshape(18, -1)
    assert len(np.unique(flat, axis=0)) == 18


def test_settings_that_do_not_exist_are_named():
    with pytest.raises(InputError, match="affine has no setting turn; it has rotation, scale, shear, shift"):
        ct.augmentations.build("affine", turn=3)
