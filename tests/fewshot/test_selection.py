import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf.errors import RunError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.selection import Selection
from cactus_tf.fewshot.training import meta_train, weights_folder
from cactus_tf.types import AssignedPartitions, TaskLoss
from cactus_tf.utils import history
from cactus_tf.utils.checkpoints import load_newest

STEPS = 40
ACCURACIES = [0.2, 0.5, 0.7, 0.6, 0.7, 0.4, 0.4, 0.3, 0.3, 0.2]  # of steps 4, 8, ... 40; the best are 12 and 20


class Counting:
    """A learner whose weight moves with every step."""

    consumes = "embeddings"
    gradient_clip, vectorized, remedy = None, False, ""

    def __init__(self):
        self.vector = keras.Variable(np.zeros(3, np.float32))
        self.trainable_variables, self.variables = [self.vector], [self.vector]

    def classify(self, support, support_labels, query, way):
        raise NotImplementedError

    def training_loss(self, episode):
        return TaskLoss(tf.reduce_sum((self.vector - tf.reduce_mean(episode.query, axis=(0, 1))) ** 2), {})


class Run:
    """Trains below a folder; `stop` raises KeyboardInterrupt in the judgment of a step, before or after it is known."""

    def __init__(self, folder, accuracies=ACCURACIES):
        self.folder, self.accuracies, self.written, self.by_weights = folder, accuracies, {}, {}

    def __call__(self, steps=STEPS, stop=None, stop_step=None, checkpoint_every=10):
        learner = Counting()
        rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
        tasks = Episodes(rows, AssignedPartitions([np.repeat(np.arange(5), 8)]), way=3, shot=1, query=4)
        seen = {"step": 0}

        def accuracy():
            weights = learner.vector.numpy().tobytes()
            if weights not in self.by_weights:  # a function of the weights, as accuracy is
                self.by_weights[weights] = self.accuracies[len(self.by_weights)]
            seen["step"] += 1
            if stop == seen["step"]:
                raise KeyboardInterrupt
            return self.by_weights[weights]

        def on_step(step, scalars):
            if step == stop_step:
                raise SystemExit

        selection = Selection(learner.variables, accuracy, self.folder, steps, self.written.__setitem__)
        meta_train(
            learner, tasks, steps=steps, outer_lr=0.05, folder=self.folder, selection=selection, on_step=on_step,
            checkpoint_every=checkpoint_every,
        )  # fmt: skip
        return learner.vector.numpy()


def plain(steps):
    learner = Counting()
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    tasks = Episodes(rows, AssignedPartitions([np.repeat(np.arange(5), 8)]), way=3, shot=1, query=4)
    meta_train(learner, tasks, steps=steps, outer_lr=0.05)
    return learner.vector.numpy()


def test_the_weights_at_the_end_are_those_of_the_best_step_and_of_equals_the_latest(tmp_path):
    run = Run(tmp_path)
    np.testing.assert_array_equal(run(), plain(20))
    assert [run.written[step]["pseudo/accuracy"] for step in range(4, 44, 4)] == ACCURACIES


def test_what_others_load_are_the_selected_weights(tmp_path):
    Run(tmp_path)()
    learner = Counting()
    assert load_newest(learner.variables, weights_folder(tmp_path)) == 20
    np.testing.assert_array_equal(learner.vector.numpy(), plain(20))


def test_a_finished_training_judges_nothing_again_and_gives_the_same_weights(tmp_path):
    run = Run(tmp_path)
    first = run()
    run.written.clear()
    np.testing.assert_array_equal(run(), first)
    assert not run.written


@pytest.mark.parametrize("stop_step", [13, 21, 39])
def test_a_killed_training_selects_what_an_uninterrupted_one_does(tmp_path, stop_step):
    run = Run(tmp_path)
    with pytest.raises(SystemExit):  # nothing is saved, as with a kill
        run(stop_step=stop_step)
    np.testing.assert_array_equal(run(), plain(20))


@pytest.mark.parametrize("stop", [3, 5])
def test_a_training_interrupted_in_a_judgment_judges_that_step_when_it_resumes(tmp_path, stop):
    run = Run(tmp_path)
    with pytest.raises(KeyboardInterrupt):  # the step is saved, its accuracy is not
        run(stop=stop)
    np.testing.assert_array_equal(run(), plain(20))


def test_the_history_has_the_accuracy_of_every_judged_step_and_nan_elsewhere(tmp_path):
    Run(tmp_path)()
    rows = history.read(tmp_path / "history.csv")
    judged = {row["step"]: row["pseudo_accuracy"] for row in rows if np.isfinite(row["pseudo_accuracy"])}
    assert judged == dict(zip(range(4, 44, 4), ACCURACIES, strict=True))
    assert len(rows) == STEPS


def test_a_training_shorter_than_ten_steps_judges_each(tmp_path):
    run = Run(tmp_path)
    run(steps=3)
    assert list(run.written) == [1, 2, 3]


def test_without_a_selection_the_last_weights_are_used(tmp_path):
    learner = Counting()
    rows = np.zeros((40, 3), np.float32)
    tasks = Episodes(rows, AssignedPartitions([np.repeat(np.arange(5), 8)]), way=3, shot=1, query=4)
    meta_train(learner, tasks, steps=3, folder=tmp_path)
    assert weights_folder(tmp_path) == tmp_path / "checkpoints"
    assert not (tmp_path / "selected").exists()
    assert "pseudo_accuracy" not in history.read(tmp_path / "history.csv")[0]


def test_weights_that_are_not_finite_are_never_selected(tmp_path):
    learner = Counting()
    learner.vector.assign(np.full(3, np.nan))
    selection = Selection(learner.variables, lambda: 0.5, tmp_path, 10, lambda step, scalars: None)
    with pytest.raises(RunError, match="NaN or infinite"):
        selection.after(1)
