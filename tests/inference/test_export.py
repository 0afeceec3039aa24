"""The command that exports a run: what is exported answers as the run does, without this package."""

import errno
import importlib.util
import json
import logging
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import FewShotClassifier, datasets, learners
from cactus_tf.errors import InputError, RunError
from cactus_tf.export import main
from cactus_tf.inference import exporting, formats, signatures
from cactus_tf.runs import restoring
from cactus_tf.utils import sealed

ROOT = Path(__file__).parents[2]
LEARNERS = ["protonets", "maml", "nearest_neighbours"]
LABELS = np.array([2, 0, 1, 1, 0, 2, 0, 0], np.int32)  # any order, unequal numbers, fewer classes than MAML's head has
WITHOUT_THE_PACKAGE = """
import sys
sys.modules["cactus_tf"] = None
import numpy as np
import tensorflow as tf

place, *names = sys.argv[1:]
given = dict(np.load(f"{place}/given.npz"))
for name in names:
    signatures = tf.saved_model.load(f"{place}/{name}").signatures
    task = {key: tf.constant(given[key]) for key in ("support_images", "support_labels", "query_images")}
    answers = {**signatures["classify"](**task), **signatures["embed"](images=tf.constant(given["query_images"]))}
    np.savez(f"{place}/{name}.npz", **answers)
"""


@pytest.fixture(scope="module")
def task():
    """Support images, labels 0..2 and query images of three digits."""
    data = datasets.load("digits").test
    support = np.stack([data.images[data.partitions[0].cluster(label)[i]] for i, label in enumerate(LABELS)])
    return support, LABELS, data.images[5:150:10]


@pytest.fixture(scope="module")
def exports(digits_run, tmp_path_factory):
    """A folder with a SavedModel of every learner, and the embedder for TFLite."""
    place = tmp_path_factory.mktemp("exports")
    for name in LEARNERS:
        exporting.export(digits_run, place / name, algo=name)
    exporting.export(digits_run, place / "tflite", format="tflite", algo="maml")
    return place


@pytest.fixture(scope="module")
def elsewhere(exports, task):
    """What the SavedModels answer in a process that cannot import this package, by name."""
    np.savez(exports / "given.npz", support_images=task[0], support_labels=task[1], query_images=task[2])
    subprocess.run([sys.executable, "-c", WITHOUT_THE_PACKAGE, str(exports), *LEARNERS], check=True, cwd=exports)
    return {name: dict(np.load(exports / f"{name}.npz")) for name in LEARNERS}


@pytest.fixture
def copy(digits_run, tmp_path):
    """A copy of the run that does not find its artifacts."""
    folder = tmp_path / "digits"
    shutil.copytree(digits_run, folder)
    inputs = json.loads((folder / "inputs.json").read_text())
    del inputs["digest"]
    (folder / "inputs.json").write_text(json.dumps({**inputs, "data": "data-gone", "embedder": "embedder-gone"}))
    return folder


def ask(place, name, function, *arguments):
    """What a function of a SavedModel answers."""
    model = tf.saved_model.load(str(place / name))  # its functions are nothing without it
    return getattr(model, function)(*arguments)


# What it answers


@pytest.mark.parametrize("name", LEARNERS)
def test_without_the_package_a_savedmodel_answers_as_the_classifier_does(name, elsewhere, digits_run, task):
    support, labels, query = task
    expected = FewShotClassifier.from_run(digits_run, algo=name).fit(support, labels).predict_proba(query)
    assert elsewhere[name]["probabilities"].shape == (len(query), 3)
    np.testing.assert_allclose(elsewhere[name]["probabilities"], expected, rtol=1e-3, atol=1e-5)


def test_without_the_package_embed_gives_the_embeddings_of_the_run_s_embedder(elsewhere, digits_run, task):
    expected = restoring.restore_embedder(digits_run).transform(task[2])
    for name in LEARNERS:
        np.testing.assert_allclose(elsewhere[name]["embeddings"], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LEARNERS)
def test_a_query_gets_the_answer_that_it_gets_in_company(name, exports, elsewhere, task):
    alone = ask(exports, name, "classify", *task[:2], task[2][3:4])["probabilities"]
    np.testing.assert_allclose(alone[0], elsewhere[name]["probabilities"][3], rtol=1e-3, atol=1e-5)


def test_tflite_embeds_any_number_of_images_as_the_run_s_embedder(exports, digits_run, task):
    embed = formats.read_tflite(exports / "tflite")["embed"]
    embedder = restoring.restore_embedder(digits_run)
    for images in (task[2], task[2][:1]):
        np.testing.assert_allclose(embed(images=images)["embeddings"], embedder.transform(images), rtol=1e-4, atol=1e-5)


