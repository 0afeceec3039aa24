import dataclasses
import shutil

import a_run
import numpy as np
import pytest
from PIL import Image

from cactus_tf.config import build_plan, flags
from cactus_tf.fewshot.evaluation import over_episodes
from cactus_tf.runs import predictions

TASK = (5, 1)
GIVEN = np.arange(20).reshape(2, 10) % 5
EVALUATED = predictions.Evaluated(
    over_episodes(np.array([1 / 3, 0.7]))._replace(answers=GIVEN),
    {"unanswered": 1},
    [{"algo": "maml", "step": 0, "query_accuracy": 0.1}],
    1.5,
)


class Weights:
    """A trained learner that is nothing but its weights."""

    gradient_clip, vectorized, remedy = None, False, ""

    def __init__(self, *weights, consumes="images"):
        self.variables = self.trainable_variables = [np.float32(weights)]
        self.consumes = consumes

    def classify(self, support, support_labels, query, way): ...

    def training_loss(self, episode): ...


def key(settings, learner, inputs):
    plan = build_plan.make(settings)
    return predictions.key(plan.data.key, plan.evaluation, plan.learners[0], learner, inputs)


def test_stored_predictions_are_restored_to_the_last_bit(tmp_path):
    predictions.write(tmp_path / "maml", "test", TASK, EVALUATED, "key")
    found = predictions.read(tmp_path / "maml", "test", TASK, "key")
    assert (found.accuracy.mean, found.accuracy.ci95) == (EVALUATED.accuracy.mean, EVALUATED.accuracy.ci95)
    np.testing.assert_array_equal(found.accuracy.per_episode, EVALUATED.accuracy.per_episode)
    np.testing.assert_array_equal(found.accuracy.answers, GIVEN)
    assert found[1:] == EVALUATED[1:]


@pytest.mark.parametrize("other", [("val", TASK, "key"), ("test", (5, 5), "key"), ("test", TASK, "another")])
def test_predictions_with_another_key_are_not_used(tmp_path, other):
    predictions.write(tmp_path, "test", TASK, EVALUATED, "key")
    assert predictions.read(tmp_path, *other) is None


@pytest.mark.parametrize("left", [0, 0.5], ids=["empty", "half"])
@pytest.mark.parametrize("name", ["judged-{}.json", "accuracy-{}.npy", "answers-{}.npy"])
def test_damaged_predictions_count_as_missing(tmp_path, name, left):
    predictions.write(tmp_path, "test", TASK, EVALUATED, "key")
    path = tmp_path / name.format("test-5way-1shot")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(left * len(whole))])
    assert predictions.read(tmp_path, "test", TASK, "key") is None
    if name.startswith("answers"):
        assert predictions.of_queries(tmp_path, "test", TASK, query=2) is None


def test_predictions_are_indexed_by_task_label_and_query(tmp_path):
    predictions.write(tmp_path, "test", TASK, EVALUATED, "key")
    np.testing.assert_array_equal(predictions.of_queries(tmp_path, "test", TASK, query=2), GIVEN.reshape(2, 5, 2))
    assert predictions.of_queries(tmp_path, "test", (5, 5), query=2) is None


IMAGES, EMBEDDINGS = np.zeros((4, 2, 2, 1), np.uint8), np.zeros((4, 3), np.float32)


def test_the_key_of_predictions_depends_on_weights_settings_and_tasks():
    config = a_run.parse()
    longer = a_run.parse("--steps=7")
    other = a_run.parse("--eval_episodes=13")
    keys = [
        key(config, Weights(1, 2), IMAGES),
        key(config, Weights(1, 3), IMAGES),
        key(longer, Weights(1, 2), IMAGES),
        key(other, Weights(1, 2), IMAGES),
    ]
    assert len(set(keys)) == len(keys)
    assert key(config, Weights(1, 2), IMAGES) == keys[0]


def test_the_key_of_predictions_depends_on_the_evaluated_images_and_labels(tmp_path):
    for name, gray in (("some", 50), ("others", 60)):
        (tmp_path / name / "a").mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((8, 8), gray + i, np.uint8)).save(tmp_path / name / "a" / f"{i}.png")
    shutil.copytree(tmp_path / "some", tmp_path / "learned")
    shutil.copytree(tmp_path / "some" / "a", tmp_path / "relabeled" / "b")
    base = ["--dataset=folder", f"--data_dir={tmp_path / 'learned'}", "--algo=nearest_neighbours"]
    folders = [tmp_path / name for name in ("some", "others", "relabeled")]
    configs = [flags.parse([*base, f"--eval_dir={folder}"]) for folder in folders]
    keys = [key(c, Weights(1), IMAGES) for c in configs]
    assert len(set(keys)) == 3


def test_the_key_of_predictions_depends_on_embeddings_if_the_learner_reads_them():
    config = a_run.parse()
    taking = Weights(1, consumes="embeddings")
    assert key(config, taking, EMBEDDINGS) != key(config, taking, EMBEDDINGS + 1)


def test_the_key_of_predictions_does_not_depend_on_display_settings():
    config = a_run.parse()
    shown = dataclasses.replace(config, run=dataclasses.replace(config.run, debug=True, workdir="elsewhere"))
    assert key(shown, Weights(1), IMAGES) == key(config, Weights(1), IMAGES)


@pytest.mark.parametrize("name", ["judged-{}.json", "accuracy-{}.npy", "answers-{}.npy"])
def test_no_flipped_bit_gives_another_result(tmp_path, name):
    predictions.write(tmp_path, "test", TASK, EVALUATED, "key")
    path = tmp_path / name.format("test-5way-1shot")
    whole = path.read_bytes()
    for place in range(len(whole)):
        path.write_bytes(bytes([*whole[:place], whole[place] ^ 4, *whole[place + 1 :]]))
        found = predictions.read(tmp_path, "test", TASK, "key")
        if found is not None:
            np.testing.assert_array_equal(found.accuracy.per_episode, EVALUATED.accuracy.per_episode)
            np.testing.assert_array_equal(found.accuracy.answers, GIVEN)
            assert found[1:] == EVALUATED[1:]


@pytest.mark.parametrize("name", ["judged-{}.json", "accuracy-{}.npy", "answers-{}.npy"])
def test_a_folder_in_the_place_of_stored_predictions_is_replaced(tmp_path, name):
    predictions.write(tmp_path, "test", TASK, EVALUATED, "key")
    path = tmp_path / name.format("test-5way-1shot")
    path.unlink()
    path.mkdir()
    assert predictions.read(tmp_path, "test", TASK, "key") is None
    predictions.write(tmp_path, "test", TASK, EVALUATED, "key")
    assert predictions.read(tmp_path, "test", TASK, "key") is not None
