"""What SECURITY.md promises: files from others run no code, and names in them lead nowhere and are escaped."""

import csv
import io
import json
import os
import pickle
import stat
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import cactus_tf as ct
from cactus_tf import datasets, embedders, learners
from cactus_tf.config import commands
from cactus_tf.datasets._io import user_pictures
from cactus_tf.errors import InputError
from cactus_tf.report import page
from cactus_tf.runs import restoring
from cactus_tf.runs.checksums import Checksums
from cactus_tf.utils import arrays, files, sealed, weights

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
SCRIPT = '<img src=x onerror="alert(1)">'


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


@pytest.fixture
def marker(tmp_path):
    """A file that must not be there after the test."""
    path = tmp_path / "code_ran"
    yield path
    assert not path.exists()


def pickled(marker):
    """A .npy file of an object array whose unpickling runs code."""
    file = io.BytesIO()
    np.save(file, np.array([Payload(marker)], object), allow_pickle=True)
    return file.getvalue()


def zipped(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def reseal(folder, name):
    """Records the changed file of a classifier, as somebody who knows the format can."""
    description = json.loads((folder / "classifier.json").read_text())
    description.pop("digest")
    description["files"][name] = files.whole_checksum(folder / name)
    sealed.write(folder / "classifier.json", description)


def change(path, **entries):
    """Changes a sealed description."""
    content = json.loads(path.read_text())
    content.pop("digest")
    sealed.write(path, {**content, **entries})


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A .keras file of a small network."""
    inputs = keras.Input((32, 32, 3))
    path = tmp_path_factory.mktemp("network") / "own.keras"
    keras.Model(inputs, keras.layers.Conv2D(2, 3, activation="relu")(inputs)).save(path)
    return path


@pytest.fixture
def classifier(network, tmp_path):
    """The folder of a classifier with a whole network as its embedder."""
    embedder = embedders.build("pretrained", weights=str(network), norm="centered").fit(IMAGES)
    ct.FewShotClassifier(embedder=embedder).fit(IMAGES, np.arange(8) % 2).save(tmp_path / "classifier")
    assert len(ct.FewShotClassifier.load(tmp_path / "classifier").predict(IMAGES[:2])) == 2
    return tmp_path / "classifier"


def with_config(network, path, edit):
    """A copy of a .keras file with another configuration."""
    with zipfile.ZipFile(network) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    edit(config)
    zipped(path, {**members, "config.json": json.dumps(config)})


def dangerous(kind, marker):
    """An edit of a network's configuration that makes its layer something else."""

    def edit(config):
        layer = config["config"]["layers"][1]
        if kind == "function":
            layer["config"]["activation"] = {
                "class_name": "function", "module": "os", "registered_name": "system", "config": f"touch {marker}",
            }  # fmt: skip
        elif kind == "keras function":
            layer["config"]["activation"] = {
                "class_name": "function", "module": "keras.config", "registered_name": "enable_unsafe_deserialization",
                "config": "enable_unsafe_deserialization",
            }  # fmt: skip
        elif kind == "other module":
            layer |= {"module": "os", "class_name": "DirEntry", "registered_name": None}
        else:
            layer |= {"module": "keras.layers", "class_name": kind, "registered_name": None}

    return edit


@pytest.mark.parametrize("kind", ["function", "keras function", "other module", "Lambda", "TFSMLayer", "StringLookup"])
def test_a_network_whose_file_names_code_or_other_files_is_refused_before_keras_reads_it(
    kind, network, classifier, marker, monkeypatch
):
    monkeypatch.setattr(keras.models, "load_model", lambda *args, **kwargs: marker.touch())
    changed = classifier / "embedder/network.keras"
    with_config(network, changed, dangerous(kind, marker))
    reseal(classifier, "embedder/network.keras")
    for read in (
        lambda: ct.FewShotClassifier.load(classifier),
        lambda: embedders.build("pretrained", weights=str(changed)).fit(IMAGES),
    ):
        with pytest.raises(InputError, match=r"cannot be read by Keras alone|reads other files"):
            read()


def test_a_preset_that_names_code_is_refused(tmp_path):
    config = {"registered_name": "keras_hub>ViTBackbone", "config": {"image_shape": [32, 32, 3]}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "image_converter.json").write_text(json.dumps({"module": "os", "class_name": "system", "config": {}}))
    with pytest.raises(InputError, match="needs the Python code of system"):
        embedders.build("pretrained", weights=str(tmp_path)).fit(IMAGES)


def test_control_characters_in_a_message_do_not_reach_the_terminal(capsys):
    def refuse(argv):
        raise InputError("\x1b[2Jx\nnamed \x9b\u2028y")

    assert commands.guarded(refuse, [], lambda topic: "") == 2
    assert capsys.readouterr().err == "\\x1b[2Jx named \\x9b y\n"


def exported(path, compute):
    """A SavedModel that computes this of images [n, 32, 32, 3]."""
    module = tf.Module()
    module.serve = tf.function(compute, input_signature=[tf.TensorSpec((None, 32, 32, 3), tf.float32)])
    tf.saved_model.save(module, str(path), signatures={"serving_default": module.serve})


@pytest.mark.parametrize("kind", ["write", "read", "print", "checkpoint", "inner function"])
def test_a_savedmodel_that_reads_or_writes_files_is_refused_before_it_is_loaded(kind, tmp_path, marker, monkeypatch):
    @tf.function
    def write(x):
        tf.io.write_file(str(marker), "x")
        return x

    def compute(images):
        features = tf.reduce_mean(images, (1, 2))
        if kind == "write":
            tf.io.write_file(str(marker), "x")
        elif kind == "read":
            features += tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)
        elif kind == "print":
            tf.print("x", output_stream=f"file://{marker}")
        elif kind == "checkpoint":
            tf.raw_ops.SaveV2(prefix=str(marker), tensor_names=["x"], shape_and_slices=[""], tensors=[features])
        else:
            features = tf.cond(tf.reduce_sum(features) > 0, lambda: write(features), lambda: features)
        return {"features": features}

    exported(tmp_path / "model", compute)
    monkeypatch.setattr(tf.saved_model, "load", lambda *args, **kwargs: marker.touch())
    with pytest.raises(InputError, match="does more than compute"):
        embedders.build("pretrained", weights=str(tmp_path / "model")).fit(IMAGES)


