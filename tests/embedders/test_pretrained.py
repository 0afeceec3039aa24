"""Features of networks that were trained elsewhere: random ones here, and the real ones where there are files."""

import urllib.error

import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import embedders
from cactus_tf.config import flags, keys
from cactus_tf.embedders.pretrained import Options, applications, catalog, pixels
from cactus_tf.errors import InputError

PHOTOS = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), np.uint8)


def build(**settings):
    return embedders.build("pretrained", **{"norm": "none", **settings})


def mobilenet():
    return keras.applications.MobileNetV2(include_top=False, weights=None, pooling="avg", input_shape=(32, 32, 3))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """(file, model) of a small MobileNetV2 of random weights."""
    path, model = tmp_path_factory.mktemp("weights") / "some.weights.h5", mobilenet()
    applications.randomize(model)
    model.save_weights(path)
    return path, model


def whole(path, inputs=(16, 16, 3), layers=2):
    """A .keras file with a network that ends with a feature map."""
    x = inputs = keras.Input(inputs)
    for i in range(layers):
        x = keras.layers.Conv2D(4 + i, 3, name=f"conv{i}")(x)
    model = keras.Model(inputs, x)
    model.save(path)
    return model


def test_features_are_those_of_keras_with_its_own_preprocessing(weights):
    path, model = weights
    images = PHOTOS[:, :32, :32]
    expected = model(keras.applications.mobilenet_v2.preprocess_input(images.astype(np.float32)), training=False)
    features = build(weights=str(path), input_size=32).fit(images).transform(images)
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


def test_images_of_another_size_are_resized_with_smoothing(weights):
    resized = tf.image.resize(PHOTOS.astype(np.float32), (32, 32), antialias=True)
    np.testing.assert_allclose(pixels.fitted(PHOTOS, (32, 32, 3)), resized, atol=1e-3)


def test_gray_images_count_as_color_of_equal_channels_and_color_as_gray_by_luminance():
    gray = PHOTOS[..., :1]
    np.testing.assert_array_equal(pixels.fitted(gray, (40, 40, 3)), np.repeat(gray, 3, axis=3))
    luminance = PHOTOS @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(pixels.fitted(PHOTOS, (40, 40, 1))[..., 0], luminance, atol=0.1)


def test_random_weights_are_always_the_same(weights):
    model = weights[1]
    drawn = []
    for _ in range(2):
        applications.randomize(model)
        drawn.append(model.get_weights())
    for first, again in zip(*drawn, strict=True):
        np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize(
    ("name", "low", "high"), [("bytes", 0, 255), ("unit", 0, 1), ("symmetric", -1, 1), ("torch", -2.118, 2.249)]
)
def test_a_scaling_maps_black_and_white_to_the_range_of_its_name(name, low, high):
    scaled = pixels.scaling(name, None)(tf.constant([[[[0.0, 0, 0], [255.0, 255, 255]]]]))
    np.testing.assert_allclose(
        [np.asarray(scaled)[..., 0].min(), np.asarray(scaled)[..., 0].max()], [low, high], atol=1e-3
    )


def test_the_features_of_a_whole_network_are_averaged_over_the_image(tmp_path):
    model = whole(tmp_path / "own.keras")
    images = PHOTOS[:, :16, :16]
    features = build(weights=str(tmp_path / "own.keras")).fit(images).transform(images)
    expected = np.asarray(model(images.astype(np.float32))).mean(axis=(1, 2))
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-3)


def test_a_layer_of_a_whole_network_can_be_the_embedding(tmp_path):
    whole(tmp_path / "own.keras")
    settings = {"weights": str(tmp_path / "own.keras")}
    assert build(**settings, layer="conv0").fit(PHOTOS).transform(PHOTOS).shape == (5, 4)
    with pytest.raises(InputError, match="closest: conv"):
        build(**settings, layer="conv9").fit(PHOTOS)


