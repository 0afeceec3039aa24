import numpy as np
import pytest
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from cactus_tf.embedders import Untrained
from cactus_tf.errors import InputError

IMAGES = np.random.default_rng(0).integers(0, 256, (1500, 2, 2, 1), np.uint8)


def means(images):
    return images.mean(axis=(1, 2))


def test_the_embeddings_are_what_the_function_gives_as_float32():
    found = Untrained(means).fit(IMAGES).transform(IMAGES)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, means(IMAGES), rtol=1e-6)


def test_the_function_never_meets_more_than_1024_images():
    met = []
    Untrained(lambda images: met.append(len(images)) or means(images)).transform(IMAGES)
    assert met == [1024, 476]


def test_it_is_fitted_from_the_start():
    try:
        check_is_fitted(Untrained(means))
    except NotFittedError:
        pytest.fail("it has nothing to fit")


@pytest.mark.parametrize("do", ["fit", "transform"])
def test_images_of_another_form_are_refused(do):
    with pytest.raises(InputError, match="images must be uint8"):
        getattr(Untrained(means), do)(IMAGES[..., 0])