def test_a_savedmodel_that_computes_is_read(tmp_path):
    exported(tmp_path / "model", lambda images: {"features": tf.reduce_mean(images, (1, 2))})
    embedder = embedders.build("pretrained", weights=str(tmp_path / "model"), norm="none")
    np.testing.assert_allclose(embedder.fit(IMAGES).transform(IMAGES), IMAGES.mean((1, 2)), rtol=1e-5)


def test_a_lambda_layer_of_a_saved_classifier_does_not_run(classifier, marker):
    inputs = keras.Input((32, 32, 3))

    def run(x):
        marker.touch()
        return x

    path = classifier / "embedder/network.keras"
    keras.Model(inputs, keras.layers.Lambda(run)(inputs)).save(path)
    marker.unlink(missing_ok=True)  # building the network ran it
    reseal(classifier, "embedder/network.keras")
    with pytest.raises(InputError, match="cannot be read by Keras alone"):
        ct.FewShotClassifier.load(classifier)


@pytest.mark.parametrize("name", ["support.npz", "embedder/arrays.npz", "embedder/center.npy"])
def test_pickled_arrays_of_a_saved_classifier_are_refused(name, classifier, marker):
    content = pickled(marker)
    if name.endswith(".npz"):
        zipped(classifier / name, {f"{key}.npy": content for key in ("support", "labels", "arr_0")})
    else:
        (classifier / name).write_bytes(content)
    reseal(classifier, name)
    with pytest.raises(InputError, match=r"pickled objects|damaged"):
        ct.FewShotClassifier.load(classifier)


def test_pickled_arrays_of_embeddings_and_artifacts_are_refused(tmp_path, marker):
    (tmp_path / "train.npy").write_bytes(pickled(marker))
    zipped(tmp_path / "named.npz", {"names.npy": pickled(marker), "embeddings.npy": pickled(marker)})
    for read in (
        lambda: arrays.read_array(tmp_path / "train.npy", mapped=True),
        lambda: arrays.read_archive(tmp_path / "named.npz"),
        lambda: embedders.build("precomputed", dir=str(tmp_path)).fit(IMAGES, names=np.array([b"a.png"] * 8)),
        lambda: embedders.build("precomputed", file=str(tmp_path / "named.npz")).fit(
            IMAGES, names=np.array([b"a"] * 8)
        ),
    ):
        with pytest.raises(InputError, match="pickled"):
            read()