def test_a_savedmodel_gives_the_features_of_the_model_that_it_was_exported_from(tmp_path):
    whole(tmp_path / "own.keras").export(tmp_path / "exported", verbose=False)
    first, second = (build(weights=str(tmp_path / n)).fit(PHOTOS) for n in ("own.keras", "exported"))
    np.testing.assert_allclose(first.transform(PHOTOS), second.transform(PHOTOS), rtol=1e-4, atol=1e-3)
    second.save(tmp_path / "saved")
    np.testing.assert_array_equal(build().load(tmp_path / "saved").transform(PHOTOS), second.transform(PHOTOS))


@pytest.mark.parametrize("kind", ["weights", "whole"])
def test_a_saved_embedder_needs_no_file_but_its_own(weights, kind, tmp_path):
    file = tmp_path / ("gone.weights.h5" if kind == "weights" else "gone.keras")
    if kind == "weights":
        file.write_bytes(weights[0].read_bytes())
    else:
        whole(file)
    embedder = build(weights=str(file), input_size=32 if kind == "weights" else None).fit(PHOTOS)
    embedder.save(tmp_path / "saved")
    file.unlink()
    loaded = build(weights=str(file)).load(tmp_path / "saved")
    np.testing.assert_allclose(loaded.transform(PHOTOS), embedder.transform(PHOTOS), rtol=1e-5)


# Settings


def test_a_folder_of_photographs_gets_the_size_of_the_network_and_centered_features():
    settings = flags.parse(["--dataset=folder", "--embedder=pretrained", "--pretrained_model=xception"])
    assert settings.data.image_size == 299
    assert (settings.embedding.embedding_norm, settings.embedding.embedding_center) == ("centered", 1.0)


def test_a_given_size_and_a_data_set_of_one_size_win():
    assert flags.parse(["--dataset=folder", "--embedder=pretrained", "--image_size=96"]).data.image_size == 96
    assert flags.parse(["--dataset=digits", "--embedder=pretrained"]).data.image_size is None


def test_a_whole_network_says_which_size_it_takes(tmp_path):
    whole(tmp_path / "own.keras", (48, 48, 3))
    argv = ["--dataset=folder", "--embedder=pretrained", f"--pretrained_weights={tmp_path / 'own.keras'}"]
    assert flags.parse(argv).data.image_size == 48


def test_the_key_depends_on_what_a_file_holds_and_not_on_where_it_lies(weights, tmp_path):
    moved, other = tmp_path / "moved.weights.h5", tmp_path / "other.weights.h5"
    moved.write_bytes(weights[0].read_bytes())
    other.write_bytes(weights[0].read_bytes() + b"x")
    files = [str(weights[0]), str(moved), str(other), "random", None]
    first, same, *others = [keys.member("embedders", "pretrained", Options(weights=file)) for file in files]
    assert first == same
    assert len({keys.digest(key) for key in (first, *others)}) == 4