def test_onnx_embeds_any_number_of_images_as_the_run_s_embedder(digits_run, task, tmp_path):
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    exporting.export(digits_run, tmp_path / "onnx", format="onnx", algo="maml")
    session = onnxruntime.InferenceSession(str(tmp_path / "onnx" / "embed.onnx"))
    embedder = restoring.restore_embedder(digits_run)
    for images in (task[2], task[2][:1]):
        (embeddings,) = session.run(["embeddings"], {"images": images})
        np.testing.assert_allclose(embeddings, embedder.transform(images), rtol=1e-4, atol=1e-5)


def test_rows_that_are_features_are_exported_as_such(digits_run, monkeypatch, tmp_path):
    rows = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    learner = learners.build("nearest_neighbours")
    restored = restoring.restore(digits_run, "nearest_neighbours")._replace(
        learner=learner, image_shape=(6,), embedder=None
    )
    monkeypatch.setattr(restoring, "restore", lambda run, algo: restored)
    monkeypatch.setattr(restoring, "restore_embedder", lambda run: None)
    monkeypatch.setattr(restoring, "training_images", lambda run: rows)
    exporting.export("run", tmp_path / "features")
    outputs = ask(tmp_path, "features", "classify", rows[:6], [0, 1, 2, 0, 1, 2], rows[:6])
    np.testing.assert_array_equal(outputs["logits"].numpy().argmax(1), [0, 1, 2, 0, 1, 2])


# What it refuses


def test_more_classes_than_the_head_has_are_an_error_that_names_it(exports, task):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"the head has 4 outputs, so labels must be in 0\.\.3"):
        ask(exports, "maml", "classify", task[0], [4, 0, 1, 1, 0, 2, 0, 3], task[2])


@pytest.mark.parametrize(
    "labels, message",
    [
        (LABELS[1:], "support_images and support_labels differ in number"),
        (-LABELS, r"support_labels must be in 0..way-1"),
    ],
    ids=["too few", "negative"],
)
def test_labels_that_cannot_be_are_an_error_that_says_so(labels, message, exports, task):
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask(exports, "protonets", "classify", task[0], labels, task[2])


def test_fewer_support_images_than_voters_are_an_error_that_counts_them():
    learner = learners.build("nearest_neighbours", k=3)
    with pytest.raises(tf.errors.InvalidArgumentError, match="3 neighbors vote, and the support set has fewer"):
        learner.classify_in_graph(np.zeros((2, 4)), [0, 1], np.zeros((1, 4)), 2)


def test_a_learner_that_is_scikit_learn_s_is_answered_with_those_that_can_be_exported(
    digits_run, monkeypatch, tmp_path
):
    restored = restoring.restore(digits_run, "nearest_neighbours")
    other = restored._replace(name="logistic_regression", learner=learners.build("logistic_regression"))
    monkeypatch.setattr(restoring, "restore", lambda run, algo: other)
    with pytest.raises(InputError, match=r"logistic_regression cannot be exported, .*choose --algo from anil, maml"):
        exporting.export(digits_run, tmp_path / "out")


def test_embeddings_that_tensorflow_does_not_compute_are_no_reason_for_a_broken_export(
    digits_run, monkeypatch, tmp_path
):
    restored = restoring.restore(digits_run, "nearest_neighbours")._replace(embedder=object())
    monkeypatch.setattr(restoring, "restore", lambda run, algo: restored)
    with pytest.raises(InputError, match="those of pixels are not made by a method encode"):
        exporting.export(digits_run, tmp_path / "out")


