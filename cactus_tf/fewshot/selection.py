"""Selection without labels: the weights with the highest accuracy on held-out pseudo-tasks."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import tensorflow as tf

from cactus_tf.errors import RunError
from cactus_tf.utils.checkpoints import Checkpoints, load_newest

log = logging.getLogger(__name__)

TIMES = 10
"""Steps of a training that are compared: the ends of ten equal parts of it."""


def selected_folder(folder: Path) -> Path:
    """The folder of the selected weights, in the learner's folder."""
    return folder / "selected"


class Selection:
    """Compares steps of a training, and saves the weights of the best; of equals, the latest.

    What it knows is part of the training's checkpoints, so an interrupted training selects what an uninterrupted one
    does.

    Args:
      weights: the variables to save.
      accuracy: the accuracy of the weights as they are, as a fraction.
      folder: of the learner.
      steps: length of the training.
      write: writes scalars of a step.
    """

    def __init__(
        self,
        weights: Sequence[keras.Variable],
        accuracy: Callable[[], float],
        folder: Path,
        steps: int,
        write: Callable[[int, dict[str, float]], None],
    ):
        self._weights, self._accuracy, self._write = weights, accuracy, write
        self._every, self._steps = max(1, steps // TIMES), steps
        self._folder = selected_folder(folder)
        self._best = tf.Variable(-1.0, dtype=tf.float64, trainable=False)
        self._evaluated, self._step = (tf.Variable(0, dtype=tf.int64, trainable=False) for _ in range(2))
        self._checkpoints = Checkpoints(weights, self._step, self._folder)

    @property
    def variables(self) -> list:
        """What a checkpoint of the training must hold."""
        return [self._best, self._evaluated]

    def catch_up(self, start: int) -> None:
        """Evaluates the step that a training resumes from, if it ended in between."""
        if start and self._due(start) and int(self._evaluated) != start:
            self._evaluate(start)

    def after(self, step: int) -> dict[str, float]:
        """The accuracy of a step, NaN for one that is not compared, for the learning curve."""
        return {"pseudo_accuracy": self._evaluate(step) if self._due(step) else math.nan}

    def restore(self) -> None:
        """Assigns the best weights.

        Raises:
          RunError: they are gone or damaged.
        """
        step = load_newest(self._weights, self._folder)
        if not step:
            raise RunError(
                f"{self._folder} holds no readable weights: delete {self._folder.parent} and rerun the command, which "
                "trains again"
            )
        accuracy = 100 * float(self._best)
        log.info("select: the weights of step %s, %.2f%% on held-out pseudo-tasks", f"{step:,}", accuracy)

    def _due(self, step: int) -> bool:
        return step % self._every == 0 or step == self._steps

    def _evaluate(self, step: int) -> float:
        accuracy = self._accuracy()
        self._write(step, {"pseudo/accuracy": accuracy})
        if accuracy >= float(self._best):
            self._step.assign(step)
            self._checkpoints.save()
            self._best.assign(accuracy)
        self._evaluated.assign(step)
        return accuracy
