"""Accuracy on validation tasks while a learner trains, within a share of the time. It informs; nothing is selected."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from cactus_tf.config.plan import EvaluationPlan, LearnerPlan
from cactus_tf.contracts import Learner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import evaluate
from cactus_tf.types import ImageSet
from cactus_tf.utils.text import duration

log = logging.getLogger(__name__)

EPISODES = 100
SHARE = 0.05
"""Of the training time, at most, for all validations together."""
FLOOR = 5.0
"""Seconds that validation may take however short the training is."""

Write = Callable[[int, dict[str, float]], None]


def validation(
    plan: LearnerPlan, evaluation: EvaluationPlan, learner: Learner, val: ImageSet, write: Write
) -> Validation | None:
    """The callback for checkpoints; None if there are no validation tasks for this learner.

    Args:
      plan: of the learner.
      evaluation: how tasks are made.
      learner: the one that trains.
      val: the validation split.
      write: writes scalars of a step.
    """
    if val.partitions is None or learner.consumes != "images":
        return None
    way, shot = plan.tasks[0]
    try:
        tasks = evaluation.tasks(val.images, val.partitions, way, shot, split="val")
    except InputError:
        return None  # too few images or classes
    return Validation(learner, tasks, write)


class Validation:
    """Evaluates a learner on the same tasks at every checkpoint that leaves enough time.

    Args:
      learner: the one that trains.
      tasks: of the validation split.
      write: writes scalars of a step.
    """

    def __init__(self, learner: Learner, tasks: Episodes, write: Write):
        self._learner, self._tasks, self._write = learner, tasks, write
        self._began, self._spent = time.monotonic(), 0.0
        self._cost: float | None = None  # seconds of one validation
        self._skipped = False

    def __call__(self, step: int) -> None:
        """Evaluates, or skips where validation would take more than its share of the time."""
        began = time.monotonic()
        if self._cost is None:
            self._cost = self._measured()
        allowed = max(FLOOR, SHARE * (began - self._began - self._spent))
        if self._spent + self._cost > allowed:
            self._skip(step)
        else:
            self._validate(step)
        self._spent += time.monotonic() - began

    def _validate(self, step: int) -> None:
        way, shot = self._tasks.way, self._tasks.shot
        began = time.monotonic()
        result = evaluate(self._learner, self._tasks, EPISODES)
        self._cost = time.monotonic() - began
        self._write(step, {"val/accuracy": result.mean, "val/ci95": result.ci95})
        percent = f"{100 * result.mean:.2f} ± {100 * result.ci95:.2f}% on {EPISODES} {way}-way {shot}-shot tasks"
        log.info("validation: step %s, %s, in %s", f"{step:,}", percent, duration(self._cost))

    def _skip(self, step: int) -> None:
        """Logs the first skip."""
        if not self._skipped:
            cost = duration(self._cost or 0.0)
            log.info(
                "validation: skipped from step %s until its %s are less than %d%% of the training time",
                *(f"{step:,}", cost, 100 * SHARE),
            )
        self._skipped = True

    def _measured(self) -> float:
        """Seconds of a validation, from one and two tasks; the first call compiles."""
        seconds = []
        for number in (1, 1, 2):
            began = time.monotonic()
            evaluate(self._learner, self._tasks, number)
            seconds.append(time.monotonic() - began)
        _, one, two = seconds
        return one + (EPISODES - 1) * max(two - one, 0.0)
