"""The outer loop: Adam on the mean loss of a batch of episodes, with checkpoints and exact resume."""

from __future__ import annotations

import contextlib
import functools
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
from cactus_tf.fewshot.replicas import Replicas, RunningAverages
from cactus_tf.fewshot.resident import on_device
from cactus_tf.fewshot.schedules import Rate, outer_rate
from cactus_tf.fewshot.selection import Selection, selected_folder
from cactus_tf.types import Array, Episode, TaskUpdate
from cactus_tf.utils import history, progress
from cactus_tf.utils.checkpoints import Checkpoints, newest_files, tf_variable
from cactus_tf.utils.distribution import naming_lost_workers
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


def make_task_update(learner: MetaLearner, averages: RunningAverages | None = None) -> Callable[[Episode], Any]:
    """The compiled part of a step for one episode: its loss and gradients.

    It stays a function of its own in the graph of a step, so a step of many tasks is traced and optimized once, not
    once per task, which would take four times as long to start.

    Args:
      learner: its running averages move at once, unless `averages` is given.
      averages: returns them in place of moving them.

    Returns:
      A function from an episode to its `TaskUpdate`, or with `averages` to its `TaskUpdateWithAverages`.
    """
    variables = [tf_variable(v) for v in learner.trainable_variables]

    def update(episode: Episode) -> TaskUpdate:
        if isinstance(learner, UpdatingLearner):
            return learner.update(episode)
        with tf.GradientTape() as tape:
            loss, metrics = learner.training_loss(episode)
        return TaskUpdate(loss, metrics, tape.gradient(loss, variables, unconnected_gradients="zero"))

    chosen = update if averages is None else lambda episode: averages.update(lambda: update(episode))
    return tf.function(chosen, autograph=False, experimental_attributes={"_noinline": True})


def side_by_side(task_update: Callable[[Episode], Any], batch: Episode) -> Any:
    """Runs every task with its own kernels, one task per core at a time; [T, ...] of everything."""
    tasks = [Episode(*parts) for parts in zip(*(tf.unstack(part) for part in batch), strict=True)]
    updates: list[Any] = []
    for task in tasks:
        finished = [updates[-_SIDE_BY_SIDE].loss] if len(updates) >= _SIDE_BY_SIDE else []
        with tf.control_dependencies(finished):
            updates.append(task_update(task))
    return tf.nest.map_structure(lambda *parts: tf.stack(parts), *updates)


def vectorized(task_update: Callable[[Episode], Any], batch: Episode) -> Any:
    """Runs all tasks in the same kernels; [T, ...] of everything."""
    return tf.vectorized_map(task_update, batch, fallback_to_while_loop=False)


def make_train_step(
    learner: MetaLearner,
    optimizer: keras.optimizers.Optimizer,
    counter: tf.Variable,
    augment: Augment | None = None,
    replicas: Replicas | None = None,
    xla: bool = False,
) -> Callable:
    """The compiled outer step: batch of episodes, as of `Replicas.batches` if there are replicas -> StepResult.

    The tasks are independent in the graph and run side by side. The step increments `counter` itself, so weights and
    count agree wherever a run is interrupted. If a loss or gradient is not finite, nothing changes.

    With `xla`, XLA compiles the losses and gradients of the tasks; augmentations, which it does not know, come before.
    """
    variables = learner.trainable_variables
    if not optimizer.built:
        optimizer.build(variables)
    averages = RunningAverages(learner) if replicas and replicas.distributed else None
    task_update = make_task_update(learner, averages)
    augmented = _augmented(augment)
    run, clip = vectorized if learner.vectorized else side_by_side, learner.gradient_clip
    run = _compiled_by_xla(run) if xla else run

    def mean_update(batch: Episode) -> _MeanUpdate:
        updates = run(task_update, augmented(batch))
        finite = _finite_tasks([updates.loss, *updates.gradients])
        scalars = {"loss": updates.loss, **updates.metrics}
        means = [tf.reduce_mean(parts, axis=0) for parts in updates.gradients]
        mean = _MeanUpdate(means, {name: tf.reduce_mean(v) for name, v in scalars.items()}, updates.loss, finite, [])
        return _of_all_replicas(mean, updates, replicas, averages) if replicas and averages else mean

    @tf.function(autograph=False)
    def step(batch: Episode) -> StepResult:
        mean = replicas.run(mean_update, batch) if replicas else mean_update(batch)
        gradients = mean.gradients if clip is None else [tf.clip_by_value(g, -clip, clip) for g in mean.gradients]

        def apply() -> tf.Tensor:
            optimizer.apply(gradients, variables)
            if averages:
                averages.add(mean.changes)
            counter.assign_add(1)
            return tf.constant(1)

        tf.cond(tf.reduce_all(mean.finite), apply, lambda: tf.constant(0))
        return StepResult(mean.scalars, mean.losses, mean.finite)

    return step


def _compiled_by_xla(run: Callable) -> Callable:
    """As `side_by_side` or `vectorized`, compiled by XLA."""

    def compiled(task_update: Any, batch: Episode) -> Any:
        # traced outside of XLA, where TensorFlow takes gradients of slices that vectorized_map cannot convert
        one = task_update.get_concrete_function(Episode(*(tf.TensorSpec(x.shape[1:], x.dtype) for x in batch)))
        return tf.function(functools.partial(run, one), autograph=False, jit_compile=True)(batch)

    return compiled


