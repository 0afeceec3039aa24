import json
import time

import numpy as np
import pytest

from cactus_tf.errors import RunError
from cactus_tf.fewshot.evaluation import AdaptationAccuracy
from cactus_tf.runs import results
from cactus_tf.types import Accuracy, Difference, ImageSet, Splits
from cactus_tf.utils import files, watchdog


def test_every_number_of_the_adaptation_has_its_own_column():
    made = iter(np.arange(1, 9) / 10)
    support, query = ([Accuracy(next(made), next(made), np.zeros(1)) for _ in range(2)] for _ in range(2))
    first, second = results.adaptation_rows("maml", (5, 1), AdaptationAccuracy(query[-1], support, query))
    assert first == {
        "algo": "maml",
        "way": 5,
        "shot": 1,
        "step": 0,
        "support_accuracy": 0.1,
        "query_accuracy": 0.5,
        "query_ci95": 0.6,
    }
    assert (second["step"], second["support_accuracy"], second["query_accuracy"], second["query_ci95"]) == (
        1,
        0.3,
        0.7,
        0.8,
    )


PAIR = ["against.algo", "against.difference", "against.ci95"]


def row(algo, way, accuracy, ci95, **more):
    return {"algo": algo, "way": way, "shot": 1, "accuracy": accuracy, "ci95": ci95, **more}


def test_the_table_has_a_row_per_learner_followed_by_its_difference_from_the_first():
    pair = results.against("maml", Difference(-0.0525, 0.004))
    rows = [row("maml", 5, 0.75, 0.01), row("neighbours", 5, 0.6975, 0.02, **pair), row("neighbours", 20, 0.4, 0.03)]
    assert results.table(rows).splitlines() == [
        "accuracy in %     5-way 1-shot   20-way 1-shot",
        "maml              75.00 ± 1.00",
        "neighbours        69.75 ± 2.00    40.00 ± 3.00",
        "  against maml    -5.25 ± 0.40",
    ]


def test_options_and_pairs_have_their_own_columns_in_the_csv():
    flat = results.flat_row(row("b", 5, 0.5, 0.1, options={"k": 3}, **results.against("a", Difference(0.25, 0.5))))
    assert list(flat) == ["algo", "way", "shot", "accuracy", "ci95", "options.k", *PAIR]
    assert [flat[name] for name in ("options.k", *PAIR)] == [3, "a", 0.25, 0.5]


def test_a_first_run_prints_where_its_files_go_and_how_large_they_become(tmp_path):
    part = ImageSet(np.zeros((5000, 28, 28, 1), np.uint8))
    words = results.places(str(tmp_path / "shared"), 100, Splits(part, part, part), tmp_path / "run")
    assert f"Shared cache: {tmp_path / 'shared'} (12 MB" in words
    assert f"Results: {tmp_path / 'run'}." in words
    assert "12 MB of images, 2 MB of partitions" in words


def test_evaluation_counts_the_predictions_that_it_reused(tmp_path):
    clock = results.Clock("all", tmp_path / "seconds.json")
    with clock.stage("evaluate"):
        clock.count_earlier("evaluate", 5.0)
    assert clock.seconds["evaluate"] == pytest.approx(5.0, abs=1)


def test_evaluation_does_not_count_predictions_that_it_did_not_reuse(tmp_path):
    (tmp_path / "seconds.json").write_text('{"evaluate": 5.0}')
    clock = results.Clock("all", tmp_path / "seconds.json")
    with clock.stage("evaluate"):
        pass
    assert clock.seconds["evaluate"] < 1


@pytest.mark.parametrize("content", ["", "[]", '{"train": "x"}', '{"train": -1}', '{"train": null}'])
def test_damaged_seconds_of_an_earlier_command_stop_nothing(tmp_path, content):
    (tmp_path / "seconds.json").write_text(content)
    clock = results.Clock("all", tmp_path / "seconds.json")
    with clock.stage("train"):
        pass
    assert 0 <= files.read_json(tmp_path / "seconds.json")["train"] < 1


def test_a_process_that_is_ended_in_a_stage_records_its_seconds(tmp_path):
    clock = results.Clock("all", tmp_path / "seconds.json")
    before = list(watchdog.on_end)
    with clock.stage("train"):
        time.sleep(0.01)
        for act in watchdog.on_end:
            act()
        assert json.loads((tmp_path / "seconds.json").read_text())["train"] > 0
    assert watchdog.on_end == before


def test_a_stage_that_fails_on_a_full_disk_keeps_its_own_error(tmp_path, monkeypatch):
    def full(path, value):
        raise RunError("cannot write seconds.json")

    clock = results.Clock("all", tmp_path / "seconds.json")
    monkeypatch.setattr(files, "write_json", full)
    with pytest.raises(RunError, match="cannot write a checkpoint"), clock.stage("train"):
        raise RunError("cannot write a checkpoint")
    with pytest.raises(RunError, match="cannot write seconds"), clock.stage("train"):
        pass


def compared(**differences):
    """Rows of protonets at 50% and of others that are so much better, each with an interval of 1 point."""
    against = {"algo": "protonets", "ci95": 0.01}
    others = [row(n, 5, 0.5 + d, 0.01, against={**against, "difference": d}) for n, d in differences.items()]
    return [row("protonets", 5, 0.5, 0.01), *others]


@pytest.mark.parametrize(
    ("differences", "words"),
    [
        ({"nearest": -0.02}, "5-way 1-shot: protonets"),
        ({"nearest": 0.02, "logistic": 0.03}, "5-way 1-shot: logistic"),
        ({"nearest": 0.005}, "5-way 1-shot: protonets and nearest (not told apart)"),
        ({"nearest": -0.005, "logistic": -0.3}, "5-way 1-shot: protonets and nearest (not told apart)"),
    ],
)
def test_the_most_accurate_learner_is_named_or_that_none_is_told_apart(differences, words):
    assert results.most_accurate(compared(**differences)) == [f"\nmost accurate  {words}"]


def test_a_run_on_a_folder_ends_with_the_command_that_classifies(tmp_path):
    folder = tmp_path / "my run"
    rows = [row("protonets", 5, 0.5, 0.1, dataset="folder", split="test", episodes=9)]
    text = results.closing_words(rows, folder)
    assert f"classify pictures: python -m cactus_tf.predict --run='{folder}' --support=LABELED" in text


@pytest.mark.parametrize(("partitioner", "other"), [("kmeans", "labels"), ("labels", "kmeans")])
def test_a_run_is_not_compared_with_its_own_source_of_tasks(tmp_path, partitioner, other):
    about = {"dataset": "omniglot", "split": "test", "episodes": 9, "partitioner": partitioner}
    text = results.closing_words([row("protonets", 5, 0.5, 0.1, **about)], tmp_path)
    assert f"--partitioner={other}" in text and f"--partitioner={partitioner}" not in text


def test_a_single_learner_and_one_that_sees_the_labels_are_not_compared():
    assert results.most_accurate(compared()) == []
    rows = compared(leaking=0.4)
    rows[1]["leak"] = True
    assert results.most_accurate(rows) == []


def test_tasks_with_the_same_answer_share_it():
    rows = [r for way in (5, 10) for r in ({**r, "way": way} for r in compared(nearest=-0.02))]
    assert results.most_accurate(rows) == ["\nmost accurate  5-way 1-shot, 10-way 1-shot: protonets"]
