"""Presets of keras-hub: with a stand-in for the package everywhere, with the package itself where it is installed."""

import json
import sys
import types
import warnings

import keras
import numpy as np
import pytest

from cactus_tf import embedders
from cactus_tf.config import flags, keys
from cactus_tf.embedders.pretrained import Options, catalog, hub, presets
from cactus_tf.errors import InputError

PHOTOS = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), np.uint8)


def build(**settings):
    return embedders.build("pretrained", **{"norm": "none", **settings})


def message(**settings):
    with pytest.raises(InputError) as error:
        build(**settings).fit(PHOTOS)
    assert "\n" not in str(error.value)
    return str(error.value)


# A stand-in: backbones with the inputs, outputs and names of keras-hub's


class DINOV2Backbone(keras.Model):
    """Class token and patches of 16x16 pixels, [n, 1 + patches, hidden_dim]; the class token is brightness."""

    def __init__(self, hidden_dim=384, image_shape=(32, 32, 3), **others):
        images = keras.Input(image_shape, name="images")
        patches = keras.layers.Conv2D(hidden_dim, 16, 16, kernel_initializer="ones", trainable=False)(images)
        patches = keras.layers.Reshape((-1, hidden_dim))(patches)
        brightness = keras.layers.GlobalAveragePooling2D(keepdims=True)(images)
        token = keras.layers.Reshape((1, 3))(brightness)
        token = keras.layers.Dense(hidden_dim, kernel_initializer="ones", trainable=False)(token)
        super().__init__({"images": images}, keras.layers.Concatenate(axis=1)([token, patches]))
        self.hidden_dim = hidden_dim

    def get_config(self):
        return {"hidden_dim": self.hidden_dim}


class ResNetBackbone(keras.Model):
    """A map [n, height - 2, width - 2, 4]."""

    def __init__(self, image_shape=(None, None, 3), **others):
        images = keras.Input(image_shape)
        super().__init__(images, keras.layers.Conv2D(4, 3, kernel_initializer="ones")(images))

    def get_config(self):
        return {}


class TextBackbone(keras.Model):
    """Two inputs that are no images."""

    def __init__(self, **others):
        inputs = {name: keras.Input((4,)) for name in ("token_ids", "padding_mask")}
        super().__init__(inputs, keras.layers.Add()(list(inputs.values())))


KINDS = {kind.__name__: kind for kind in (DINOV2Backbone, ResNetBackbone, TextBackbone)}
PIXELS = types.SimpleNamespace(scale=[0.5, 0.5, 0.5], offset=[1.0, 0.0, 0.0])


class NoConnectionError(Exception):
    """As Kaggle's client raises it."""


def from_preset(preset, **changed):
    """A backbone as config.json of a folder describes it; there is no network connection for names."""
    if preset in presets.PRESETS:
        raise NoConnectionError("Max retries exceeded (Caused by x('[Errno -2] Name or service not known'))\nmore")
    with open(f"{preset}/config.json") as file:
        config = json.load(file)
    return KINDS[config["registered_name"].partition(">")[2]](**{**config["config"], **changed})


def converter(preset):
    if preset in presets.PRESETS or "plain" in preset:
        raise FileNotFoundError(preset)
    return PIXELS


@pytest.fixture
def stand_in(monkeypatch):
    package = types.SimpleNamespace(
        models=types.SimpleNamespace(**KINDS, Backbone=types.SimpleNamespace(from_preset=from_preset)),
        layers=types.SimpleNamespace(ImageConverter=types.SimpleNamespace(from_preset=converter)),
    )
    monkeypatch.setitem(sys.modules, "keras_hub", package)


def preset(folder, kind="DINOV2Backbone", package="keras_hub", **config):
    folder.mkdir(exist_ok=True)
    config = {"image_shape": [32, 32, 3], **config}
    (folder / "config.json").write_text(json.dumps({"registered_name": f"{package}>{kind}", "config": config}))
    return str(folder)


def brightness(photos=PHOTOS):
    """[n] what every number of the class token of the stand-in is."""
    scaled = photos / 2 + np.array([1.0, 0, 0])
    return scaled.mean(axis=(1, 2)).sum(axis=1)


def test_the_features_of_a_transformer_are_its_class_token_on_scaled_pixels(stand_in, tmp_path):
    photos = PHOTOS[:, :32, :32]
    features = build(weights=preset(tmp_path, hidden_dim=8)).fit(photos).transform(photos)
    np.testing.assert_allclose(features, np.repeat(brightness(photos)[:, None], 8, axis=1), rtol=1e-4)


