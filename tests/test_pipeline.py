"""The whole line, from a command line to the files of a run, on the bundled digits at a short length."""

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from cactus_tf import pipeline, plugins
from cactus_tf.config import build_plan, presets
from cactus_tf.config import flags as cli
from cactus_tf.main import main
from cactus_tf.pipeline import evaluation
from cactus_tf.runs import predictions

SLOW = pytest.mark.slow
SHORT = [
    "--way=10",
    "--embedder=pixels",
    "--clusters=12",
    "--partitions=2",
    "--filters=8",
    "--query=5",
    "--steps=12",
    "--eval_episodes=30",
]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder for artifacts and runs, shared by the tests of this file."""
    return tmp_path_factory.mktemp("workplace")


def run(workplace, name, *flags):
    """Exit code and folder of a short run."""
    folder = workplace / name
    code = main([*SHORT, f"--workdir={folder}", f"--artifacts_dir={workplace / 'artifacts'}", *flags])
    return code, folder


def results(folder):
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def first(workplace):
    code, folder = run(workplace, "first")
    assert code == 0
    return folder


def test_results_follow_the_schema(first):
    found = results(first)
    assert set(found) == {"config", "package_versions", "machine", "started", "finished", "seconds", "rows", "digest"}
    assert set(found["seconds"]) == {"prepare", "embed", "partition", "train", "evaluate"}
    assert len(found["rows"]) == 4  # two learners, one way, two shots
    columns = "dataset split embedder partitioner algo way shot query episodes accuracy ci95 transductive seed options"
    for row in found["rows"]:
        assert list(row) == columns.split() + ["against"] * (row["algo"] == "nearest_neighbours")
        assert (row["dataset"], row["split"], row["embedder"], row["partitioner"]) == (
            "digits",
            "test",
            "pixels",
            "kmeans",
        )
        assert (row["way"], row["query"], row["episodes"], row["seed"]) == (10, 5, 30, 0)
        assert 0.1 < row["accuracy"] <= 1
        assert 0 < row["ci95"] < 0.1
        assert row["transductive"] is False
    trained = next(row for row in found["rows"] if row["algo"] == "protonets")
    assert (trained["options"]["steps"], trained["options"]["clusters"], trained["options"]["partitions"]) == (
        12,
        12,
        2,
    )
    assert found["package_versions"]["tensorflow"]


def test_the_csv_has_the_same_rows(first):
    with open(first / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    for row, expected in zip(rows, results(first)["rows"], strict=True):
        assert (row["algo"], int(row["shot"])) == (expected["algo"], expected["shot"])
        assert float(row["accuracy"]) == expected["accuracy"]
        assert row["options.steps"] == str(expected["options"].get("steps", ""))


def test_a_run_writes_its_files(first, workplace):
    for name in ("config.json", "report.html", "accuracy.png", "clusters.png", "tasks.png", "learning_curve.png"):
        assert (first / name).stat().st_size > 0
    assert list((first / "protonets" / "checkpoints").glob("step-12.*"))
    assert list((first / "events" / "protonets").glob("events*"))
    kinds = sorted(path.name.rsplit("-", 1)[0] for path in (workplace / "artifacts").iterdir())
    assert kinds == ["data", "embedder", "embeddings", "partitions"]
    assert not [path for path in workplace.rglob("*.tmp")]


def test_the_interval_is_that_of_the_stored_episodes(first):
    for row in results(first)["rows"]:
        name = f"accuracy-test-{row['way']}way-{row['shot']}shot.npy"
        values = np.load(first / row["algo"] / name)
        assert values.shape == (30,)
        assert row["accuracy"] == pytest.approx(values.mean())
        assert row["ci95"] == pytest.approx(1.96 * values.std() / np.sqrt(30))


def test_the_stored_predictions_have_the_stored_accuracies(first):
    for row in results(first)["rows"]:
        folder, task = first / row["algo"], (row["way"], row["shot"])
        given = predictions.of_queries(folder, "test", task, row["query"])
        right = given == np.arange(row["way"])[:, None]
        kept = np.load(folder / f"accuracy-test-{row['way']}way-{row['shot']}shot.npy")
        np.testing.assert_allclose(right.mean(axis=(1, 2)), kept)


def test_the_pair_of_learners_is_compared_over_the_same_episodes(first):
    for row in results(first)["rows"][2:]:
        name = f"accuracy-test-{row['way']}way-{row['shot']}shot.npy"
        differences = np.load(first / "nearest_neighbours" / name) - np.load(first / "protonets" / name)
        pair = row["against"]
        assert pair["algo"] == "protonets"
        assert pair["difference"] == pytest.approx(differences.mean())
        assert pair["ci95"] == pytest.approx(1.96 * differences.std() / np.sqrt(30))


def test_a_repeated_command_gives_the_same_results_without_training(first, workplace):
    before = results(first)
    code, folder = run(workplace, "first")
    assert code == 0
    assert results(folder)["rows"] == before["rows"]


def test_tensorboard_shows_everything_once_after_a_run_is_repeated(first, workplace):
    assert run(workplace, "first")[0] == 0
    events = {path.name: EventAccumulator(str(path)).Reload() for path in (first / "events").iterdir()}
    assert set(events) == {"protonets", "nearest_neighbours", "run"}
    found = {
        (name, tag): [event.step for event in events[name].Tensors(tag)]
        for name in events
        for tag in events[name].Tags()["tensors"]
    }
    assert found.pop(("protonets", "train/loss")) == found.pop(("protonets", "train/accuracy")) == [1, 10]
    assert {len(steps) for steps in found.values()} == {1}
    assert {tag for name, tag in found if name == "run"} == {"configuration", "tasks/training", "tasks/evaluation"}
    assert ("nearest_neighbours", "test/accuracy-10way-5shot") in found


def test_the_report_can_be_rebuilt_from_a_finished_run(first, workplace, capsys):
    page = first / "report.html"
    before = page.read_text().split("Reproduce this run")[0]  # below it stand the seconds
    page.unlink()
    assert run(workplace, "first", "--stage=report")[0] == 0
    output = capsys.readouterr().out
    assert "12 steps, trained before" in output
    assert "evaluate: protonets, stored results for 10-way 1-shot, 10-way 5-shot" in output
    assert page.read_text().split("Reproduce this run")[0] == before


def test_a_stopped_evaluation_resumes(workplace, monkeypatch):
    whole = results(run(workplace, "whole", "--steps=2")[1])["rows"]
    asked, ask = [], evaluation.ask

    def stopping(name, learner, classify, episodes, number):
        if len(asked) == 3:
            raise KeyboardInterrupt
        asked.append((name, episodes.shot))
        return ask(name, learner, classify, episodes, number)

    monkeypatch.setattr(evaluation, "ask", stopping)
    assert run(workplace, "stopped", "--steps=2")[0] == 130
    monkeypatch.setattr(evaluation, "ask", lambda *given: asked.append((given[0], given[3].shot)) or ask(*given))
    assert results(run(workplace, "stopped", "--steps=2")[1])["rows"] == whole
    assert asked == [(name, shot) for name in ("protonets", "nearest_neighbours") for shot in (1, 5)]


def test_all_learners_are_evaluated_on_the_same_episodes(workplace, monkeypatch):
    met = []
    accuracy = evaluation.episode_accuracies

    def spy(classify, episodes, *rest):
        met.append((episodes.way, episodes.shot, [episodes.indices(i)[0].tolist() for i in range(3)]))
        return accuracy(classify, episodes, *rest)

    monkeypatch.setattr(evaluation, "episode_accuracies", spy)
    assert run(workplace, "met", "--steps=2", "--eval_episodes=3")[0] == 0
    evaluated = met[-4:]  # two learners, two shots
    assert len(evaluated) == 4
    assert evaluated[:2] == evaluated[2:]
    assert evaluated[0] != evaluated[1]


@pytest.mark.slow
def test_longer_training_and_other_evaluation_resume_in_the_same_workdir(workplace, capsys):
    assert run(workplace, "longer", "--steps=4", "--stage=train")[0] == 0
    code, folder = run(workplace, "longer", "--steps=9", "--eval_episodes=10", "--eval_ways=5")
    assert code == 0
    assert "9 steps, 5 of them now" in capsys.readouterr().out
    assert {row["way"] for row in results(folder)["rows"]} == {5}


def test_a_workdir_of_another_configuration_is_refused(first, workplace, capsys):
    code, _ = run(workplace, "first", "--filters=4")
    assert code == 2
    assert "learners.protonets.filters: 8 there, now 4" in capsys.readouterr().err


def test_fewer_steps_than_already_trained_are_refused(first, workplace, capsys):
    code, _ = run(workplace, "first", "--steps=3")
    assert code == 2
    assert "holds a training of 12 steps" in capsys.readouterr().err


def test_a_damaged_artifact_is_made_again(first, workplace, capsys):
    before = results(first)["rows"]
    for kind, name in (("data", "test-images"), ("embeddings", "train"), ("partitions", "partition-0001")):
        path = next((workplace / "artifacts").glob(f"{kind}-*/{name}.npy"))
        content = bytearray(path.read_bytes())
        content[-7] ^= 255
        path.unlink()  # the run above may still map it
        path.write_bytes(content)
    code, folder = run(workplace, "first")
    assert code == 0
    assert capsys.readouterr().out.count("is missing or damaged; making it again") == 3
    assert results(folder)["rows"] == before


def test_the_oracle_needs_no_embedding(workplace, capsys):
    code, folder = run(workplace, "oracle", "--partitioner=labels", "--algo=protonets", "--steps=2")
    assert code == 0
    assert "embed: not needed" in capsys.readouterr().out
    for row in results(folder)["rows"]:
        assert row["embedder"] == "none"
        assert not {"clusters", "partitions", "embedder_steps"} & set(row["options"])


def test_a_mixture_with_true_labels_runs_end_to_end_and_is_recorded(workplace, capsys):
    code, folder = run(
        workplace, "mixed", "--supervised_fraction=0.5", "--steps=2", "--eval_shots=1", "--eval_episodes=4"
    )
    assert code == 0
    assert "a task has true labels with probability 0.5" in capsys.readouterr().out
    fractions = {row["algo"]: row["options"].get("supervised_fraction") for row in results(folder)["rows"]}
    assert fractions == {"protonets": 0.5, "nearest_neighbours": None}


def test_learners_that_do_not_train_on_tasks_need_no_partitions(workplace, capsys):
    code, folder = run(workplace, "neighbours", "--algo=nearest_neighbours")
    assert code == 0
    assert "partition: not needed" in capsys.readouterr().out
    assert {row["partitioner"] for row in results(folder)["rows"]} == {"none"}


@pytest.mark.slow
def test_a_refused_run_can_be_corrected_in_the_same_workdir(workplace):
    assert run(workplace, "mended", "--query=90")[0] == 2
    assert run(workplace, "mended")[0] == 0


@pytest.mark.slow
def test_seconds_of_a_resumed_run_add_up(workplace):
    run(workplace, "timed", "--steps=3")
    before = results(workplace / "timed")["seconds"]["train"]
    run(workplace, "timed", "--steps=6")
    assert results(workplace / "timed")["seconds"]["train"] > before > 0


@pytest.mark.parametrize(("stage", "kinds"), [("prepare", {"data"}), ("embed", {"data", "embedder", "embeddings"})])
def test_stage_ends_the_run_after_that_stage(tmp_path, stage, kinds):
    code, folder = run(tmp_path, "staged", f"--stage={stage}")
    assert code == 0
    assert {path.name.rsplit("-", 1)[0] for path in (tmp_path / "artifacts").iterdir()} == kinds
    assert not (folder / "results.json").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--eval_ways=11"], "--eval_ways=11 --eval_shots=1: 10 classes of test have 6 images or more"),
        (["--eval_shots=40"], "classes of test have 45 images or more (shot 40 + query 5): lower --eval_ways"),
        (["--query=90"], "--way, --shot, --query, --clusters: cluster sizes allow at most"),
        (["--query=500"], "--way, --shot, --query: an episode of protonets takes 5010 images, and there are 1000"),
        (["--nearest_neighbours_k=11"], "k is 11 and the support set has 10 embeddings"),
        (["--data_dir=/nowhere"], "digits come with scikit-learn"),
        (["--dataset=omniglot", "--way=10", "--data_dir=/nowhere"], "images_background.zip"),
        (["--dataset=mnist", "--data_dir=/nowhere"], "t10k-images-idx3-ubyte"),
        (["--embedder=precomputed", "--precomputed_dir=/nowhere"], "/nowhere"),
        (["--image_size=0"], "--image_size=0: it must be at least 8"),
        (["--clusters=2000"], "--clusters=2000 is more than the 1000 training images"),
        (["--clusters=2000", "--algo=cluster_matching"], "--clusters=2000 is more than the 1000 training images"),
        (["--partitioner=labels", "--supervised_fraction=0.5"], "--supervised_fraction=0.5: with --partitioner=labels"),
        (["--partitioner=hyperplanes", "--hyperplanes_margin=50"], "lower --hyperplanes_margin, --shot or --query"),
    ],
)
def test_bad_input_prints_one_line_and_exits_with_code_2(workplace, capsys, flags, words):
    code, _ = run(workplace, "bad-" + "".join(c for c in flags[-1] if c.isalnum()), *flags)
    err = capsys.readouterr().err
    assert code == 2
    assert words in err
    assert err.count("\n") == 1


def test_the_error_about_an_unwritable_workdir_names_its_flag(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main([*SHORT, f"--workdir={tmp_path}/file/run", f"--artifacts_dir={tmp_path}/a"]) == 2
    assert "--workdir: cannot write to" in capsys.readouterr().err


def test_quiet_prints_nothing(workplace, capsys):
    assert run(workplace, "quiet", "--steps=1", "--quiet")[0] == 0
    assert capsys.readouterr() == ("", "")


# As separate processes, with one thread of each kind, where results are bit-identical.


def start(workplace, name, *flags):
    command = [sys.executable, "-m", "cactus_tf.main", *SHORT, "--algo=protonets", *flags]
    command += [f"--workdir={workplace / name}", f"--artifacts_dir={workplace / 'artifacts'}"]
    threads = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    return subprocess.Popen(command, env={**os.environ, **threads}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(pattern, folder, seconds=90):
    end = time.monotonic() + seconds
    while not list(folder.glob(pattern)):
        assert time.monotonic() < end, f"no {pattern} in {folder}"
        time.sleep(0.05)


@pytest.mark.slow
def test_two_fresh_runs_give_the_same_results_to_the_last_bit(tmp_path):
    found = []
    for name in ("one", "two"):
        process = start(tmp_path / name, "run")
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, err
        assert err == b""  # TensorFlow's start-up messages are silenced
        assert b"protonets" in out
        found.append(results(tmp_path / name / "run")["rows"])
    assert found[0] == found[1]


def test_a_bad_flag_ends_the_process_with_code_2_and_one_line(tmp_path):
    process = start(tmp_path, "run", "--embedder=umap")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert err.decode().startswith("--embedder=umap: unknown embedder; choose from acai")
    assert err.count(b"\n") == 1


@pytest.fixture(scope="module")
def uninterrupted(first, workplace):
    process = start(workplace, "whole", "--steps=1200")
    _, err = process.communicate(timeout=200)
    assert process.returncode == 0, err
    return results(workplace / "whole")["rows"]


@pytest.mark.slow
def test_a_killed_run_resumes_to_the_same_result(uninterrupted, workplace):
    process = start(workplace, "killed", "--steps=1200")
    wait_for("protonets/checkpoints/step-1000.index", workplace / "killed")
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = start(workplace, "killed", "--steps=1200")
    out, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    assert b" of them now, in " in out or b"1,200 steps, trained before" in out
    assert results(workplace / "killed")["rows"] == uninterrupted


@pytest.mark.slow
def test_ctrl_c_saves_the_work_and_prints_how_to_resume(uninterrupted, workplace):
    process = start(workplace, "stopped", "--steps=1200")
    wait_for("events/protonets/events*", workplace / "stopped")
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err.count(b"\n") == 1
    assert b"rerun the command to resume" in err
    again = start(workplace, "stopped", "--steps=1200")
    _, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    assert results(workplace / "stopped")["rows"] == uninterrupted


TRAINED = [name for name in plugins.names("embedders") if plugins.info("embedders", name).trained]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_every_trained_embedder_runs_end_to_end_and_logs_its_pictures(workplace, name):
    small = {"acai": ["--acai_depth=4"], "bigan": ["--bigan_deploy_batches=3"]}.get(name, [])
    flags = [f"--embedder={name}", "--embedder_steps=3", "--algo=protonets", "--steps=2", "--eval_shots=1", *small]
    code, folder = run(workplace, name, *flags)
    assert code == 0
    (row,) = results(folder)["rows"]
    assert (row["embedder"], row["options"]["embedder_steps"]) == (name, 3)
    module = plugins.load("embedders", name)
    events = EventAccumulator(str(folder / "events" / "embedder"), size_guidance={"tensors": 0}).Reload()
    assert {f"embedder/{picture}" for picture in module.INFO.pictures} <= set(events.Tags()["tensors"])


MAML = ["--algo=maml", "--clusters=12", "--maml_eval_steps=3", "--maml_inner_steps=1", "--tasks_per_step=2"]


def test_maml_writes_the_accuracy_of_every_adaptation_step(workplace):
    code, folder = run(workplace, "maml", *MAML, "--eval_ways=3,10", "--steps=3")
    assert code == 0
    with open(folder / "adaptation.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["algo", "way", "shot", "step", "support_accuracy", "query_accuracy", "query_ci95"]
    assert len(rows) == 4 * 4  # ways by shots; before adaptation and after three steps
    last = {(r["way"], r["shot"]): float(r["query_accuracy"]) for r in rows if r["step"] == "3"}
    for row in results(folder)["rows"]:
        assert row["transductive"] is True
        assert row["accuracy"] == last[str(row["way"]), str(row["shot"])]
        assert row["options"]["maml_inner_lr"] == 0.05


@pytest.mark.slow
def test_maml_can_be_evaluated_one_query_at_a_time(workplace):
    code, folder = run(workplace, "alone", *MAML, "--maml_transductive=false", "--steps=2", "--eval_shots=1")
    assert code == 0
    assert results(folder)["rows"][0]["transductive"] is False


def test_maml_learns_on_embeddings(workplace):
    code, folder = run(
        workplace, "vectors", *MAML, "--on_embeddings", "--pixels_dims=20", "--steps=2", "--eval_shots=1"
    )
    assert code == 0
    assert results(folder)["rows"][0]["options"]["backbone"] == "mlp"


def test_protonets_learn_on_embeddings(workplace):
    code, _ = run(workplace, "vectors2", "--algo=protonets", "--on_embeddings", "--steps=2", "--eval_shots=1")
    assert code == 0


def test_default_ways_above_a_fixed_head_are_left_out_with_a_note(workplace, capsys, monkeypatch):
    changed = dataclasses.replace(presets.PRESETS["digits"], eval_ways=(3, 10))
    monkeypatch.setitem(presets.PRESETS, "digits", changed)
    flags = [*MAML, "--algo=maml,nearest_neighbours", "--way=4", "--steps=1", "--eval_shots=1"]
    code, folder = run(workplace, "ways", *flags)
    assert code == 0
    found = {(row["algo"], row["way"]) for row in results(folder)["rows"]}
    assert found == {("maml", 3), ("nearest_neighbours", 3), ("nearest_neighbours", 10)}
    assert "maml skips 10-way tasks: its head has the 4 outputs of --way" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("algo", "variable", "asked"),
    [
        ("maml,nearest_neighbours", None, [1]),
        ("protonets,nearest_neighbours", None, []),
        ("maml", "2", []),
    ],
    ids=["many small kernels", "TensorFlow's own choice", "the user's choice"],
)
def test_threads_inside_a_kernel_are_those_that_the_learners_declare(algo, variable, asked, monkeypatch):
    calls = []
    monkeypatch.setattr("tensorflow.config.threading.set_intra_op_parallelism_threads", calls.append)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    if variable:
        monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", variable)
    pipeline.choose_threads(build_plan.make(cli.parse([f"--algo={algo}"])).learners)
    assert calls == asked


@pytest.mark.parametrize(
    "algo", [*(pytest.param(name, marks=SLOW) for name in ("anil", "meta_sgd", "reptile")), "scratch"]
)
def test_every_learner_that_adapts_runs_end_to_end(workplace, algo):
    flags = [f"--algo={algo}", f"--{algo}_eval_steps=2", "--steps=2", "--tasks_per_step=2", "--eval_shots=1"]
    code, folder = run(workplace, algo, *flags, "--eval_episodes=4")
    assert code == 0
    assert results(folder)["rows"][0]["algo"] == algo


BASELINES = ["logistic_regression", "mlp_dropout", "cluster_matching", "cluster_colour", "cluster_network"]
BRIEF = [
    "--mlp_dropout_epochs=3",
    "--mlp_dropout_legacy_leak",
    "--cluster_matching_starts=1",
    "--cluster_colour_starts=1",
    "--cluster_network_starts=1",
    "--cluster_network_epochs=1",
]


@pytest.mark.slow
def test_the_baselines_run_end_to_end_and_record_their_special_rows(workplace):
    algo = f"--algo=nearest_neighbours,{','.join(BASELINES)}"
    code, folder = run(workplace, "baselines", algo, *BRIEF, "--eval_shots=1", "--eval_episodes=4")
    assert code == 0
    rows = {row["algo"]: row for row in results(folder)["rows"]}
    assert list(rows) == ["nearest_neighbours", *BASELINES]
    assert {name for name, row in rows.items() if row.get("leak")} == {"mlp_dropout"}
    assert {name for name, row in rows.items() if "unanswered" in row} == {"cluster_colour", "cluster_network"}
    assert {name for name, row in rows.items() if "clusters" in row["options"]} == set(BASELINES[2:])
    for name in BASELINES:
        assert rows[name]["against"]["algo"] == "nearest_neighbours"
        assert 0 <= rows[name].get("unanswered", 0) <= 4
    with open(folder / "results.csv", newline="") as file:
        assert [row["leak"] for row in csv.DictReader(file)] == ["", "", "True", "", "", ""]


@pytest.mark.slow
def test_a_killed_maml_resumes_to_the_same_result(first, workplace):
    flags = [*MAML, "--steps=1100", "--eval_shots=1"]
    whole = start(workplace, "maml whole", *flags)
    _, err = whole.communicate(timeout=400)
    assert whole.returncode == 0, err
    process = start(workplace, "maml killed", *flags)
    wait_for("maml/checkpoints/step-1000.index", workplace / "maml killed", 300)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again = start(workplace, "maml killed", *flags)
    out, err = again.communicate(timeout=400)
    assert again.returncode == 0, err
    assert b" of them now, in " in out or b"1,100 steps, trained before" in out
    assert results(workplace / "maml killed")["rows"] == results(workplace / "maml whole")["rows"]
