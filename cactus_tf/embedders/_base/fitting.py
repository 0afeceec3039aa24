"""Fitting a network step by step: Keras' `fit` that goes on where a stopped one was."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.embedders._base import fit_callbacks
from cactus_tf.embedders._base.batches import batches
from cactus_tf.errors import InputError
from cactus_tf.utils import progress
from cactus_tf.utils.checkpoints import Checkpoints
from cactus_tf.utils.history import read, write

log = logging.getLogger(__name__)

KEEP_EVERY, KEEP_SECONDS = 500, 300  # steps between partial checkpoints, or seconds where steps are slow
HISTORY = "history.csv"


class Plan(NamedTuple):
    """What a network is built from beside its options.

    Attributes:
      image_shape: (height, width, channels).
      images: n, how many there are.
      steps: length of the whole training, for schedules.
      seed: of the initial weights and of all noise.
    """

    image_shape: tuple[int, ...]
    images: int
    steps: int
    seed: int


class Network(keras.Model):
    """A compiled Keras model that an embedder can hold.

    A leaf implements `train_step`, `encode` and `optimizers`. `train_step` gets (step, [batch, h, w, c] uint8) and
    returns the step's losses as they are, no running means; noise is a function of (seed, step). All its state is in
    `weights` and in the optimizers, which are built; `optimizer.iterations` counts the steps. The other methods may
    stay as they are.

    Attributes:
      scheduled: whether a step depends on the length of the whole training, so that a longer one cannot go on from it.
    """

    scheduled = False

    @property
    def optimizers(self) -> list[keras.optimizers.Optimizer]:
        """All of them, `self.optimizer` included."""
        raise NotImplementedError

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> [n, dim] float32."""
        raise NotImplementedError

    def data(self, images: np.ndarray, batch: int, seed: int, first: int, steps: int) -> tf.data.Dataset:
        """What the steps first ... steps - 1 get: (step, [batch, h, w, c] uint8)."""
        return batches(images, batch, seed, first, steps)

    def between_steps(self, images: np.ndarray) -> Sequence[keras.callbacks.Callback]:
        """Callbacks for what happens between steps; they are told a step's number in the whole training."""
        return ()

    def finish(self, images: np.ndarray) -> None:
        """What `encode` needs beside the trained weights, from [n, h, w, c] uint8; a function of the weights alone."""

    def pictures(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """To look at: {name: [rows, columns, h, w, c] in 0..1} for a few images, [m, h, w, c] uint8."""
        return {}


def state(model: Network) -> list[keras.Variable]:
    """All that a fit changes: weights and optimizers."""
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
    """Keras' `fit` that goes on where a stopped one was.

    Args:
      name: for messages.
      model: trained in place.
      data: data(first) gives the steps first ... steps - 1 as (step, images).
      steps: length of the whole training.
      folder: keeps the partial checkpoints; None keeps nothing.
      identity: settings of this fit; a folder that keeps one with others is refused.
      callbacks: get the true number of each step (from 0) and its losses.

    Returns:
      The learning curve.

    Raises:
      InputError: the folder keeps a fit of other settings, or a longer one.
      RunError: a loss or a weight is NaN or infinite; the last good checkpoint is kept.
    """
    kept = Checkpoints(state(model), model.optimizer.iterations, folder, identity or {})
    first = kept.restore()
    if first > steps:
        raise InputError(f"{folder} keeps a fit of {first} steps, more than {steps}: ask for as many or delete it")
    history = fit_callbacks.History(steps, read(folder / HISTORY, first) if folder else [])

    def save() -> None:
        kept.save()
        if folder:
            write(folder / HISTORY, history.rows)

    started = time.monotonic()
    log.info("%s: fitting, steps %d to %d", name, first, steps)
    with progress.bar(total=steps, initial=first, desc=name, unit="step") as bar:
        told = [
            fit_callbacks.StopWhenNotFinite(name, kept),
            history,
            *callbacks,
            fit_callbacks.Keep(save, KEEP_EVERY, KEEP_SECONDS),
            fit_callbacks.Progress(bar),
        ]
        try:
            if first < steps:
                numbered = fit_callbacks.GlobalSteps(first, told, model=model, steps=steps, epochs=1)
                model.fit(data(first), shuffle=False, verbose=0, callbacks=numbered)
            save()
        except KeyboardInterrupt:
            save()
            log.warning("%s: stopped; %s", name, kept.kept())
            raise
    losses = ", ".join(f"{loss} {value:.4f}" for loss, value in history.last.items())
    log.info("%s: fitted in %.1f s; %s", name, time.monotonic() - started, losses or "nothing was left to do")
    return history.rows
