"""A step is the same for any number of replicas; a number of tasks that cannot be divided is refused."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import cactus_tf as ct
from cactus_tf.errors import InputError, RunError
from cactus_tf.fewshot.replicas import Replicas, RunningAverages
from cactus_tf.utils.distribution import Distribution, Workers

SCRIPT = Path(__file__).with_name("replicas_script.py")


def trained(folder, replicas):
    """What the script stores: {"LEARNER-VARIABLE": array}."""
    file = folder / f"{replicas}.npz"
    subprocess.run([sys.executable, SCRIPT, file, str(replicas)], check=True, timeout=900, capture_output=True)
    with np.load(file) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("alone"), 0)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2, 4])
def test_losses_weights_and_averages_do_not_depend_on_the_number_of_replicas(replicas, alone, tmp_path):
    divided = trained(tmp_path, replicas)
    assert len(alone) > 20
    for name, array in alone.items():
        np.testing.assert_allclose(divided[name], array, rtol=1e-9, atol=1e-9, err_msg=name)


def learner():
    return ct.learners.build("protonets", image_shape=(28, 28, 1), way=3, filters=2)


def test_without_a_scope_nothing_is_distributed():
    replicas = Replicas(learner(), 3)
    assert not replicas.distributed
    assert replicas.number == 1


def test_tasks_that_cannot_be_divided_are_refused(monkeypatch):
    monkeypatch.setattr(type(tf.distribute.get_strategy()), "num_replicas_in_sync", 2)
    with pytest.raises(
        InputError, match=r"--tasks_per_step=3 cannot be divided equally among 2 replicas: choose a mul"
    ):
        Replicas(learner(), 3)


def test_training_in_an_open_scope_is_refused():
    data = ct.datasets.load("digits").train
    tasks = ct.episodes(data.images, data.partitions, way=3, shot=1, query=1)
    with tf.distribute.OneDeviceStrategy("CPU:0").scope(), pytest.raises(InputError, match="only build the learner"):
        ct.meta_train(learner(), tasks, steps=1)


def test_tasks_change_averages_as_in_order():
    """v moves by a (s_i - v), task by task, from tasks that each began at the same v."""
    own = learner()
    averages = RunningAverages(own)
    statistics = np.random.default_rng(0).normal(size=(5, 2))
    variable, weight = own.running_averages[0]
    variable.assign([0.3, -2.0])
    in_order = np.array(variable.value)
    for s in statistics:
        in_order = in_order + weight * (s - in_order)
    start = np.array(variable.value)
    after = [np.tile(np.array(v.value), (5, 1)) for v, _ in own.running_averages]
    after[0] = (start + weight * (statistics - start)).astype(np.float32)
    after = [tf.constant(a, tf.float32) for a in after]
    halves = [averages.changes([a[:2] for a in after], 0, 5), averages.changes([a[2:] for a in after], 2, 5)]
    for half in halves:
        averages.add(half)  # the sum of both, of which each began at the same v
    np.testing.assert_allclose(variable.value, in_order, rtol=1e-5)


def test_a_learner_that_changes_other_variables_is_refused():
    own = learner()

    class Counting(type(own)):
        count = keras.Variable(0.0, trainable=False, name="count")

        @property
        def variables(self):
            return [*super().variables, self.count]

    own.__class__ = Counting
    with pytest.raises(InputError, match="changes count, which is neither trained nor among its running_averages"):
        RunningAverages(own).update(lambda: (own.count.assign(1.0) and None) or (0.0, {}, []))


def test_a_worker_makes_its_part_of_every_step():
    data = ct.datasets.load("digits").train
    tasks = ct.episodes(data.images, data.partitions, way=3, shot=1, query=1)
    whole = next(iter(tasks.dataset(4, 2)))
    part = next(iter(tasks.dataset(4, 2, first=1, count=2)))
    for all_tasks, own in zip(whole, part, strict=True):
        np.testing.assert_array_equal(all_tasks[1:3], own)


def test_workers_that_make_other_tasks_are_named(monkeypatch):
    data = ct.datasets.load("digits").train
    compared = []
    monkeypatch.setattr(Distribution, "differing", lambda self, content: compared.append(content) or "b:2")
    for rows in (data.images, data.images, 255 - data.images):
        tasks = ct.episodes(rows, data.partitions, way=3, shot=1, query=1)
        replicas = Replicas(learner(), 1)
        replicas.workers = Workers(("a:1", "b:2"), 0)
        with pytest.raises(
            RunError, match="the worker at b:2 makes other tasks than the chief at a:1: give all workers"
        ):
            replicas.check_same_tasks(tasks, 0)
    assert compared[0] == compared[1] != compared[2]
