"""Keras' `fit`, step by step, that resumes a stopped one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.embedders._base.fit_callbacks import GlobalSteps, Recorder, Saver
from cactus_tf.embedders._base.network import Network
from cactus_tf.errors import InputError
from cactus_tf.utils import history, progress
from cactus_tf.utils.checkpoints import Checkpoints

log = logging.getLogger(__name__)

POINTS = 200  # of the learning curve
_LARGE = 1e8  # bytes on disk that are worth a word


def state(model: Network) -> list[keras.Variable]:
    """Everything that a fit changes: weights and optimizers."""
    return [*model.weights, *(v for optimizer in model.optimizers for v in optimizer.variables)]


def _disk_space(model: Network) -> str:
    """What a checkpoint of a large network takes, for a message."""
    size = sum(int(np.prod(v.shape)) * np.dtype(v.dtype).itemsize for v in state(model))
    return f"; a checkpoint takes {size / 1e6:,.0f} MB until the end of the fit" if size > _LARGE else ""


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
        raise InputError(f"{folder} holds a fit of {first} steps, more than {steps}: raise the steps or delete it")
    curve = history.Curve(folder and folder / history.NAME, first, steps, POINTS)
    started = time.monotonic()
    log.info("%s: fitting, steps %d to %d%s", name, first, steps, _disk_space(model) if folder else "")
    shorter = "--embedder_steps shortens it, and --embedder=pixels takes minutes"
    with progress.Bar(desc=name, total=steps, initial=first, shorter=shorter) as bar:
        recorder, saver = Recorder(name, checkpoints, curve), Saver(checkpoints, curve, bar)
        try:
            if first < steps:
                numbered = GlobalSteps(first, [recorder, *callbacks, saver], model=model, steps=steps, epochs=1)
                model.fit(data(first), shuffle=False, verbose=0, callbacks=numbered)
            saver.save()
        except KeyboardInterrupt:
            saver.save()
            log.warning("%s: stopped; %s", name, checkpoints.status())
            raise
    means = ", ".join(f"{scalar} {value:.4f}" for scalar, value in recorder.means().items())
    about = f"{means} on average over the last {len(recorder.last)} steps" if means else "nothing was left to do"
    log.info("%s: fitted in %.1f s; %s", name, time.monotonic() - started, about)
    return curve.rows
