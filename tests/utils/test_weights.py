"""A network is made only if it can belong to its saved weights."""

from pathlib import Path

import numpy as np
import pytest

from cactus_tf import embedders, learners
from cactus_tf.errors import InputError
from cactus_tf.utils import sealed, weights

WIDE = (28, 65536, 1)
SAVED = Path("config.json")


@pytest.mark.parametrize("name", ["protonets", "maml", "meta_sgd", "scratch"])
def test_a_network_far_larger_than_its_saved_weights_is_refused_before_it_takes_memory(name):
    refused = pytest.raises(
        InputError, match=r"config.json describes a network of at least 7.5 GB, and the weights beside"
    )
    with refused, weights.limited(1000, SAVED):
        learners.build(name, image_shape=WIDE, backbone="mlp")


def test_a_network_without_saved_weights_may_have_a_gigabyte():
    with (
        pytest.raises(InputError, match=r"one without saved weights may have 1\.1 GB: lower --filters or --image_size"),
        weights.limited(0, SAVED),
    ):
        learners.build("scratch", image_shape=WIDE, backbone="mlp")


def test_a_network_that_fits_its_weights_is_the_same_as_without_a_limit(monkeypatch):
    monkeypatch.setattr(weights, "SMALL", 0)
    expected = learners.build("protonets", image_shape=(28, 28, 1), filters=2)
    with weights.limited(sum(v.numpy().nbytes for v in expected.variables), SAVED):
        limited = learners.build("protonets", image_shape=(28, 28, 1), filters=2)
    for one, other in zip(limited.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def fitted():
    """A trained embedder; its decoder grows with the images."""
    images = np.random.default_rng(0).integers(0, 256, (16, 28, 28, 1), np.uint8)
    return embedders.build("infogan", steps=1, batch=8).fit(images)


def test_an_embedder_with_another_shape_in_its_description_is_refused(fitted, tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "SMALL", 0)
    fitted.save(tmp_path)
    assert embedders.build("infogan").load(tmp_path)
    path = tmp_path / "embedder.json"
    description = {**sealed.read(path, ""), "image_shape": [2048, 2048, 1]}
    sealed.write(path, {name: value for name, value in description.items() if name != sealed.DIGEST})
    with pytest.raises(InputError, match="describes a network of at least"):
        embedders.build("infogan").load(tmp_path)
