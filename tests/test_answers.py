import dataclasses
from types import SimpleNamespace

import a_run
import numpy as np
import pytest

from cactus_tf import answers
from cactus_tf.evaluation import over_episodes

TASK = (5, 1)
GIVEN = np.arange(20).reshape(2, 10) % 5
JUDGED = answers.Judged(
    over_episodes(np.array([1 / 3, 0.7]))._replace(answers=GIVEN),
    {"unanswered": 1},
    [{"algo": "maml", "step": 0, "query_accuracy": 0.1}],
)


def learner(*weights, consumes="images"):
    return SimpleNamespace(variables=[np.float32(weights)], consumes=consumes)


def test_what_was_kept_comes_back_to_the_last_bit(tmp_path):
    answers.keep(tmp_path / "maml", "test", TASK, JUDGED, "key")
    found = answers.kept(tmp_path / "maml", "test", TASK, "key")
    assert (found.accuracy.mean, found.accuracy.ci95) == (JUDGED.accuracy.mean, JUDGED.accuracy.ci95)
    np.testing.assert_array_equal(found.accuracy.per_episode, JUDGED.accuracy.per_episode)
    np.testing.assert_array_equal(found.accuracy.answers, GIVEN)
    assert (found.marks, found.adaptation) == (JUDGED.marks, JUDGED.adaptation)


@pytest.mark.parametrize("other", [("val", TASK, "key"), ("test", (5, 5), "key"), ("test", TASK, "another")])
def test_answers_to_something_else_are_not_used(tmp_path, other):
    answers.keep(tmp_path, "test", TASK, JUDGED, "key")
    assert answers.kept(tmp_path, *other) is None


@pytest.mark.parametrize("name", ["judged-test-5way-1shot.json", "accuracy-test-5way-1shot.npy"])
def test_damaged_files_count_as_none(tmp_path, name):
    answers.keep(tmp_path, "test", TASK, JUDGED, "key")
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    assert answers.kept(tmp_path, "test", TASK, "key") is None


def test_answers_are_given_by_task_label_and_query(tmp_path):
    answers.keep(tmp_path, "test", TASK, JUDGED, "key")
    np.testing.assert_array_equal(answers.of_queries(tmp_path, "test", TASK, query=2), GIVEN.reshape(2, 5, 2))
    assert answers.of_queries(tmp_path, "test", (5, 5), query=2) is None


IMAGES, EMBEDDINGS = np.zeros((4, 2, 2, 1), np.uint8), np.zeros((4, 3), np.float32)


def test_answers_depend_on_weights_settings_and_tasks():
    config = a_run.parse()
    longer = a_run.parse("--steps=7")
    other = a_run.parse("--eval_episodes=13")
    keys = [
        answers.depends_on(config, "protonets", learner(1, 2), IMAGES),
        answers.depends_on(config, "protonets", learner(1, 3), IMAGES),
        answers.depends_on(longer, "protonets", learner(1, 2), IMAGES),
        answers.depends_on(other, "protonets", learner(1, 2), IMAGES),
    ]
    assert len(set(keys)) == len(keys)
    assert answers.depends_on(config, "protonets", learner(1, 2), IMAGES) == keys[0]


def test_answers_depend_on_embeddings_where_the_learner_takes_them():
    config = a_run.parse()
    taking = learner(1, consumes="embeddings")
    assert answers.depends_on(config, "protonets", taking, EMBEDDINGS) != answers.depends_on(
        config, "protonets", taking, EMBEDDINGS + 1
    )


def test_answers_do_not_depend_on_how_the_run_is_shown():
    config = a_run.parse()
    shown = dataclasses.replace(config, run=dataclasses.replace(config.run, debug=True, workdir="elsewhere"))
    assert answers.depends_on(shown, "protonets", learner(1), IMAGES) == answers.depends_on(
        config, "protonets", learner(1), IMAGES
    )
