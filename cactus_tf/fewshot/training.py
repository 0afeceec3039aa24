"""The outer loop: Adam on the mean loss of a batch of episodes, with checkpoints and exact resume."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.contracts import AdaptingMetaLearner, MetaLearner, UpdatingLearner
from cactus_tf.errors import InputError, RunError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.schedules import Rate, outer_rate
from cactus_tf.fewshot.selection import Selection, selected_folder
from cactus_tf.types import Array, Episode, TaskUpdate
from cactus_tf.utils import history, progress
from cactus_tf.utils.checkpoints import Checkpoints, newest_files, tf_variable
from cactus_tf.utils.keras_defaults import keras_defaults
from cactus_tf.utils.paths import expanded
from cactus_tf.utils.threads import cores

log = logging.getLogger(__name__)

OnStep = Callable[[int, dict[str, float]], None]
Augment = Callable[[Episode], Episode]
"""From an episode to the one that is trained on; see `fewshot.augmenting`."""
_SIDE_BY_SIDE = max(2, cores())
"""Tasks of a step that run at the same time; more would only take more memory."""


class StepResult(NamedTuple):
    """What one outer step reports.

    Attributes:
      scalars: {"loss": mean loss of the tasks, and their mean metrics}.
      losses: [T] of each task.
      finite: [T] whether loss and gradient of each task are finite; if one is not, the step changed nothing.
    """

    scalars: dict[str, Array]
    losses: Array
    finite: Array


@keras_defaults()
def adam(rate: Rate) -> keras.optimizers.Optimizer:
    """Adam as in both original code bases: beta 0.9 / 0.999, epsilon 1e-8 (Keras' own default is 1e-7)."""
    return keras.optimizers.Adam(rate, beta_1=0.9, beta_2=0.999, epsilon=1e-8)


def make_task_update(learner: MetaLearner) -> Callable[[Episode], TaskUpdate]:
    """The compiled part of a step for one episode: its loss and gradients.

    It stays a function of its own in the graph of a step, so a step of many tasks is traced and optimized once, not
    once per task, which would take four times as long to start.
    """
    variables = [tf_variable(v) for v in learner.trainable_variables]

    def update(episode: Episode) -> TaskUpdate:
        if isinstance(learner, UpdatingLearner):
            return learner.update(episode)
        with tf.GradientTape() as tape:
            loss, metrics = learner.training_loss(episode)
        return TaskUpdate(loss, metrics, tape.gradient(loss, variables, unconnected_gradients="zero"))

    return tf.function(update, autograph=False, experimental_attributes={"_noinline": True})


def side_by_side(task_update: Callable[[Episode], TaskUpdate], batch: Episode) -> TaskUpdate:
    """Runs every task with its own kernels, one task per core at a time; [T, ...] of everything."""
    tasks = [Episode(*parts) for parts in zip(*(tf.unstack(part) for part in batch), strict=True)]
    updates: list[TaskUpdate] = []
    for task in tasks:
        finished = [updates[-_SIDE_BY_SIDE].loss] if len(updates) >= _SIDE_BY_SIDE else []
        with tf.control_dependencies(finished):
            updates.append(task_update(task))
    return tf.nest.map_structure(lambda *parts: tf.stack(parts), *updates)


def vectorized(task_update: Callable[[Episode], TaskUpdate], batch: Episode) -> TaskUpdate:
    """Runs all tasks in the same kernels; [T, ...] of everything."""
    return tf.vectorized_map(task_update, batch, fallback_to_while_loop=False)


def make_train_step(
    learner: MetaLearner,
    optimizer: keras.optimizers.Optimizer,
    counter: tf.Variable,
    augment: Augment | None = None,
) -> Callable:
    """The compiled outer step: batch of episodes -> StepResult.

    The tasks are independent in the graph and run side by side. The step increments `counter` itself, so weights and
    count agree wherever a run is interrupted. If a loss or gradient is not finite, nothing changes.
    """
    variables = learner.trainable_variables
    optimizer.build(variables)
    task_update = make_task_update(learner)
    augmented = _augmented(augment)
    run, clip = vectorized if learner.vectorized else side_by_side, learner.gradient_clip

    @tf.function(autograph=False)
    def step(batch: Episode) -> StepResult:
        updates = run(task_update, augmented(batch))
        gradients = [tf.reduce_mean(parts, axis=0) for parts in updates.gradients]
        finite = _finite_tasks([updates.loss, *updates.gradients])
        if clip is not None:
            gradients = [tf.clip_by_value(g, -clip, clip) for g in gradients]
        tf.cond(tf.reduce_all(finite), lambda: _apply(optimizer, gradients, variables, counter), lambda: tf.constant(0))
        metrics = {name: tf.reduce_mean(values) for name, values in updates.metrics.items()}
        return StepResult({"loss": tf.reduce_mean(updates.loss), **metrics}, updates.loss, finite)

    return step


def _augmented(augment: Augment | None) -> Callable[[Episode], Episode]:
    """From a batch of episodes to augmented ones, [T, ...] of everything."""
    if augment is None:
        return lambda batch: batch
    one = tf.function(augment, autograph=False, experimental_attributes={"_noinline": True})

    def every(batch: Episode) -> Episode:
        tasks = zip(*(tf.unstack(part) for part in batch), strict=True)
        return tf.nest.map_structure(lambda *parts: tf.stack(parts), *(one(Episode(*task)) for task in tasks))

    return every


def _finite_tasks(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    """[T] whether all numbers of a task are finite; every tensor is [T, ...]."""
    flat = [tf.reshape(t, (tf.shape(t)[0], -1)) for t in tensors]
    return tf.reduce_all([tf.reduce_all(tf.math.is_finite(t), axis=1) for t in flat], axis=0)


def _apply(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor],
    variables: Sequence[Any],
    counter: tf.Variable,
) -> tf.Tensor:
    optimizer.apply(gradients, variables)
    counter.assign_add(1)
    return tf.constant(1)


def meta_train(
    learner: MetaLearner,
    episodes: Episodes,
    *,
    tasks_per_step: int = 1,
    steps: int = 30_000,
    outer_lr: float = 1e-3,
    outer_schedule: str = "constant",
    outer_warmup: int = 0,
    augment: Augment | None = None,
    selection: Selection | None = None,
    folder: Path | None = None,
    checkpoint_every: int = 1000,
    on_step: OnStep | None = None,
    on_checkpoint: Callable[[int], None] | None = None,
) -> int:
    """Meta-trains a learner in place.

    Args:
      learner: its `training_loss` is minimized.
      episodes: training tasks; step s uses episodes s T ... (s + 1) T - 1, so a resumed run sees what it would have.
      tasks_per_step: T, episodes of one outer step.
      steps: number of outer steps, including those of an earlier run in `folder`.
      outer_lr: beta, the rate of Adam.
      outer_schedule: how the rate changes over the steps, "constant" or "cosine"; see `outer_rate`.
      outer_warmup: steps of warm-up, in which the rate grows from 0.
      augment: changes each episode in the compiled step, a pure function of it; see `EpisodeAugmentation`.
      selection: keeps the weights of the best step, which the learner has at the end; None for those of the last one.
      folder: of checkpoints and history.csv; None writes nothing.
      checkpoint_every: steps between checkpoints.
      on_step: called after every step with its number (from 1) and its scalars.
      on_checkpoint: called after every checkpoint with the step's number.

    Returns:
      The number of steps of this call.

    Raises:
      InputError: `folder` holds a longer training than `steps`.
      RunError: the loss is not finite; the last good checkpoint remains.

    Example:
      >>> import cactus_tf as ct
      >>> data = ct.datasets.load("digits")
      >>> tasks = ct.episodes(data.train.images, data.train.partitions, way=5, shot=1, query=3, seed=0)
      >>> learner = ct.learners.build("protonets", image_shape=data.image_shape, way=5, filters=4)
      >>> ct.meta_train(learner, tasks, steps=2)
      2
    """
    folder = None if folder is None else expanded(folder)
    optimizer = adam(outer_rate(outer_lr, outer_schedule, outer_warmup, steps))
    counter = tf.Variable(0, dtype=tf.int64, trainable=False)
    train_step = make_train_step(learner, optimizer, counter, augment)
    selected = selection.variables if selection else []
    record = _Record([*learner.variables, *optimizer.variables, *selected], counter, folder, steps)
    if folder is not None and record.start == 0:
        shutil.rmtree(
            selected_folder(folder), ignore_errors=True
        )  # of a training that ended before its first checkpoint
    if selection:
        selection.catch_up(record.start)
    batches = iter(episodes.dataset(tasks_per_step, record.start))
    bar = progress.Bar(desc="train", total=steps, initial=record.start, shorter="--steps shortens it")
    with bar, record.written_on_interrupt():
        for step in range(record.start + 1, steps + 1):
            batch = next(batches)
            with _announced_compilation(step == record.start + 1):
                result = train_step(batch)
                scalars = {name: float(value) for name, value in result.scalars.items()}
            if not np.all(result.finite):
                raise RunError(_why_not_finite(learner, batch, result, step, record.checkpoints.status()))
            _show(bar, scalars)
            pseudo = selection.after(step) if selection else {}
            record.curve.add(step, scalars | pseudo, always=any(map(np.isfinite, pseudo.values())))
            if on_step:
                on_step(step, scalars)
            if step % checkpoint_every == 0 or step == steps:
                record.write()
                if on_checkpoint:
                    on_checkpoint(step)
    if selection and steps:
        selection.restore()
    return steps - record.start


def checkpoint_folder(folder: Path | None) -> Path | None:
    """The folder of a learner's checkpoints, in the learner's folder."""
    return folder / "checkpoints" if folder else None


def weights_folder(folder: Path) -> Path:
    """The folder of the weights to use, in the learner's folder: the selected ones, if any are."""
    selected = selected_folder(folder)
    return selected if newest_files(selected) else folder / "checkpoints"


class _Record:
    """Checkpoints and the learning curve of a training, restored from its folder.

    Attributes:
      start: steps of the restored checkpoint; 0 if there is none.
    """

    def __init__(self, state: list, counter: tf.Variable, folder: Path | None, steps: int):
        self.checkpoints = Checkpoints(state, counter, checkpoint_folder(folder))
        self.start = self.checkpoints.restore()
        if self.start > steps:
            raise InputError(
                f"{folder} holds a training of {self.start} steps, more than the requested {steps}: "
                f"raise --steps to {self.start} or choose another --workdir"
            )
        self.curve = history.Curve(folder / history.NAME if folder else None, self.start, steps)

    def write(self) -> None:
        """Writes both."""
        self.checkpoints.save()
        self.curve.write()

    @contextlib.contextmanager
    def written_on_interrupt(self) -> Iterator[None]:
        """Writes both on Ctrl-C, so that no step is lost."""
        try:
            yield
        except KeyboardInterrupt:
            self.write()
            raise


@contextlib.contextmanager
def _announced_compilation(first: bool) -> Iterator[None]:
    """Announces the compilation of the first step, and how long it took."""
    if first:
        log.info("train: compiling the training step")
    began = time.monotonic()
    yield
    if first:
        log.info("train: compiled and ran the first step in %.0f s", time.monotonic() - began)


def _why_not_finite(learner: MetaLearner, batch: Episode, result: StepResult, step: int, status: str) -> str:
    """Names the step, the first task at fault, and what to lower."""
    remedy = " and ".join(filter(None, [learner.remedy, "try a lower --outer_lr"]))
    bad = int(np.argmin(result.finite))
    task, loss = Episode(*(np.asarray(part[bad]) for part in batch)), result.losses[bad]
    what = f"the gradient of a task from partition {task.partition} is not finite"
    if not np.isfinite(loss):
        what = f"the loss of a task from partition {task.partition} is {loss:.0f}"
    return f"{what} at step {step}{_where_it_diverged(learner, task)}; {status}: {remedy}"


def _where_it_diverged(learner: MetaLearner, task: Episode) -> str:
    """Names the first step of adaptation after which the logits are not finite."""
    if not isinstance(learner, AdaptingMetaLearner):
        return ""
    way, shot = task.support.shape[:2]
    support, query = (x.reshape(-1, *x.shape[2:]) for x in (task.support, task.query))
    inner = learner.trace(support, np.repeat(np.arange(way), shot), query, way, learner.inner_steps).diverged()
    return "" if inner is None else f", after inner step {inner}"


def _show(bar: progress.Bar, scalars: dict[str, float]) -> None:
    bar.set_postfix({name: f"{value:.3f}" for name, value in scalars.items()})
    bar.update()