class _MeanUpdate(NamedTuple):
    """Mean gradients and scalars over tasks, losses [T] and whether finite [T] of each, changes of running averages."""

    gradients: list[tf.Tensor]
    scalars: dict[str, tf.Tensor]
    losses: tf.Tensor
    finite: tf.Tensor
    changes: list[tf.Tensor]


def _of_all_replicas(mean: _MeanUpdate, updates: Any, replicas: Replicas, averages: RunningAverages) -> _MeanUpdate:
    """The same over the tasks of all replicas, from those of one."""
    changes = averages.changes(updates.averages, replicas.first_task(), replicas.tasks)
    gradients, scalars = replicas.mean((mean.gradients, mean.scalars))
    losses, finite = replicas.gathered(mean.losses), replicas.gathered(mean.finite)
    return _MeanUpdate(gradients, scalars, losses, finite, replicas.total(changes))


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
    xla: bool = False,
    images_on_device: bool = False,
    folder: Path | None = None,
    checkpoint_every: int = 1000,
    on_step: OnStep | None = None,
    on_checkpoint: Callable[[int], None] | None = None,
) -> int:
    """Meta-trains a learner in place.

    If the learner was built in the scope of a `tf.distribute` strategy, the tasks of a step are divided among its
    replicas. The step is that of one replica, but for rounding. All workers continue from the first one's state.

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
      xla: compile the step with XLA; results differ by rounding.
      images_on_device: copy the rows of the episodes to the device once, instead of those of a step in every step.
      folder: of checkpoints and history.csv; None writes nothing. Of several workers, only the first one may have one.
      checkpoint_every: steps between checkpoints.
      on_step: called after every step with its number (from 1) and its scalars.
      on_checkpoint: called after every checkpoint with the step's number.

    Returns:
      The number of steps of this call.

    Raises:
      InputError: `folder` holds a longer training than `steps`, T cannot be divided among the replicas, or `xla` or
        `images_on_device` is set with a strategy.
      RunError: the loss is not finite, or another worker does not answer; the last good checkpoint remains.

    Example:
      >>> import cactus_tf as ct
      >>> data = ct.datasets.load("digits")
      >>> tasks = ct.episodes(data.train.images, data.train.partitions, way=5, shot=1, query=3, seed=0)
      >>> learner = ct.learners.build("protonets", image_shape=data.image_shape, way=5, filters=4)
      >>> ct.meta_train(learner, tasks, steps=2)
      2
    """
    folder = None if folder is None else expanded(folder)
    replicas = Replicas(learner, tasks_per_step)
    with replicas.strategy.scope():
        optimizer = adam(outer_rate(outer_lr, outer_schedule, outer_warmup, steps))
        optimizer.build(learner.trainable_variables)
        counter = tf.Variable(0, dtype=tf.int64, trainable=False)
    if replicas.distributed and (xla or images_on_device):
        raise InputError("xla and images_on_device are for one device: leave them out, or build without a strategy")
    source = episodes
    if images_on_device:
        source, augment = on_device(episodes, augment)
    train_step = make_train_step(learner, optimizer, counter, augment, replicas, xla)
    selected = selection.variables if selection else []
    state = [*learner.variables, *optimizer.variables]
    record = _Record([*state, *selected], counter, folder, steps)
    replicas.synchronize([*state, counter])
    start = int(counter.numpy())
    replicas.check_same_tasks(episodes, start)
    if folder is not None and start == 0:
        shutil.rmtree(
            selected_folder(folder), ignore_errors=True
        )  # of a training that ended before its first checkpoint
    if selection:
        selection.catch_up(start)
    batches = replicas.batches(source, start)
    bar = progress.Bar(desc="train", total=steps, initial=start, shorter="--steps shortens it")
    with bar, record.written_on_interrupt():
        for step in range(start + 1, steps + 1):
            batch = next(batches)
            with _announced_compilation(step == start + 1), naming_lost_workers(replicas.workers, record.saved):
                result = train_step(batch)
                scalars = {name: float(value) for name, value in result.scalars.items()}
            if not np.all(result.finite):
                bad = int(np.argmin(result.finite))
                task, loss = episodes[(step - 1) * tasks_per_step + bad], float(result.losses[bad])
                raise RunError(_why_not_finite(learner, task, loss, step, record.checkpoints.status()))
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
    return steps - start


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
        self._folder = folder
        self.checkpoints = Checkpoints(state, counter, checkpoint_folder(folder))
        self.start = self.checkpoints.restore()
        if self.start > steps:
            raise InputError(
                f"{folder} holds a training of {self.start} steps, more than the requested {steps}: "
                f"raise --steps to {self.start} or choose another --workdir"
            )
        self.curve = history.Curve(folder / history.NAME if folder else None, self.start, steps)

    def write(self) -> None:
        """Writes both, the curve first: its later points are dropped where the checkpoint is missing."""
        self.curve.write()
        self.checkpoints.save()

    def saved(self) -> str:
        """Writes both, and says which checkpoint there is."""
        if self._folder is None:
            return "the chief has the checkpoints"
        self.write()
        return self.checkpoints.status()

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


def _why_not_finite(learner: MetaLearner, task: Episode, loss: float, step: int, status: str) -> str:
    """Names the step, the first task at fault, and what to lower."""
    remedy = " and ".join(filter(None, [learner.remedy, "try a lower --outer_lr"]))
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