def test_the_features_of_a_convolutional_network_are_averaged_over_the_image(stand_in, tmp_path):
    folder = preset(tmp_path / "plain", "ResNetBackbone", image_shape=[None, None, 3])
    photos = np.full((2, 20, 20, 3), [[[[1, 2, 3]]], [[[0, 1, 0]]]], np.uint8)
    features = build(weights=folder, input_size=32).fit(photos).transform(photos)
    np.testing.assert_allclose(features, np.repeat([[54.0], [9.0]], 4, axis=1), rtol=1e-4)


def test_a_saved_embedder_needs_neither_the_folder_nor_keras_hub(stand_in, tmp_path, monkeypatch):
    folder = preset(tmp_path / "preset", hidden_dim=8)
    embedder = build(weights=folder).fit(PHOTOS)
    embedder.save(tmp_path / "saved")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    (tmp_path / "preset/config.json").unlink()
    loaded = build(weights=folder).load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.transform(PHOTOS), embedder.transform(PHOTOS), rtol=1e-5)
    loaded.save(tmp_path / "again")
    again = build().load(tmp_path / "again")
    np.testing.assert_array_equal(again.transform(PHOTOS), loaded.transform(PHOTOS))


def test_a_range_of_pixels_that_is_named_replaces_that_of_the_preset(stand_in, tmp_path):
    photos = PHOTOS[:, :32, :32]
    features = build(weights=preset(tmp_path, hidden_dim=8), scaling="unit").fit(photos).transform(photos)
    np.testing.assert_allclose(features[:, 0], photos.mean(axis=(1, 2)).sum(axis=1) / 255, rtol=1e-4)


def test_a_preset_without_preprocessing_gets_pixels_as_they_are_and_says_so(stand_in, tmp_path, caplog):
    photos = PHOTOS[:, :32, :32]
    features = build(weights=preset(tmp_path / "plain", hidden_dim=8)).fit(photos).transform(photos)
    np.testing.assert_allclose(features[:, 0], photos.mean(axis=(1, 2)).sum(axis=1), rtol=1e-4)
    assert "--pretrained_scaling" in caplog.text


def test_random_weights_need_no_download_and_are_always_the_same(stand_in):
    first, again = (build(model="dinov2_small", weights="random").fit(PHOTOS).transform(PHOTOS) for _ in range(2))
    assert first.shape == (5, 384)
    np.testing.assert_array_equal(first, again)


# Settings


def test_a_folder_of_photographs_gets_the_size_of_the_preset(tmp_path):
    argv = ["--dataset=folder", "--embedder=pretrained"]
    assert flags.parse([*argv, "--pretrained_model=dinov2_small"]).data.image_size == 224
    own = f"--pretrained_weights={preset(tmp_path, image_shape=[56, 56, 3])}"
    assert flags.parse([*argv, own]).data.image_size == 56
    assert flags.parse([*argv, "--pretrained_model=dinov2_small", own]).data.image_size == 224


def test_the_key_depends_on_the_preset_and_on_what_a_folder_holds(tmp_path):
    folders = [preset(tmp_path / name, hidden_dim=dim) for name, dim in (("a", 8), ("moved", 8), ("b", 9))]
    first, moved, other = (keys.member("embedders", "pretrained", Options(weights=folder)) for folder in folders)
    assert first == moved
    named = [keys.member("embedders", "pretrained", Options(model=name)) for name in ("dinov2_small", "dinov2_base")]
    assert len({keys.digest(key) for key in (first, other, *named)}) == 4


def test_help_lists_the_presets_with_size_and_license():
    row = next(line for line in catalog.listing().splitlines() if " dinov2_small " in line)
    assert row.split() == ["dinov2_small", "90", "MB", "224", "384", "class", "token", "Apache", "2.0"]


# Errors


def test_without_keras_hub_the_error_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    for settings in ({"model": "dinov2_small"}, {"weights": preset(tmp_path)}):
        assert 'needs keras-hub: pip install "cactus-tf[hub]"' in message(**settings)


