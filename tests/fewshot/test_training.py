import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf import learners
from cactus_tf.errors import InputError, RunError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.training import adam, checkpoint_folder, make_train_step, meta_train
from cactus_tf.types import AssignedPartitions, TaskLoss, TaskUpdate
from cactus_tf.utils import history
from cactus_tf.utils.checkpoints import Checkpoints

LABELS = np.repeat(np.arange(5), 8)


class Linear:
    """Distance of the queries' mean to a trained vector: convex, with a closed form."""

    consumes = "embeddings"
    gradient_clip, vectorized, remedy = None, False, ""

    def __init__(self):
        self.vector = keras.Variable(np.zeros(3, np.float32))
        self.untrained = keras.Variable(np.zeros((), np.float32), trainable=False)
        self.trainable_variables, self.variables = [self.vector], [self.vector, self.untrained]

    def classify(self, support, support_labels, query, way):
        raise NotImplementedError

    def training_loss(self, episode):
        self.untrained.assign_add(1.0)
        loss = tf.reduce_sum((self.vector - tf.reduce_mean(episode.query, axis=(0, 1))) ** 2)
        return TaskLoss(loss, {"twice": 2 * loss})


def stream(rows=None):
    rows = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32) if rows is None else rows
    return Episodes(rows, AssignedPartitions([LABELS]), way=3, shot=1, query=4)


def test_a_step_is_adam_on_the_mean_loss_of_its_episodes():
    learner, episodes = Linear(), stream()
    step = make_train_step(learner, adam(0.1), tf.Variable(0, dtype=tf.int64))
    scalars = step(next(iter(episodes.dataset(2)))).scalars
    means = [episodes[i].query.mean(axis=(0, 1)) for i in range(2)]
    gradient = np.mean([-2 * m for m in means], axis=0)
    expected = -0.1 * gradient / (np.abs(gradient) + 1e-8)  # first step of Adam: bias corrections cancel
    np.testing.assert_allclose(learner.vector.numpy(), expected, rtol=1e-4)
    assert float(scalars["loss"]) == pytest.approx(np.mean([(m**2).sum() for m in means]), rel=1e-5)
    assert float(scalars["twice"]) == pytest.approx(2 * float(scalars["loss"]), rel=1e-6)


def run(folder, steps, **settings):
    learner = Linear()
    made = meta_train(learner, stream(), tasks_per_step=2, steps=steps, outer_lr=0.05, folder=folder, **settings)
    return learner, made


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path):
    whole, _ = run(None, 30)
    run(tmp_path, 12)
    resumed, made = run(tmp_path, 30)
    assert made == 18
    np.testing.assert_array_equal(resumed.vector.numpy(), whole.vector.numpy())
    assert float(resumed.untrained.value) == float(whole.untrained.value) == 60


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_resumed_training_has_the_rates_of_an_uninterrupted_one(tmp_path, schedule):
    def stop(step, scalars):
        if step == 12:
            raise KeyboardInterrupt

    settings = {"outer_schedule": schedule, "outer_warmup": 5}
    whole, _ = run(None, 30, **settings)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 30, on_step=stop, **settings)
    resumed, made = run(tmp_path, 30, **settings)
    assert made == 18
    np.testing.assert_array_equal(resumed.vector.numpy(), whole.vector.numpy())
    assert not np.array_equal(whole.vector.numpy(), run(None, 30)[0].vector.numpy())


def test_a_step_with_a_schedule_is_adam_at_the_rate_of_that_step():
    learner, vector, m, v = Linear(), np.zeros(3), np.zeros(3), np.zeros(3)
    meta_train(learner, stream(), steps=8, outer_lr=0.1, outer_schedule="cosine", outer_warmup=3)
    for s in range(8):
        gradient = 2 * (vector - stream()[s].query.mean(axis=(0, 1)))
        rate = 0.1 * (s / 3 if s < 3 else (1 + np.cos(np.pi * (s - 3) / 5)) / 2)
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        vector = vector - rate * m / (1 - 0.9 ** (s + 1)) / (np.sqrt(v / (1 - 0.999 ** (s + 1))) + 1e-8)
    np.testing.assert_allclose(learner.vector.numpy(), vector, rtol=2e-4)


def test_an_interrupted_training_saves_the_step_it_reached(tmp_path):
    def stop(step, scalars):
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 30, on_step=stop)
    resumed, made = run(tmp_path, 30)
    assert made == 23
    np.testing.assert_array_equal(resumed.vector.numpy(), run(None, 30)[0].vector.numpy())


def test_a_finished_training_takes_no_further_step(tmp_path):
    first, _ = run(tmp_path, 10)
    again, made = run(tmp_path, 10)
    assert made == 0
    np.testing.assert_array_equal(again.vector.numpy(), first.vector.numpy())


def test_a_damaged_checkpoint_falls_back_to_the_previous_one(tmp_path, caplog):
    run(tmp_path, 20, checkpoint_every=10)
    for path in (tmp_path / "checkpoints").glob("step-20*"):
        path.write_bytes(path.read_bytes()[:20])
    resumed, made = run(tmp_path, 20, checkpoint_every=10)
    assert made == 10
    assert "damaged" in caplog.text
    np.testing.assert_array_equal(resumed.vector.numpy(), run(None, 20)[0].vector.numpy())


def test_a_checkpoint_beyond_the_requested_steps_is_an_error(tmp_path):
    run(tmp_path, 10)
    with pytest.raises(InputError, match="holds a training of 10 steps, more than the requested 5"):
        run(tmp_path, 5)


