"""Keras' `fit`, step by step, that resumes a stopped one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from cactus_tf.embedders._base import fit_callbacks
from cactus_tf.embedders._base.network import Network
from cactus_tf.errors import InputError
from cactus_tf.utils import progress
from cactus_tf.utils.checkpoints import Checkpoints
from cactus_tf.utils.history import read, write

log = logging.getLogger(__name__)

SAVE_STEPS, SAVE_SECONDS = 500, 300  # between partial checkpoints, whichever comes first
HISTORY = "history.csv"


def state(model: Network) -> list[keras.Variable]:
    """Everything that a fit changes: weights and optimizers."""
    return [*model.weights, *(v for optimizer in model.optimizers for v in optimizer.variables)]


def fit_steps(
    name: str,
    model: Network,
    data: Callable[[int], tf.data.Dataset],
    steps: int,
    *,
    folder: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> list[dict[str, float]]:
    """Trains a network in place, resuming from the folder's checkpoint if there is one.

    Args:
      name: for messages.
      model: the network.
      data: data(first) gives the steps first ... steps - 1 as (step, images).
      steps: length of the whole training.
      folder: for partial checkpoints; None stores nothing.
      identity: settings of this fit; a folder with a fit of other settings is refused.
      callbacks: get each step's number in the whole training, from 0, and its scalars.

    Returns:
      The learning curve.
    """
    checkpoints = Checkpoints(state(model), model.optimizer.iterations, folder, identity or {})
    first = checkpoints.restore()
    if first > steps:
        raise InputError(f"{folder} keeps a fit of {first} steps, more than {steps}: ask for as many or delete it")
    curve = fit_callbacks.RecordCurve(steps, read(folder / HISTORY, first) if folder else [])

    def save() -> None:
        checkpoints.save()
        if folder:
            write(folder / HISTORY, curve.rows)

    started = time.monotonic()
    log.info("%s: fitting, steps %d to %d", name, first, steps)
    with progress.bar(total=steps, initial=first, desc=name, unit="step") as bar:
        every_step = [
            fit_callbacks.StopWhenNotFinite(name, checkpoints),
            curve,
            *callbacks,
            fit_callbacks.SaveRegularly(save, SAVE_STEPS, SAVE_SECONDS),
            fit_callbacks.ShowProgress(bar),
        ]
        try:
            if first < steps:
                numbered = fit_callbacks.GlobalSteps(first, every_step, model=model, steps=steps, epochs=1)
                model.fit(data(first), shuffle=False, verbose=0, callbacks=numbered)
            save()
        except KeyboardInterrupt:
            save()
            log.warning("%s: stopped; %s", name, checkpoints.kept())
            raise
    losses = ", ".join(f"{loss} {value:.4f}" for loss, value in curve.last.items())
    log.info("%s: fitted in %.1f s; %s", name, time.monotonic() - started, losses or "nothing was left to do")
    return curve.rows
