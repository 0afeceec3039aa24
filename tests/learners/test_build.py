import pytest

from cactus_tf import learners
from cactus_tf.errors import InputError


def test_settings_go_to_the_context_and_to_the_members_own_options():
    with pytest.raises(InputError, match="support set has 1 "):
        learners.build("nearest_neighbours", k=2, filters=3).classify([[0.0]], [0], [[0.0]], 1)
    encoder = learners.build("protonets", image_shape=(28, 28, 1), filters=3, seed=2).encoder
    assert encoder.output_shape == (None, 3)


def test_a_setting_that_nobody_has_is_an_error():
    with pytest.raises(InputError, match="protonets has no setting k; it has feature_dropout, hard_negatives, "):
        learners.build("protonets", image_shape=(28, 28, 1), k=1)
    with pytest.raises(InputError, match=r"unknown member .protonet. of learners"):
        learners.build("protonet")


def test_a_network_on_images_asks_for_their_shape():
    with pytest.raises(InputError, match=r"give \(height, width, channels\)"):
        learners.build("protonets")