def test_a_loss_that_is_not_finite_stops_training_and_preserves_the_last_good_checkpoint(tmp_path):
    class Diverging(Linear):
        def training_loss(self, episode):
            loss, metrics = super().training_loss(episode)
            return TaskLoss(tf.where(self.untrained > 8.0, np.nan, loss), metrics)

    learner = Diverging()
    with pytest.raises(RunError, match="task from partition 0 is nan at step 5; the checkpoint of step 4 is in "):
        meta_train(learner, stream(), tasks_per_step=2, steps=30, folder=tmp_path, checkpoint_every=2)
    kept = Linear()
    step = tf.Variable(0, dtype=tf.int64)
    assert Checkpoints(kept.variables, step, checkpoint_folder(tmp_path)).restore() == 4
    assert np.isfinite(kept.vector.numpy()).all()


def test_the_history_has_every_step_once_after_a_resume(tmp_path):
    run(tmp_path, 6, checkpoint_every=3)
    run(tmp_path, 9)
    rows = history.read(tmp_path / "history.csv")
    assert [row["step"] for row in rows] == list(range(1, 10))
    assert set(rows[0]) == {"step", "loss", "twice"}


def test_a_damaged_history_does_not_stop_training(tmp_path):
    run(tmp_path, 6)
    (tmp_path / "history.csv").write_text("step,loss\n1,0.5\n2")
    assert run(tmp_path, 9)[1] == 3


def test_callbacks_are_called_at_every_step_and_every_checkpoint():
    steps, checkpoints = [], []
    run(None, 7, checkpoint_every=3, on_step=lambda s, _: steps.append(s), on_checkpoint=checkpoints.append)
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    assert checkpoints == [3, 6, 7]


def test_a_step_that_is_not_finite_changes_nothing():
    class Diverging(Linear):
        def training_loss(self, episode):
            loss, metrics = super().training_loss(episode)
            return TaskLoss(loss * np.nan, metrics)

    learner, counter = Diverging(), tf.Variable(0, dtype=tf.int64)
    result = make_train_step(learner, adam(0.1), counter)(next(iter(stream().dataset(2))))
    assert not np.any(result.finite)
    assert int(counter) == 0
    np.testing.assert_array_equal(learner.vector.numpy(), np.zeros(3))


def test_the_error_about_a_diverging_maml_names_partition_inner_step_and_flag():
    rows = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    learner = learners.build(
        "maml", way=3, on_embeddings=True, embeddings=rows, norm="none", inner_lr=1e30, eval_steps=1
    )
    with pytest.raises(
        RunError, match=r"partition 0 is nan at step 1, after inner step [1-5]; .*lower --maml_inner_lr and try a lower"
    ):
        meta_train(learner, stream(rows), tasks_per_step=2, steps=3)


def test_the_error_about_a_gradient_that_is_not_finite_names_its_task():
    class Edge(Linear):
        def training_loss(self, episode):
            second = tf.cast(episode.index == 1, tf.float32)
            return TaskLoss(tf.reduce_sum(tf.sqrt(self.vector * second + 1 - second)), {})

    learner = Edge()
    step = make_train_step(learner, adam(0.1), tf.Variable(0, dtype=tf.int64))
    assert list(np.array(step(next(iter(stream().dataset(2)))).finite)) == [True, False]
    with pytest.raises(RunError, match="gradient of a task from partition 0 is not finite at step 1; no checkpoint"):
        meta_train(Edge(), stream(), tasks_per_step=2, steps=3)


def test_tasks_share_kernels_if_the_learner_is_vectorized():
    class Watched(Linear):
        def __init__(self, vectorized):
            super().__init__()
            self.vectorized = vectorized

        def training_loss(self, episode):
            loss = tf.reduce_sum((self.vector - tf.reduce_mean(episode.query, axis=(0, 1))) ** 2)
            return TaskLoss(loss, {})

    found = []
    for vectorized in (False, True):
        learner = Watched(vectorized)
        step = make_train_step(learner, keras.optimizers.SGD(1.0), tf.Variable(0, dtype=tf.int64))
        batch = next(iter(stream().dataset(3)))
        step(batch)
        calls = [op for op in step.get_concrete_function(batch).graph.get_operations() if "PartitionedCall" in op.type]
        found.append((len(calls), learner.vector.numpy()))
    assert (found[0][0], found[1][0] < 3) == (3, True)  # a call per task, or none
    np.testing.assert_allclose(found[0][1], found[1][1], rtol=1e-5)


def test_a_learners_clip_bounds_every_element_of_the_mean_gradient():
    class Steep(Linear):
        gradient_clip = 0.25

        def training_loss(self, episode):
            return TaskLoss(tf.reduce_sum(self.vector * tf.constant([100.0, -0.1, 0.2])), {})

    learner = Steep()
    step = make_train_step(learner, keras.optimizers.SGD(1.0), tf.Variable(0, dtype=tf.int64))
    step(next(iter(stream().dataset(2))))
    np.testing.assert_allclose(learner.vector.numpy(), [-0.25, 0.1, -0.2], rtol=1e-6)


def test_a_learners_own_update_replaces_the_gradient_of_its_loss():
    class Own(Linear):
        def update(self, episode):
            return TaskUpdate(tf.constant(1.0), {}, [tf.constant([1.0, 2.0, 3.0])])

    learner = Own()
    step = make_train_step(learner, keras.optimizers.SGD(1.0), tf.Variable(0, dtype=tf.int64))
    step(next(iter(stream().dataset(2))))
    np.testing.assert_allclose(learner.vector.numpy(), [-1.0, -2.0, -3.0])


def test_the_log_announces_the_compilation_of_the_step(caplog):
    caplog.set_level("INFO", logger="cactus_tf")
    run(None, 3)
    assert caplog.text.count("compiling the training step") == 1