def test_a_whole_pickle_in_place_of_an_array_is_refused(tmp_path, marker):
    (tmp_path / "train.npy").write_bytes(pickle.dumps(Payload(marker)))
    with pytest.raises(InputError, match=r"not a \.npy file"):
        arrays.read_array(tmp_path / "train.npy")


@pytest.mark.parametrize("name", ["../out.png", "a/../../out.png", "/tmp/out.png", "..\\out.png", "C:\\out.png"])
def test_an_archive_with_a_path_that_leaves_its_folder_is_refused(name, tmp_path):
    zipped(tmp_path / "pictures.zip", {"a/1.png": b"x", name: b"x"})
    decode = datasets.picture_decoder("folder", (8, 8, 1))
    with pytest.raises(InputError, match="a path that leaves its folder"):
        user_pictures.read_classes("--support", tmp_path / "pictures.zip", decode, (8, 8, 1))


def test_a_link_in_an_archive_becomes_a_file_that_is_no_picture(tmp_path):
    secret = tmp_path / "secret.png"
    Image.new("L", (8, 8), 77).save(secret)
    link = zipfile.ZipInfo("a/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    picture = io.BytesIO()
    Image.new("L", (8, 8)).save(picture, "PNG")
    with zipfile.ZipFile(tmp_path / "pictures.zip", "w") as archive:
        archive.writestr(link, os.fspath(secret))
        archive.writestr("a/1.png", picture.getvalue())
    decode = datasets.picture_decoder("folder", (8, 8, 1))
    read = user_pictures.read_classes("--support", tmp_path / "pictures.zip", decode, (8, 8, 1))
    assert read.files.tolist() == ["a/1.png"] and not read.images.any()
    assert [skipped.name for skipped in read.skipped] == ["a/link.png"]


def test_an_archive_that_unpacks_to_much_more_than_its_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "_UNPACKED", 1 << 20)
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("arr_0.npy", "w") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (1 << 22,)}
        np.lib.format.write_array_header_1_0(file, header)
        file.write(bytes(1 << 22))
    with pytest.raises(InputError, match="bytes unpack to"):
        arrays.read_archive(path)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../x", "C:\\x", "..\\x"])
def test_file_names_in_a_classifier_cannot_leave_its_folder(name, classifier, monkeypatch):
    opened = []
    monkeypatch.setattr(files, "whole_checksum", lambda path: opened.append(path) or 0)
    change(classifier / "classifier.json", files={name: 0})
    with pytest.raises(InputError, match="outside of this folder"):
        ct.FewShotClassifier.load(classifier)
    assert not opened


@pytest.mark.parametrize("part", ["data", "embedder", "embeddings"])
@pytest.mark.parametrize("name", ["../elsewhere", "/etc", "a\\..\\b", "~/x/.."])
def test_folders_of_artifacts_in_a_run_cannot_leave_the_folder_of_artifacts(part, name, descriptions):
    change(descriptions / "inputs.json", **{part: name})
    with pytest.raises(InputError, match="is not the name of a folder in artifacts_dir"):
        restoring.restore(descriptions, "protonets")


@pytest.fixture
def descriptions(named_run, tmp_path):
    """The folder of a run's descriptions, to be changed."""
    for name in ("config.json", "inputs.json"):
        (tmp_path / name).write_bytes((named_run / "run" / name).read_bytes())
    return tmp_path


def test_names_in_checksums_cannot_leave_their_folder(tmp_path):
    (tmp_path / "artifact").mkdir()
    (tmp_path / "secret").write_bytes(b"x")
    recorded = {"../secret": files.checksum(tmp_path / "secret")}
    files.write_json(tmp_path / "artifact/checksums.json", recorded)
    assert Checksums(tmp_path / "artifact").damaged() == ["../secret"]


def test_a_plugin_folder_that_a_run_names_is_not_imported(descriptions, marker, plugin_folder):
    (plugin_folder / "toy.py").write_text(f"import pathlib\npathlib.Path({os.fspath(marker)!r}).touch()\n")
    content = json.loads((descriptions / "config.json").read_text())
    content["config"]["run"]["plugins"] = os.fspath(plugin_folder)
    content["identity"]["plugins"] = {"learners/toy": "0"}
    change(descriptions / "config.json", **{name: content[name] for name in ("config", "identity")})
    with pytest.raises(InputError, match=r"add --plugins=.*it runs the code there"):
        restoring.restore(descriptions, "protonets")


