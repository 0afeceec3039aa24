"""Keras callbacks of every fit."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import keras

from cactus_tf.errors import RunError
from cactus_tf.utils.checkpoints import Checkpoints
from cactus_tf.utils.history import Curve
from cactus_tf.utils.progress import Bar

SAVE_STEPS, SAVE_SECONDS = 500, 300  # between partial checkpoints, whichever comes first
_RECENT = 100  # steps
Logs = Mapping[str, float] | None


class GlobalSteps(keras.callbacks.CallbackList):
    """Numbers steps from the start of training; Keras counts from 0 in a resumed fit.

    Args:
      first: number of the first step of this call.
      callbacks: they get the numbers.
      **params: of Keras' own list (`model`, `steps`, `epochs`).
    """

    def __init__(self, first: int, callbacks: Sequence[keras.callbacks.Callback], **params: Any):
        super().__init__(list(callbacks), add_history=True, **params)
        self._first = first

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        """`batch` counts from 0 in this call."""
        super().on_train_batch_begin(self._first + batch, logs)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """`batch` counts from 0 in this call."""
        super().on_train_batch_end(self._first + batch, logs)


class Recorder(keras.callbacks.Callback):
    """Records the learning curve, and ends the fit with a RunError at the first scalar that is NaN or infinite.

    Attributes:
      last: scalars of the last 100 steps; those of a single step say little.
    """

    def __init__(self, name: str, checkpoints: Checkpoints, curve: Curve):
        super().__init__()
        self._name, self._checkpoints, self._curve = name, checkpoints, curve
        self.last: deque[dict[str, float]] = deque(maxlen=_RECENT)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Checks and records the step's scalars."""
        scalars = dict(logs or {})
        for loss, value in scalars.items():
            if not math.isfinite(value):
                status = self._checkpoints.status()
                raise RunError(f"{self._name}: {loss} is {value} at step {batch + 1}; {status}; lower the rate")
        self.last.append(scalars)
        self._curve.add(batch + 1, scalars)

    def means(self) -> dict[str, float]:
        """Of the last steps."""
        return {name: fmean(one[name] for one in self.last) for name in (self.last[-1] if self.last else ())}


class Saver(keras.callbacks.Callback):
    """Saves checkpoint and learning curve regularly, and moves the progress bar."""

    def __init__(self, checkpoints: Checkpoints, curve: Curve, bar: Bar):
        super().__init__()
        self._checkpoints, self._curve, self._bar = checkpoints, curve, bar
        self._saved = time.monotonic()

    def save(self) -> None:
        """Saves both, the curve first: what it has beyond the checkpoint, a resumed fit drops."""
        self._curve.write()
        self._checkpoints.save()
        self._saved = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Saves every 500 steps, or every 300 seconds if steps are slow."""
        if (batch + 1) % SAVE_STEPS == 0 or time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in (logs or {}).items()})
        self._bar.update()
