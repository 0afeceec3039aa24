"""Keras callbacks of every fit."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import keras
from tqdm import tqdm

from cactus_tf.errors import RunError
from cactus_tf.utils.checkpoints import Checkpoints

_POINTS = 200  # of a history


class GlobalSteps(keras.callbacks.CallbackList):
    """Tells every callback the step's number in the whole fit: Keras counts from 0 wherever a fit goes on.

    Args:
      first: number of the first step of this call.
      callbacks: to be told.
      **params: as Keras' own list takes them (`model`, `steps`, `epochs`).
    """

    def __init__(self, first: int, callbacks: Sequence[keras.callbacks.Callback], **params):
        super().__init__(list(callbacks), add_history=True, **params)
        self._first = first

    def on_train_batch_begin(self, batch, logs=None):
        """`batch` counts from 0 where this call began."""
        super().on_train_batch_begin(self._first + batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        """`batch` counts from 0 where this call began."""
        super().on_train_batch_end(self._first + batch, logs)


class StopWhenNotFinite(keras.callbacks.Callback):
    """Ends the fit with a RunError at the first loss that is NaN or infinite."""

    def __init__(self, name: str, checkpoints: Checkpoints):
        super().__init__()
        self._name, self._checkpoints = name, checkpoints

    def on_train_batch_end(self, batch, logs=None):
        """Looks at every number that the step returned."""
        for loss, value in (logs or {}).items():
            if not math.isfinite(value):
                kept = self._checkpoints.kept()
                raise RunError(f"{self._name}: {loss} is {value} at step {batch + 1}; {kept}; lower the rate")


class History(keras.callbacks.Callback):
    """The learning curve at some 200 steps: {"step": finished steps, loss: value, ...}; `last`: the newest losses."""

    def __init__(self, steps: int, rows: Sequence[dict[str, float]] = ()):
        super().__init__()
        self._every = max(1, steps // _POINTS)
        self.rows = list(rows)
        self.last: dict[str, float] = {}

    def on_train_batch_end(self, batch, logs=None):
        """Takes down every so-manieth step."""
        self.last = dict(logs or {})
        if (batch + 1) % self._every == 0:
            self.rows.append({"step": batch + 1, **self.last})


class Keep(keras.callbacks.Callback):
    """Calls `save` every so many steps, and where these are slow every so many seconds."""

    def __init__(self, save: Callable[[], None], every: int, seconds: float):
        super().__init__()
        self._save, self._every, self._seconds = save, every, seconds
        self._saved = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Keeps the state after the step."""
        if (batch + 1) % self._every == 0 or time.monotonic() - self._saved > self._seconds:
            self._save()
            self._saved = time.monotonic()


class Progress(keras.callbacks.Callback):
    """Moves a progress bar."""

    def __init__(self, bar: tqdm):
        super().__init__()
        self._bar = bar

    def on_train_batch_end(self, batch, logs=None):
        """One step further, with its losses."""
        self._bar.set_postfix({name: f"{value:.4f}" for name, value in (logs or {}).items()}, refresh=False)
        self._bar.update()
