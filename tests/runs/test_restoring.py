"""A run's learner, embedder and configuration are found again, or the answer says what is missing."""

import json
import shutil

import numpy as np
import pytest

from cactus_tf import datasets
from cactus_tf.config import flags
from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import evaluate
from cactus_tf.runs.restoring import read_settings, restore


@pytest.fixture
def copy(digits_run, tmp_path):
    """A copy of the run and its artifacts, to break."""
    shutil.copytree(digits_run.parent.parent, tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs" / "digits"


def change(path, update):
    """Changes a file as a release without digests would have written it."""
    there = json.loads(path.read_text())
    there.pop("digest", None)
    update(there)
    path.write_text(json.dumps(there))


def test_the_restored_configuration_is_the_resolved_command_line():
    import dataclasses

    from cactus_tf.runs.restoring import _settings

    config = flags.parse(["--algo=protonets,scratch,nearest_neighbours", "--eval_ways=2,3", "--nearest_neighbours_k=3"])
    assert _settings(json.loads(json.dumps(dataclasses.asdict(config)))) == config


@pytest.mark.parametrize("algo", ["protonets", "maml"])
def test_a_restored_learner_has_the_weights_of_the_newest_checkpoint(digits_run, algo):
    import tensorflow as tf

    restored = restore(digits_run, algo)
    assert (restored.name, restored.step, restored.image_shape) == (algo, 30, (28, 28, 1))
    reader = tf.train.load_checkpoint(str(digits_run / algo / "checkpoints" / "step-30"))
    for i, variable in enumerate(restored.learner.variables):
        np.testing.assert_array_equal(variable, reader.get_tensor(f"variables/{i}/.ATTRIBUTES/VARIABLE_VALUE"))


def test_a_learner_that_reads_embeddings_is_restored_with_its_embedder(digits_run):
    restored = restore(digits_run, "nearest_neighbours")
    images = datasets.load("digits").test
    (kept,) = (digits_run.parent.parent / "artifacts").glob("embeddings-*/train.npy")
    assert restored.embedder.transform(images.images).shape[1] == np.load(kept).shape[1] == 8
    episodes = Episodes(restored.embedder.transform(images.images), images.partitions, way=4, shot=1, query=5)
    assert evaluate(restored.learner, episodes, 20).mean > 0.4  # chance is 0.25


def test_the_only_meta_trained_learner_is_the_default(copy):
    def forget(config):
        config["config"]["run"]["algo"].remove("maml")
        del config["config"]["learners"]["maml"], config["config"]["options"]["maml"]

    change(copy / "config.json", forget)
    assert restore(copy).name == "protonets"


def test_with_several_learners_the_flag_must_name_one(digits_run):
    with pytest.raises(InputError, match="several learners: choose one with algo, from protonets, maml"):
        restore(digits_run)


def test_the_error_about_an_unknown_learner_lists_those_of_the_run(digits_run):
    with pytest.raises(InputError, match="no learner reptile; choose from protonets, maml, nearest_neighbours"):
        restore(digits_run, "reptile")


def test_a_folder_that_is_not_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is not a run: it has no config.json"):
        restore(tmp_path)


def test_a_run_whose_learner_was_never_trained_is_refused(copy):
    shutil.rmtree(copy / "maml" / "checkpoints")
    with pytest.raises(InputError, match=r"maml of .* \(it was never trained\); rerun"):
        restore(copy, "maml")


def test_a_run_all_of_whose_checkpoints_are_damaged_is_not_called_untrained(copy):
    for path in (copy / "maml" / "checkpoints").glob("step-*.data*"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match=r"no readable checkpoint \(all are damaged\); rerun the run's command"):
        restore(copy, "maml")


def test_a_run_that_ended_before_its_training_is_refused(copy):
    (copy / "inputs.json").unlink()
    with pytest.raises(InputError, match=r"has no inputs\.json: it was never trained, or lost the file"):
        restore(copy, "maml")


@pytest.mark.parametrize(
    "update",
    [
        lambda there: there["config"]["run"].update(new_setting=1),
        lambda there: there["config"]["options"].update(no_such_member={}),
        lambda there: there.pop("config"),
    ],
    ids=["a new setting", "an unknown member", "no configuration"],
)
def test_the_error_about_a_configuration_of_another_version_names_that_version(copy, update):
    change(copy / "config.json", update)
    with pytest.raises(InputError, match=r"config.json cannot be read .* cactus_tf .* wrote it"):
        read_settings(copy)


def test_a_damaged_checkpoint_falls_back_to_the_previous_one(copy):
    folder = copy / "maml" / "checkpoints"
    for file in list(folder.glob("step-30.*")):
        shutil.copy(file, folder / file.name.replace("step-30", "step-90"))
    (folder / "step-90.index").write_bytes(b"damage")
    assert restore(copy, "maml").step == 30


def test_a_checkpoint_of_another_network_is_refused(copy):
    change(copy / "config.json", lambda there: there["config"]["learners"]["maml"].update(filters=5))
    with pytest.raises(InputError, match="belongs to another network"):
        restore(copy, "maml")


def test_images_of_another_shape_than_those_that_the_run_learned_from_are_refused(copy):
    change(copy / "inputs.json", lambda inputs: inputs.update(image_shape=[28, 1024, 1]))
    with pytest.raises(
        InputError, match=r"says that images are of shape \[28, 1024, 1\], and those at .* \[28, 28, 1\]"
    ):
        restore(copy, "protonets")


def test_a_run_that_was_moved_with_its_artifacts_is_restored(copy, digits_run, tmp_path):
    left = str(digits_run.parent.parent / "artifacts")
    change(copy / "config.json", lambda there: there["config"]["run"].update(artifacts_dir="artifacts"))
    change(copy / "inputs.json", lambda there: there.update(artifacts_dir=left + "-gone"))
    assert restore(copy, "nearest_neighbours").embedder is not None


def test_the_error_about_a_missing_embedder_names_the_expected_folder(copy, tmp_path):
    change(
        copy / "inputs.json", lambda there: there.update(artifacts_dir=str(tmp_path / "gone"), embedder="embedder-0")
    )
    with pytest.raises(InputError, match=r"pixels embedder of this run is not at .*embedder-0/model"):
        restore(copy, "nearest_neighbours")
    assert restore(copy, "protonets").embedder is None  # which needs none


HUGE = 10**12


@pytest.mark.parametrize(
    "update",
    [
        lambda inputs: inputs.update(image_shape="28"),
        lambda inputs: inputs.update(image_shape=[HUGE, HUGE, 1]),
        lambda inputs: inputs.update(image_shape=[28, 28.5, 1]),
        lambda inputs: inputs.update(image_shape=[-1, 28, 1]),
        lambda inputs: inputs.update(artifacts_dir=3),
        lambda inputs: inputs.update(data=None),
        lambda inputs: inputs.update(embedder=[]),
        lambda inputs: inputs.update(clusters="many"),
        lambda inputs: inputs.update(eval_ways=5),
        lambda inputs: inputs.pop("image_shape"),
    ],
)
def test_inputs_of_another_type_or_size_are_one_line(copy, update):
    change(copy / "inputs.json", update)
    with pytest.raises(InputError, match=r"inputs\.json is damaged \(.*\): rerun the run's command"):
        restore(copy, "protonets")


@pytest.mark.parametrize(
    "update",
    [
        lambda config: config["learners"]["protonets"].update(filters="many"),
        lambda config: config["learners"]["protonets"].update(filters=HUGE),
        lambda config: config["learners"]["protonets"].update(filters=-1),
        lambda config: config["learners"]["protonets"].update(norm=3),
        lambda config: config["learners"].update(protonets=[]),
        lambda config: config.update(learners="protonets"),
        lambda config: config.update(run=None),
        lambda config: config["run"].update(algo="protonets"),
        lambda config: config["run"].update(seed=HUGE**3),
        lambda config: config.update(options=3),
        lambda config: config["options"].update(protonets={"legacy_gain": "x"}),
    ],
)
def test_settings_of_another_type_or_size_are_one_line(copy, update):
    change(copy / "config.json", lambda there: update(there["config"]))
    with pytest.raises(InputError, match=r"config\.json") as caught:
        restore(copy, "protonets")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["config.json", "inputs.json"])