@pytest.mark.parametrize("kind", ["external link", "soft link", "external array"])
def test_weights_whose_numbers_lie_in_another_file_are_refused(kind, tmp_path):
    variables = [keras.Variable(np.zeros((2, 2), np.float32))]
    path = tmp_path / "learner.weights.h5"
    weights.save(variables, path)
    (tmp_path / "secret").write_bytes(bytes(range(16)))
    with h5py.File(path, "r+") as file:
        name = []
        file.visititems(lambda own, part: name.append(own) if isinstance(part, h5py.Dataset) else None)
        del file[name[0]]
        if kind == "external array":
            file.create_dataset(name[0], (2, 2), "f4", external=[(os.fspath(tmp_path / "secret"), 0, 16)])
        else:
            file[name[0]] = h5py.ExternalLink("secret", "/x") if kind == "external link" else h5py.SoftLink("/x")
    with pytest.raises(InputError, match="another file"):
        weights.load(variables, path)


def test_a_learner_that_a_classifier_names_must_be_one_of_the_package(tmp_path):
    learner = learners.build("protonets", image_shape=(8, 8, 1), filters=2, backbone="mlp")
    ct.FewShotClassifier(learner).save(tmp_path / "classifier")
    for name in ("os", "../x", "_logistic", "cactus_tf.main"):
        change(tmp_path / "classifier/classifier.json", learner=name)
        with pytest.raises(InputError, match="unknown member"):
            ct.FewShotClassifier.load(tmp_path / "classifier")


def test_every_text_of_a_page_is_escaped():
    picture = page.Picture(b"", "png", 10, SCRIPT, SCRIPT)
    kind = page.Kind("#000", True, page.Link(SCRIPT, "clusters.html"))
    scatter = page.Scatter([SCRIPT], [page.Point([(0, 0)], 0, SCRIPT, "")], [kind], SCRIPT, picture, 1, 8, 8)
    table = page.Table([SCRIPT], [[SCRIPT], [picture]])
    section = page.Section(SCRIPT, [SCRIPT], [table], [picture], SCRIPT, [page.Link(SCRIPT, "x")], scatter)
    html = page.render(SCRIPT, SCRIPT, [section])
    assert "onerror" in html and "<img src=x" not in html and 'onerror="' not in html


@pytest.fixture(scope="module")
def named_run(tmp_path_factory):
    """A run on pictures in folders whose names are HTML, with its pages."""
    from cactus_tf.main import main

    place = tmp_path_factory.mktemp("named")
    rng = np.random.default_rng(0)
    for split, classes in (("train", 1), ("test", 3)):
        for c in range(classes):
            folder = place / "<b>data" / split / f"{c}{SCRIPT}"
            folder.mkdir(parents=True)
            for i in range(24 if split == "train" else 4):
                Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(folder / f"{SCRIPT}{i}.png")
    command = ["--dataset=folder", f"--data_dir={place / '<b>data'}", "--image_size=8", "--algo=protonets"]
    short = ["--embedder=pixels", "--partitions=1", "--clusters=4", "--way=2", "--query=1", "--steps=1", "--filters=2"]
    tasks = ["--eval_ways=2", "--eval_shots=1", "--eval_query=1", "--eval_episodes=2", "--backbone=mlp", "--quiet"]
    places = [f"--workdir={place / 'run'}", f"--artifacts_dir={place / 'artifacts'}"]
    assert main([*command, *short, *tasks, *places]) == 0
    return place


def test_names_of_folders_classes_and_files_are_escaped_in_the_pages_of_a_run(named_run):
    pages = sorted((named_run / "run").glob("*.html"))
    assert {path.name for path in pages} >= {"report.html"}
    for path in pages:
        html = path.read_text()
        assert "<img src=x" not in html and "<b>data" not in html and "<script" not in html, path.name
    assert "&lt;b&gt;data" in (named_run / "run/report.html").read_text()


def test_names_in_csv_files_stay_one_cell(named_run, tmp_path):
    from cactus_tf.predict import main

    out, pictures = tmp_path / "out", named_run / "<b>data/test"
    names = [f"{folder.name}/{path.name}" for folder in pictures.iterdir() for path in folder.iterdir()]
    arguments = [
        f"--run={named_run / 'run'}",
        f"--support={pictures}",
        f"--query={pictures}",
        f"--out={out}",
        "--quiet",
    ]
    assert main(arguments) == 0
    with open(out / "predictions.csv", newline="") as file:
        assert sorted(row["file"] for row in csv.DictReader(file)) == sorted(names)
