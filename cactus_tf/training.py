"""The outer loop: Adam on the mean loss of a batch of episodes, with checkpoints and exact resume."""

import math
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf
from tqdm import tqdm

from cactus_tf import history, progress
from cactus_tf.checkpoints import Checkpoints
from cactus_tf.errors import InputError, RunError
from cactus_tf.sampling import Episodes
from cactus_tf.types import Episode, MetaLearner

OnStep = Callable[[int, dict[str, float]], None]
_HISTORY_POINTS = 500


def adam(rate: float) -> keras.optimizers.Optimizer:
    """Adam as in both original code bases: beta 0.9 / 0.999, epsilon 1e-8 (Keras' own default is 1e-7)."""
    return keras.optimizers.Adam(rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8)


def make_train_step(learner: MetaLearner, optimizer: keras.optimizers.Optimizer, counter: tf.Variable) -> Callable:
    """The compiled outer step: batch of episodes -> scalars {"loss": mean loss, ...}.

    The tasks are unrolled, so that independent ones may run side by side. The step counts itself in `counter`, so that
    weights and count agree wherever a run is interrupted.
    """
    variables = learner.trainable_variables
    optimizer.build(variables)

    @tf.function
    def step(batch: Episode) -> dict:
        with tf.GradientTape() as tape:
            tasks = [Episode(*parts) for parts in zip(*(tf.unstack(part) for part in batch), strict=True)]
            results = [learner.training_loss(task) for task in tasks]
            loss = tf.reduce_mean([result.loss for result in results])
        optimizer.apply(tape.gradient(loss, variables), variables)
        counter.assign_add(1)
        means = {name: tf.reduce_mean([r.metrics[name] for r in results]) for name in results[0].metrics}
        return {"loss": loss, **means}

    return step


def meta_train(
    learner: MetaLearner,
    episodes: Episodes,
    *,
    tasks_per_step: int = 1,
    steps: int = 30_000,
    outer_lr: float = 1e-3,
    folder: Path | None = None,
    checkpoint_every: int = 1000,
    on_step: OnStep | None = None,
    on_checkpoint: Callable[[int], None] | None = None,
) -> int:
    """Meta-trains a learner in place.

    Args:
      learner: its `training_loss` is minimised.
      episodes: training tasks; step s uses episodes s T ... (s + 1) T - 1, so a resumed run sees what it would have.
      tasks_per_step: T, episodes of one outer step.
      steps: number of outer steps, those of an earlier run in `folder` included.
      outer_lr: beta, the rate of Adam.
      folder: where checkpoints and history.csv are kept; None keeps nothing.
      checkpoint_every: steps between checkpoints.
      on_step: called after every step with its number (from 1) and its scalars.
      on_checkpoint: called after every checkpoint with the step's number.

    Returns:
      The number of steps that this call made.

    Raises:
      InputError: `folder` holds a longer training than `steps`.
      RunError: the loss is not finite; the last good checkpoint is kept.
    """
    optimizer = adam(outer_lr)
    counter = tf.Variable(0, dtype=tf.int64, trainable=False)
    train_step = make_train_step(learner, optimizer, counter)
    state = [*learner.variables, *optimizer.variables]
    keeper = Checkpoints(state, counter, checkpoint_folder(folder))
    start = keeper.restore()
    if start > steps:
        raise InputError(
            f"{folder} holds a training of {start} steps, more than the {steps} asked for: "
            f"raise --steps to {start} or choose another --workdir"
        )
    curve = History(folder, start, steps)
    batches = iter(episodes.dataset(tasks_per_step, start))
    done = start
    bar = progress.bar(total=steps, initial=start, desc="meta-train", unit="step")
    try:
        while done < steps:
            scalars = {name: float(value) for name, value in train_step(next(batches)).items()}
            _check_finite(scalars["loss"], done + 1, keeper.kept())
            done += 1
            _show(bar, scalars)
            curve.add(done, scalars)
            if on_step:
                on_step(done, scalars)
            if done % checkpoint_every == 0 or done == steps:
                keeper.save()
                curve.write()
                if on_checkpoint:
                    on_checkpoint(done)
    except KeyboardInterrupt:
        keeper.save()
        curve.write()
        raise
    finally:
        bar.close()
    return done - start


def checkpoint_folder(folder: Path | None) -> Path | None:
    """Where a learner's checkpoints lie below its folder."""
    return folder / "checkpoints" if folder else None


class History:
    """The learning curve, thinned to a few hundred points, in `folder`/history.csv."""

    def __init__(self, folder: Path | None, start: int, steps: int):
        self._path = folder / "history.csv" if folder else None
        self._every = max(1, steps // _HISTORY_POINTS)
        self.rows = history.read(self._path, start)

    def add(self, step: int, scalars: dict[str, float]) -> None:
        """Takes down every so-manieth step."""
        if step % self._every == 0:
            self.rows.append({"step": step, **scalars})

    def write(self) -> None:
        """Writes the file."""
        if self._path and self.rows:
            history.write(self._path, self.rows)


def _check_finite(loss: float, step: int, kept: str) -> None:
    if not math.isfinite(loss):
        raise RunError(f"the loss is {loss} at step {step}; {kept}: try a lower --outer_lr")


def _show(bar: tqdm, scalars: dict[str, float]) -> None:
    bar.update()
    bar.set_postfix({name: f"{value:.3f}" for name, value in scalars.items()}, refresh=False)
