import logging

import pytest

from cactus_tf.fewshot.evaluation import Accuracy
from cactus_tf.pipeline import validation as module


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now


class Tasks:
    way, shot = 5, 1


@pytest.fixture
def run(monkeypatch, caplog):
    """Runs checkpoints at given seconds with a learner that takes given seconds per task; returns what was written."""
    caplog.set_level(logging.INFO, "cactus_tf")
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)

    def evaluate(learner, tasks, number):
        clock.now += learner["start"] + number * learner["task"]
        return Accuracy(0.5, 0.1, None, None)

    monkeypatch.setattr(module, "evaluate", evaluate)

    def run(training_seconds, **learner):
        written = {}
        watch = module.Validation({"start": 0.0, **learner}, Tasks(), written.__setitem__)
        for step, seconds in enumerate(training_seconds, 1):
            clock.now += seconds
            watch(step)
        return written, clock.now - sum(training_seconds), [r.getMessage() for r in caplog.records]

    return run


def test_cheap_validation_runs_at_every_checkpoint(run):
    written, _, lines = run([30, 30], task=0.01)
    assert list(written) == [1, 2]
    assert lines[0] == "validation: step 1, 50.00 ± 10.00% on 100 5-way 1-shot tasks, in 1 s"


def test_expensive_validation_is_skipped_and_says_so_once(run):
    written, seconds, lines = run([60, 60, 60], task=4.2)
    assert not written
    assert seconds < 4.2 * 5
    assert len(lines) == 1
    assert "skipped from step 1 until its 7 min are less than 5% of the training time" in lines[0]


def test_expensive_validation_runs_once_it_is_a_small_share(run):
    written, seconds, _ = run([600] * 20, task=1.0)
    assert list(written)
    assert seconds <= 0.05 * 600 * 20


def test_the_first_estimate_leaves_out_what_is_done_once_for_all_tasks(run):
    written, _, _ = run([600], start=2.0, task=0.01)
    assert list(written) == [1]