def test_the_list_of_networks_is_what_keras_has():
    built = {entry.build for entry in catalog.NETWORKS.values()}
    assert built == {name for name, value in vars(keras.applications).items() if name[0].isupper() and callable(value)}
    assert all("preprocess_input" in vars(vars(keras.applications)[e.module]) for e in catalog.NETWORKS.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", catalog.NETWORKS)
def test_a_network_has_the_side_numbers_and_megabytes_of_the_list(name):
    entry = catalog.entry(name)
    sides = {(entry.side, entry.side), (None, None)}  # a network may leave its input open
    assert entry.builder()(weights=None).input_shape[1:3] in sides
    model = applications.build(name, None).model
    assert model.output_shape == (None, entry.numbers)
    assert round(model.count_params() * 4 / 1e6) == entry.megabytes
    keras.backend.clear_session()


# Errors


def message(**settings):
    with pytest.raises(InputError) as error:
        build(**settings).fit(PHOTOS)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_unknown_network_is_answered_with_the_closest():
    assert "closest: mobilenet" in message(model="mobilnet_v2")


def test_weights_of_another_network_are_answered_with_the_layer_that_differs(weights):
    for model in ("vgg16", "mobilenet"):
        text = message(model=model, weights=str(weights[0]), input_size=32)
        assert f"does not hold the weights of {model}" in text
        assert "its layer " in text


def test_without_a_network_the_error_names_the_file_to_fetch_and_its_place(monkeypatch, tmp_path):
    def no_network(*args, **kwargs):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", no_network)
    monkeypatch.setattr("keras.src.utils.file_utils.get_file", _failing_get_file)
    text = message(input_size=96)
    assert "https://storage.googleapis.com/" in text
    assert "_no_top.h5 and put it into" in text
    assert "--pretrained_weights" in text


def _failing_get_file(fname, origin, **kwargs):
    raise Exception(f"URL fetch failure on {origin}: None -- [Errno -2] Name or service not known")


def test_a_missing_file_is_named():
    assert "nowhere.weights.h5 does not exist" in message(weights="nowhere.weights.h5")
    assert "nowhere.keras does not exist" in message(weights="nowhere.keras")


def test_a_folder_that_is_no_savedmodel_is_refused(tmp_path):
    assert "without saved_model.pb" in message(weights=str(tmp_path))


def test_a_file_that_is_cut_short_is_named(weights, tmp_path):
    whole(tmp_path / "own.keras")
    for path in (weights[0], tmp_path / "own.keras"):
        cut = tmp_path / f"cut{''.join(path.suffixes)}"
        cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        assert "cut short" in message(weights=str(cut), input_size=32 if cut.suffix == ".h5" else None)


def test_a_network_that_needs_python_code_is_refused(tmp_path):
    @keras.saving.register_keras_serializable("toys", "Toy")
    class Toy(keras.layers.Layer):
        def call(self, x):
            return x

    inputs = keras.Input((8, 8, 3))
    keras.Model(inputs, Toy()(inputs)).save(tmp_path / "toy.keras")
    keras.Model(inputs, keras.layers.Lambda(lambda x: 2 * x)(inputs)).save(tmp_path / "lambda.keras")
    del keras.saving.get_custom_objects()["toys>Toy"]
    for name in ("toy", "lambda"):
        assert "cannot be read by Keras alone" in message(weights=str(tmp_path / f"{name}.keras"))


def test_a_network_of_text_is_refused(tmp_path):
    keras.Sequential([keras.Input((7,)), keras.layers.Dense(2)]).save(tmp_path / "flat.keras")
    assert "must take images" in message(weights=str(tmp_path / "flat.keras"))


def test_settings_that_contradict_each_other_are_refused(tmp_path):
    whole(tmp_path / "own.keras")
    own = str(tmp_path / "own.keras")
    assert "holds a whole network" in message(model="vgg16", weights=own)
    assert "16x16 pixels only" in message(weights=own, input_size=64)
    assert "leave it out" in message(layer="conv0", weights="random")
    assert "choose from bytes" in message(scaling="byte")


# Real weights


@pytest.fixture(scope="module")
def pretrained_folder(data_folder):
    folder = data_folder / "pretrained"
    if not folder.is_dir():
        pytest.skip(f"{folder} does not exist")
    return folder


@pytest.mark.parametrize("file", ["mobilenet_v2_1.0_224.weights.h5", "efficientnet_lite0.keras"])
def test_real_weights_tell_kinds_of_clothes_apart(pretrained_folder, data_folder, file):
    kinds = [sorted((data_folder / "photos/clothing/test" / kind).iterdir())[:6] for kind in ("pants", "hat")]
    photos = np.stack(
        [keras.utils.img_to_array(keras.utils.load_img(p, target_size=(224, 224))) for k in kinds for p in k]
    )
    embedder = embedders.build("pretrained", weights=str(pretrained_folder / file))
    rows = embedder.fit_transform(photos.astype(np.uint8))
    assert rows.shape == (12, 1280)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    cosines = rows @ rows.T
    same = np.equal.outer(np.arange(12) // 6, np.arange(12) // 6)
    assert cosines[same & ~np.eye(12, dtype=bool)].mean() > cosines[~same].mean() + 0.2
