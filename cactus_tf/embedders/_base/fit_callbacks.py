"""Keras callbacks of every fit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from tqdm import tqdm

from cactus_tf.errors import RunError
from cactus_tf.utils.checkpoints import Checkpoints

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


class StopWhenNotFinite(keras.callbacks.Callback):
    """Ends the fit with a RunError at the first loss that is NaN or infinite."""

    def __init__(self, name: str, checkpoints: Checkpoints):
        super().__init__()
        self._name, self._checkpoints = name, checkpoints

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Checks every scalar of the step."""
        for loss, value in (logs or {}).items():
            if not math.isfinite(value):
                kept = self._checkpoints.kept()
                raise RunError(f"{self._name}: {loss} is {value} at step {batch + 1}; {kept}; lower the rate")


class RecordCurve(keras.callbacks.Callback):
    """Records the learning curve at about 200 steps: {"step": finished steps, scalar: value, ...}.

    Attributes:
      rows: the curve.
      last: scalars of the last step.
    """

    POINTS = 200

    def __init__(self, steps: int, rows: Sequence[dict[str, float]] = ()):
        super().__init__()
        self._every = max(1, steps // self.POINTS)
        self.rows = list(rows)
        self.last: dict[str, float] = {}

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Records every n-th step."""
        self.last = dict(logs or {})
        if (batch + 1) % self._every == 0:
            self.rows.append({"step": batch + 1, **self.last})


class SaveRegularly(keras.callbacks.Callback):
    """Calls `save` every so many steps, and every so many seconds if steps are slow."""

    def __init__(self, save: Callable[[], None], every: int, seconds: float):
        super().__init__()
        self._save, self._every, self._seconds = save, every, seconds
        self._saved = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Saves when it is time."""
        if (batch + 1) % self._every == 0 or time.monotonic() - self._saved > self._seconds:
            self._save()
            self._saved = time.monotonic()


class ShowProgress(keras.callbacks.Callback):
    """Moves a progress bar."""

    def __init__(self, bar: tqdm):
        super().__init__()
        self._bar = bar

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        """Shows the step's scalars."""
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in (logs or {}).items()}, refresh=False)
        self._bar.update()
