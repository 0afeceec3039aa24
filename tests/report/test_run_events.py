import a_run
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_multiplexer import EventMultiplexer

from cactus_tf.config import build_plan
from cactus_tf.report import run_events
from cactus_tf.runs import results


def log(run):
    embeddings = run.images.reshape(len(run.images), -1)[:, :5].astype(np.float32)
    run_events.before_training(run.plan, run.data, embeddings, run.partitions, run.tasks, run.folder / "events")
    run_events.after_evaluation(run.plan, run.data, run.rows, run.folder / "events")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder of two runs, one of them logged twice, as after a resumed run."""
    folder = tmp_path_factory.mktemp("runs")
    for name, times in (("one", 2), ("two", 1)):
        (folder / name).mkdir()
        run = a_run.make(folder / name)
        for _ in range(times):
            log(run)
    return folder


@pytest.fixture(scope="module")
def shown(runs):
    """What TensorBoard shows of the folder of runs: {run: {tag: [values]}}."""
    found = EventMultiplexer(size_guidance={"tensors": 0}).AddRunsFromDirectory(str(runs)).Reload()
    return {
        run: {tag: [tf.make_ndarray(e.tensor_proto) for e in found.Tensors(run, tag)] for tag in tags["tensors"]}
        for run, tags in found.Runs().items()
    }


def test_several_runs_are_shown_side_by_side_each_thing_once(shown):
    parts = ("protonets", "nearest_neighbours", "run")
    assert set(shown) == {f"{name}/events/{part}" for name in ("one", "two") for part in parts}
    for tags in shown.values():
        assert {len(values) for values in tags.values()} == {1}


def test_final_accuracies_are_those_of_the_results(runs, shown):
    run = a_run.make(runs / "one")
    for row in run.rows:
        tags = shown[f"one/events/{row['algo']}"]
        assert tags["test/accuracy-5way-1shot"][0] == pytest.approx(row["accuracy"])
        assert tags["test/ci95-5way-1shot"][0] == pytest.approx(row["ci95"])


def test_tasks_of_both_kinds_are_pictures_of_one_run(shown):
    tags = shown["one/events/run"]
    for tag, columns in (("tasks/training", 1 + 4), ("tasks/evaluation", 1 + 2)):
        width, height, *pictures = tags[tag][0]
        assert len(pictures) == 3
        assert (int(width), int(height)) == (35 * columns + 6, 35 * 5 - 3)


def test_the_text_has_every_setting(runs, shown):
    [text] = shown["one/events/run"]["configuration"][0].ravel()
    for section, values in a_run.make(runs / "one").plan.sections.items():
        for name, value in values.items():
            assert f"| {section} | {name} | {results.plain(value)} |" in text.decode()


def test_hparams_are_numbers_booleans_and_texts():
    plan = build_plan.make(a_run.parse("--outer_lr=0.01"))
    found = run_events.hparams(plan.evaluation.columns, plan.learners[0])
    assert found["outer_lr"] == 0.01
    assert (found["algo"], found["embedder"], found["clusters"]) == ("protonets", "pixels", 25)
    assert all(isinstance(value, bool | int | float | str) for value in found.values())


def test_the_projector_has_clusters_of_the_first_partitions_and_no_labels(runs):
    folder = runs / "one" / "events" / "run"
    head, *lines = (folder / "metadata.tsv").read_text().splitlines()
    assert head.split("\t") == ["image", "cluster of partition 0", "cluster of partition 1"]
    assert [line.split("\t") for line in lines] == [[str(i), str(i % 6), str(i // 10)] for i in range(60)]


def test_a_run_without_labels_logs_no_accuracies(tmp_path):
    log(a_run.make(tmp_path, labeled=False))
    assert [path.name for path in (tmp_path / "events").iterdir()] == ["run"]