def test_those_that_the_message_names_are_those_that_can_be_exported():
    from cactus_tf import plugins
    from cactus_tf.contracts import GraphLearner

    settings = {"image_shape": (28, 28, 1), "filters": 4, "embeddings": np.zeros((9, 4), np.float32)}
    built = {name: learners.build(name, **settings) for name in plugins.names("learners")}
    assert set(signatures.exportable_learners()) == {
        name for name, learner in built.items() if isinstance(learner, GraphLearner)
    }


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--out=OUT"], "--run missing"),
        (["--run=RUN"], "--out missing"),
        (["--run=nowhere", "--out=OUT"], "--run=nowhere: there is no such folder or file"),
        (["--run=RUN", "--out=OUT"], "several learners: choose one with algo"),
        (["--run=RUN", "--out=OUT", "--algo=reptile"], "has no learner reptile"),
        (
            ["--run=RUN", "--out=OUT", "--format=h5"],
            "--format=h5: unknown format; choose from savedmodel, tfl",
        ),
        (["--run=RUN", "--out=RUN", "--overwrite"], "exists and is not an export"),
        (["--run=RUN", "--out=OUT", "more"], "unexpected argument 'more'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(flags, message, digits_run, tmp_path, capfd):
    places = {"RUN": str(digits_run), "OUT": str(tmp_path / "out")}
    code = main([flag.replace("RUN", places["RUN"]).replace("OUT", places["OUT"]) for flag in flags])
    error = capfd.readouterr().err
    assert (code, error.count("\n")) == (2, 1)
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_format_whose_package_is_missing_says_what_to_install(digits_run, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'tf2onnx and onnxruntime: pip install "cactus-tf\[onnx\]"'):
        exporting.export(digits_run, tmp_path / "out", format="onnx")


def test_an_operation_that_tflite_lacks_is_named(tmp_path):
    def windows(images):
        boxes = tf.tile([[0.0, 0.0, 0.5, 0.5]], (tf.shape(images)[0], 1))
        return {"embeddings": tf.image.crop_and_resize(images, boxes, tf.range(tf.shape(images)[0]), (2, 2))}

    function = tf.function(windows, input_signature=[tf.TensorSpec((None, 4, 4, 1), tf.float32, "images")])
    with pytest.raises(RunError, match="TFLite cannot hold this embedder, it has no CropAndResize: take --format="):
        formats.write_tflite({"embed": function}, tmp_path)


# What it leaves


def test_the_description_says_what_is_there(exports):
    there = json.loads((exports / "maml" / "export.json").read_text())
    assert (there["learner"], there["steps"], there["largest_way"]) == ("maml", 30, 4)
    assert (there["embeds"], there["dim"], there["image_shape"]) == ("the embedder pixels", 8, [28, 28, 1])
    assert set(there["signatures"]) == set(there["greatest_difference"]) == {"classify", "embed"}
    assert there["signatures"]["embed"]["inputs"] == {"images": ["uint8", [None, 28, 28, 1]]}
    assert "tensorflow" in there["package_versions"]


def test_what_answers_otherwise_than_the_run_is_not_left(digits_run, monkeypatch, tmp_path):
    monkeypatch.setattr(exporting, "TOLERANCE", -1)
    with pytest.raises(RunError, match="classify as exported differs from the run"):
        exporting.export(digits_run, tmp_path / "out", algo="nearest_neighbours")
    assert not list(tmp_path.iterdir())


def test_an_export_is_replaced_only_if_one_says_so(exports, digits_run, tmp_path, capsys):
    shutil.copytree(exports / "maml", tmp_path / "out")
    arguments = [f"--run={digits_run}", f"--out={tmp_path / 'out'}", "--algo=nearest_neighbours"]
    assert main(arguments) == 2
    assert "add --overwrite" in capsys.readouterr().err
    assert json.loads((tmp_path / "out" / "export.json").read_text())["learner"] == "maml"
    assert main([*arguments, "--overwrite"]) == 0
    assert json.loads((tmp_path / "out" / "export.json").read_text())["learner"] == "nearest_neighbours"
    output = capsys.readouterr().out
    assert re.search(r"^classify +nearest_neighbours, .* greatest difference from the run 0.0e\+00$", output, re.M)
    assert f"written     {tmp_path / 'out'}" in output


def test_ctrl_c_leaves_the_earlier_export(exports, digits_run, tmp_path, monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    shutil.copytree(exports / "tflite", tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setattr(exporting, "_compare", stopped)
    arguments = [f"--run={digits_run}", f"--out={tmp_path / 'out'}", "--algo=nearest_neighbours", "--overwrite"]
    assert main(arguments) == 130
    assert capsys.readouterr().err == "stopped; nothing was written\n"
    assert sorted(tmp_path.rglob("*")) == before


def test_where_the_new_export_cannot_be_put_in_place_the_earlier_one_stays(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "export.json").write_text("earlier")
    with pytest.raises(FileNotFoundError):
        exporting._put(tmp_path / "gone.tmp", tmp_path / "out")
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["out", "out/export.json"]


# What it says


@pytest.fixture
def warned(monkeypatch):
    """What an export compares, it warns of."""
    compare = exporting._compare

    def compared(*given):
        logging.getLogger("cactus_tf.any").warning("something is odd")
        return compare(*given)

    monkeypatch.setattr(exporting, "_compare", compared)


def test_each_stage_is_a_line_and_warnings_are_seen(warned, digits_run, tmp_path, capfd):
    assert main([f"--run={digits_run}", f"--out={tmp_path / 'out'}", "--algo=nearest_neighbours"]) == 0
    output, noise = capfd.readouterr()
    stages = [
        f"restore: nearest_neighbours of {digits_run}, 0 steps",
        "write: classify and embed, as savedmodel",
        "compare: the written model with the run",
        "something is odd",
    ]
    assert output.splitlines()[:4] == stages
    assert noise == ""


def test_of_tflite_s_own_notes_and_of_quiet_ones_there_is_nothing_to_see(digits_run, tmp_path):
    arguments = [f"--run={digits_run}", f"--out={tmp_path / 'out'}", "--algo=maml", "--format=tflite", "--quiet"]
    done = subprocess.run([sys.executable, "-m", "cactus_tf.export", *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_debug_raises_the_level_of_the_log(digits_run, tmp_path):
    assert main([f"--run={digits_run}", f"--out={tmp_path / 'out'}", "--algo=reptile", "--debug"]) == 2
    assert logging.getLogger("cactus_tf").level == logging.DEBUG


@pytest.fixture
def without_embedder(digits_run, monkeypatch):
    """The run, as if it had used no embedder."""
    monkeypatch.setattr(restoring, "restore_embedder", lambda run: None)
    return digits_run


def test_where_the_run_used_no_embedder_embed_gives_the_features_of_protonets(without_embedder, task, tmp_path):
    exported = exporting.export(without_embedder, tmp_path / "out", algo="protonets")
    assert exported.description["embeds"] == "the features of protonets"
    expected = restoring.restore(without_embedder, "protonets").learner.features(task[2])
    embeddings = ask(tmp_path, "out", "embed", task[2])["embeddings"]
    np.testing.assert_allclose(embeddings, expected, rtol=1e-4, atol=1e-5)


def test_where_nothing_embeds_that_is_said(without_embedder, tmp_path):
    exported = exporting.export(without_embedder, tmp_path / "out", algo="maml")
    assert list(exported.description["signatures"]) == ["classify"]
    assert "embed       omitted: the run used no embedder" in exporting.summary(exported)
    with pytest.raises(InputError, match="has no embedder to export"):
        exporting.export(without_embedder, tmp_path / "other", format="tflite", algo="maml")


def test_where_the_embedder_is_gone_nothing_is_exported_in_its_place(copy, tmp_path):
    with pytest.raises(InputError, match=r"the pixels embedder of this run is not at .*: restore the artifacts folder"):
        exporting.export(copy, tmp_path / "out", algo="protonets")


@pytest.mark.parametrize("name", ["arrays.npz", "embedder.json"])
def test_where_the_embedder_is_damaged_nothing_is_exported_in_its_place(name, digits_run, tmp_path):
    shutil.copytree(digits_run.parent.parent, tmp_path, dirs_exist_ok=True)
    inputs = json.loads((digits_run / "inputs.json").read_text())
    sealed.write(tmp_path / "runs" / "digits" / "inputs.json", {**inputs, "artifacts_dir": str(tmp_path / "artifacts")})
    (path,) = tmp_path.glob(f"artifacts/embedder-*/model/{name}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"{name} is missing or damaged: restore the artifacts folder"):
        exporting.export(tmp_path / "runs" / "digits", tmp_path / "out", algo="protonets")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        tf.errors.ResourceExhaustedError(None, None, "{{function_node x}} a/b; No space left on device\nmore\nlines"),
    ],
    ids=["Python's", "TensorFlow's"],
)
def test_a_full_disk_is_one_line(error, digits_run, tmp_path, monkeypatch, capsys):
    def full(functions, folder):
        raise error

    monkeypatch.setitem(formats.FORMATS, "savedmodel", formats.FORMATS["savedmodel"]._replace(write=full))
    arguments = [f"--run={digits_run}", f"--out={tmp_path / 'out'}", "--algo=protonets", "--quiet"]
    assert main(arguments) == 1
    assert capsys.readouterr().err == (
        f"cannot write {tmp_path / 'out'} (No space left on device): free some space, or choose another --out\n"
    )
    assert not list(tmp_path.iterdir())


EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "export.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["savedmodel", "tflite"])
def test_the_examples_of_the_documentation_run(example, exports, tmp_path, monkeypatch, capsys):
    if "ai_edge_litert" in example:
        pytest.importorskip("ai_edge_litert")
    shutil.copytree(exports / "protonets", tmp_path / "exported")
    shutil.copytree(exports / "tflite", tmp_path / "exported-tflite")
    monkeypatch.chdir(tmp_path)
    exec(example, {})
    assert capsys.readouterr().out