def test_a_changed_byte_in_what_a_run_left_is_noticed(copy, name):
    text = (copy / name).read_text()
    (copy / name).write_text(text.replace("28" if name == "inputs.json" else '"k": 1', "29", 1))
    with pytest.raises(InputError, match=rf"{name} .*damaged|cannot be read"):
        restore(copy, "nearest_neighbours")


def test_a_run_with_a_norm_is_restored_with_it_and_shares_the_embedder_of_other_norms(tmp_path):
    from cactus_tf.main import main

    places = [f"--artifacts_dir={tmp_path / 'artifacts'}", "--quiet", "--stage=train"]
    argv = ["--algo=nearest_neighbours", "--embedder=pixels", "--pixels_dims=8", *places]
    assert main([*argv, f"--workdir={tmp_path / 'plain'}"]) == 0
    norm = ["--embedding_norm=centered", "--embedding_center=0.5"]
    assert main([*argv, *norm, f"--workdir={tmp_path / 'centered'}"]) == 0
    images = datasets.load("digits").test.images
    plain, centered = (restore(tmp_path / name).embedder for name in ("plain", "centered"))
    z = plain.transform(images) - 0.5 * plain.transform(datasets.load("digits").train.images).mean(axis=0)
    expected = z / np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(centered.transform(images), expected, atol=1e-5)
    assert len(list((tmp_path / "artifacts").glob("embedder-*"))) == 1
    stored = [np.load(path) for path in (tmp_path / "artifacts").glob("embeddings-*/test.npy")]
    assert any(np.allclose(rows, expected, atol=1e-5) for rows in stored)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [0, 1])
def test_a_map_that_started_as_principal_components_is_restored_and_once_trained_without_embeddings(tmp_path, steps):
    from cactus_tf.main import main

    places = [f"--artifacts_dir={tmp_path / 'artifacts'}", f"--workdir={tmp_path / 'run'}", "--quiet", "--stage=train"]
    adapter = ["--on_embeddings", "--backbone=linear", "--filters=3", "--protonets_start=pca", f"--steps={steps}"]
    data = ["--embedder=pixels", "--pixels_dims=8", "--partitions=1", "--algo=protonets"]
    assert main([*data, *adapter, *places]) == 0
    (path,) = (tmp_path / "artifacts").glob("embeddings-*/train.npy")
    rows = np.load(path)
    if steps:
        path.unlink()
    features = np.asarray(restore(tmp_path / "run").learner.features(rows))
    components = np.abs(rows - rows.mean(0))[:, :3]  # those of principal components are the first; signs are free
    np.testing.assert_allclose(np.abs(features - features.mean(0)), components, atol=1e-3 if steps == 0 else 0.1)