def test_a_keras_hub_that_cannot_be_imported_is_named_with_the_reason(monkeypatch, tmp_path):
    (tmp_path / "keras_hub.py").write_text('raise ImportError("kagglehub is installed but cannot be imported")')
    monkeypatch.delitem(sys.modules, "keras_hub", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert "needs keras-hub (kagglehub is installed but cannot be imported)" in message(model="dinov2_small")


def test_without_a_connection_the_error_names_what_to_fetch_and_where_to_put_it(stand_in):
    text = message(model="dinov2_small")
    assert "could not be downloaded ([Errno -2] Name or service not known): get them from https://www.kaggle" in text
    assert text.endswith("dinov2/keras/dinov2_small, unpack them into a folder and add --pretrained_weights=FOLDER")


def test_unknown_presets_are_answered_with_the_closest():
    assert "closest: dinov2_small" in message(model="dinov2_smal")


def test_a_folder_of_another_network_than_the_named_one_is_refused(stand_in, tmp_path):
    text = message(model="dinov2_small", weights=preset(tmp_path, hidden_dim=8))
    assert "holds a DINOV2Backbone of 8 numbers, not dinov2_small" in text
    resnet = preset(tmp_path / "plain", "ResNetBackbone")
    assert "holds a ResNetBackbone of 4 numbers, not dinov2_small" in message(model="dinov2_small", weights=resnet)
    assert "holds a whole network" in message(model="vgg16", weights=resnet)


def test_a_folder_without_a_network_for_images_is_refused(stand_in, tmp_path):
    assert "has 2 inputs and 1 outputs" in message(weights=preset(tmp_path / "text", "TextBackbone"))
    assert "which keras-hub does not have" in message(weights=preset(tmp_path / "other", "Own", "mine"))
    for text in ("{}", "no json", '{"model_type": "dinov2"}'):
        (tmp_path / "config.json").write_text(text)
        assert "describes no network of keras-hub for images" in message(weights=str(tmp_path))


def test_settings_that_contradict_a_preset_are_refused(stand_in, tmp_path):
    assert "takes 224x224 pixels only" in message(model="clip_vit_base_patch32", weights="random", input_size=64)
    assert "leave it out" in message(layer="x", weights=preset(tmp_path))
    assert "leave it out" in message(layer="x", model="dinov2_small")
    assert "are the folder of a keras-hub preset" in message(model="dinov2_small", weights="some.weights.h5")


# The package itself


@pytest.fixture
def keras_hub():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras_hub", reason="keras-hub is not installed: an extra of this package")


def tiny(package, folder):
    """A DINOv2 of random weights with its preprocessing, in a folder."""
    settings = {"hidden_dim": 16, "num_heads": 2, "intermediate_dim": 32, "patch_size": 14, "num_layers": 2}
    shapes = {"image_shape": (56, 56, 3), "position_embedding_shape": (56, 56, 3)}
    backbone = package.models.DINOV2Backbone(**settings, **shapes)
    pixels = package.layers.DINOV2ImageConverter(scale=[0.017, 0.018, 0.019], offset=[-2.1, -2.0, -1.8])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        backbone.save_to_preset(folder)
        pixels.save_to_preset(folder)
    return backbone, pixels


def test_a_preset_that_keras_hub_saved_gives_its_class_token(keras_hub, tmp_path):
    backbone, pixels = tiny(keras_hub, tmp_path / "preset")
    photos = np.random.default_rng(1).integers(0, 256, (3, 56, 56, 3), np.uint8)
    embedder = build(weights=str(tmp_path / "preset")).fit(photos)
    expected = np.asarray(backbone({"images": pixels(photos.astype(np.float32))})[:, 0])
    np.testing.assert_allclose(embedder.transform(photos), expected, rtol=1e-4, atol=1e-5)
    embedder.save(tmp_path / "saved")
    np.testing.assert_allclose(build().load(tmp_path / "saved").transform(photos), expected, rtol=1e-4, atol=1e-5)


def test_a_preset_that_is_cut_short_is_named(keras_hub, tmp_path):
    tiny(keras_hub, tmp_path)
    path = tmp_path / "model.weights.h5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "is damaged, cut short" in message(weights=str(tmp_path))
    path.unlink()
    assert "is not a whole preset" in message(weights=str(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("name", presets.PRESETS)
def test_a_preset_has_the_numbers_and_megabytes_of_the_list(keras_hub, name):
    entry, known = presets.PRESETS[name], keras_hub.models.Backbone.presets[name]
    assert known["kaggle_handle"].startswith(presets.page(name).replace("https://www.kaggle.com/models", "kaggle:/"))
    assert round(known["metadata"]["params"] * 4 / 1e6) == entry.megabytes
    network = hub.build(name, None, download=False, scaled=True)
    assert network.hub.output_shape == (None, entry.numbers)
    keras.backend.clear_session()
