import keras
import pytest

from cactus_tf import backbones, learners
from cactus_tf.utils.keras_defaults import keras_defaults


@pytest.fixture
def others_settings():
    """What another project may have set."""
    earlier = keras.config.floatx(), keras.config.image_data_format(), keras.config.dtype_policy()
    keras.config.set_floatx("float16")
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_floatx(earlier[0])
    keras.config.set_image_data_format(earlier[1])
    keras.config.set_dtype_policy(earlier[2])


def test_layers_keep_the_defaults_and_the_settings_of_others_come_back(others_settings):
    with keras_defaults():
        layer = keras.layers.Conv2D(2, 3)
    assert (layer.data_format, layer.compute_dtype) == ("channels_last", "float32")
    assert (keras.config.floatx(), keras.config.image_data_format()) == ("float16", "channels_first")
    assert keras.config.dtype_policy().name == "mixed_float16"


@pytest.mark.parametrize("name", ["protonets", "maml", "meta_sgd", "scratch"])
def test_learners_are_float32_and_channels_last_whatever_keras_json_says(others_settings, name):
    learner = learners.build(name, image_shape=(28, 28, 1), way=3, filters=4)
    network = learner.encoder if name == "protonets" else learner.network_for(3).model
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    assert {v.dtype for v in network.variables} == {"float32"}
    assert network.layers[1].data_format == "channels_last"


def test_backbones_are_channels_last_whatever_keras_json_says(others_settings):
    assert backbones.build("conv4", (28, 28, 1)).output_shape == (None, 64)
