"""The tasks of an outer step, divided among the replicas of the strategy in whose scope the learner was built.

Task i of a step is the same for any number of replicas, and so is the step, but for rounding. A replica of
`tf.distribute.MirroredStrategy` is a device; one of `tf.distribute.MultiWorkerMirroredStrategy`, a device of a worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import keras
import tensorflow as tf

from cactus_tf.contracts import AveragingLearner, MetaLearner
from cactus_tf.errors import InputError, RunError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.types import Array, Episode, TaskUpdate
from cactus_tf.utils.checkpoints import tf_variable
from cactus_tf.utils.distribution import Distribution, Workers, naming_lost_workers

Result = TypeVar("Result")


class Replicas:
    """The replicas that hold a learner; one if it was built outside of any scope.

    Args:
      learner: to train.
      tasks_per_step: T, the tasks of one outer step.

    Attributes:
      distributed: whether the learner was built in the scope of a strategy.

    Raises:
      InputError: the tasks cannot be divided equally, or a scope is open.
    """

    def __init__(self, learner: MetaLearner, tasks_per_step: int):
        if tf.distribute.has_strategy():
            raise InputError("meta_train must run outside of strategy.scope(): only build the learner in it")
        first = tf_variable(learner.trainable_variables[0])
        self.distributed = isinstance(first, tf.distribute.DistributedValues)
        self.strategy = first.distribute_strategy if self.distributed else tf.distribute.get_strategy()
        self.number = self.strategy.num_replicas_in_sync
        self.workers = _workers(self.strategy.cluster_resolver) if self.distributed else Workers(("localhost",), 0)
        if tasks_per_step % self.number:
            raise InputError(
                f"--tasks_per_step={tasks_per_step} cannot be divided equally among {self.number} replicas: choose a "
                f"multiple of {self.number}"
            )
        self.tasks = tasks_per_step
        self._each = tasks_per_step // self.number

    def batches(self, episodes: Episodes, start: int) -> Iterator[Any]:
        """Per step from `start` on, the tasks of this process, as `run` takes them."""
        local = self._local()
        first, count = local[0] * self._each, len(local) * self._each
        batches = iter(episodes.dataset(self.tasks, start, first=first, count=count))
        return map(self._divided, batches) if self.distributed else batches

    def run(self, function: Callable[[Any], Result], batch: Any) -> Result:
        """What `function` returns, in the graph, from the part of each replica; it must return the same from all."""
        if not self.distributed:
            return function(batch)
        return tf.nest.map_structure(self._first, self.strategy.run(function, (batch,)))

    def mean(self, values: Any) -> Any:
        """Over all replicas; call it in `run`."""
        return self._reduced(tf.distribute.ReduceOp.MEAN, values)

    def total(self, values: Any) -> Any:
        """Over all replicas; call it in `run`."""
        return self._reduced(tf.distribute.ReduceOp.SUM, values)

    def gathered(self, tasks: tf.Tensor) -> tf.Tensor:
        """[T, ...] of all tasks of the step, from the [n, ...] of each replica; call it in `run`."""
        if not self.distributed:
            return tasks
        number = tf.cast(tasks, tf.int32) if tasks.dtype == tf.bool else tasks
        return tf.cast(tf.distribute.get_replica_context().all_gather(number, axis=0), tasks.dtype)

    def first_task(self) -> Array:
        """Number within the step of this replica's first task; call it in `run`."""
        return tf.distribute.get_replica_context().replica_id_in_sync_group * self._each

    def synchronize(self, variables: Sequence[Any]) -> None:
        """Gives the variables of all workers the values of the first worker, to the last bit."""
        if not self.workers.others:
            return
        variables = [tf_variable(v) for v in variables]

        def of_the_first() -> list[tf.Tensor]:
            first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
            return self.total([tf.where(first, v, tf.zeros_like(v)) for v in variables])

        with naming_lost_workers(self.workers):
            values = tf.function(lambda: self.run(lambda _: of_the_first(), ()), autograph=False)()
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)

    def check_same_tasks(self, episodes: Episodes, step: int) -> None:
        """Checks that all workers make the same tasks from the same images.

        Raises:
          RunError: they do not.
        """
        if not self.workers.others:
            return
        numbers, partition = episodes.indices(step * self.tasks)
        content = numbers.tobytes() + str(partition).encode() + episodes.rows[numbers.ravel()].tobytes()
        other = Distribution(self.strategy, self.workers).differing(content)
        if other is not None:
            raise RunError(
                f"the worker at {other} makes other tasks than the chief at {self.workers.addresses[0]}: give all "
                "workers the same data and --artifacts_dir"
            )

    def _local(self) -> Sequence[int]:
        """The numbers of this process's replicas."""
        if not self.workers.others:
            return range(self.number)
        here = len(self.strategy.extended.worker_devices)
        return range(self.workers.index * here, (self.workers.index + 1) * here)

    def _divided(self, batch: Episode) -> Any:
        """The tasks of this process, divided among its replicas."""
        first = self._local()[0]

        def part(context: tf.distribute.experimental.ValueContext) -> Episode:
            start = (context.replica_id_in_sync_group - first) * self._each
            return Episode(*(tasks[start : start + self._each] for tasks in batch))

        return self.strategy.experimental_distribute_values_from_function(part)

    def _first(self, value: Any) -> Any:
        return self.strategy.experimental_local_results(value)[0]

    def _reduced(self, how: tf.distribute.ReduceOp, values: Any) -> Any:
        """Every message holds numbers of one type."""
        if not self.distributed:
            return values
        flat = tf.nest.flatten(values)
        for dtype in dict.fromkeys(value.dtype for value in flat):  # in the same order on all workers
            places = [i for i, value in enumerate(flat) if value.dtype == dtype]
            reduced = tf.distribute.get_replica_context().all_reduce(how, [flat[i] for i in places])
            for i, value in zip(places, reduced, strict=True):
                flat[i] = value
        return tf.nest.pack_sequence_as(values, flat)


class TaskUpdateWithAverages(NamedTuple):
    """A `TaskUpdate` with the learner's running averages after this task alone, which are not assigned."""

    loss: tf.Tensor
    metrics: dict[str, tf.Tensor]
    gradients: list[tf.Tensor]
    averages: list[tf.Tensor]


class RunningAverages:
    """The running averages of a learner whose training is distributed: they move as if one replica had run all tasks.

    Task i of T takes an average v to v + a (s_i - v), where s_i are its statistics. Each replica begins at the same v
    and knows only its own tasks. In order, the tasks change v by the sum of (1 - a)^(T - 1 - i) a (s_i - v).
    """

    def __init__(self, learner: MetaLearner):
        declared = learner.running_averages if isinstance(learner, AveragingLearner) else []
        self._learner = learner
        self._variables, self._weights = [v for v, _ in declared], [a for _, a in declared]

    def update(self, task: Callable[[], TaskUpdate]) -> TaskUpdateWithAverages:
        """What `task` returns, with the averages after it; the variables stay as they are.

        Raises:
          InputError: the task changes other variables, too.
        """
        with keras.StatelessScope() as scope:
            loss, metrics, gradients = task()
        known = {id(v) for v in self._variables}
        changed = [v for v in self._learner.variables if scope.get_current_value(v) is not None]
        others = [v.path for v in changed if id(v) not in known]
        if others:
            raise InputError(
                f"--distribute: the learner's training changes {others[0]}, which is neither trained nor among its "
                "running_averages: add it there, or leave out --distribute"
            )
        values = [scope.get_current_value(v) for v in self._variables]
        averages = [v if value is None else value for v, value in zip(self._variables, values, strict=True)]
        return TaskUpdateWithAverages(loss, metrics, gradients, averages)

    def changes(self, after: Sequence[tf.Tensor], first: Array, tasks: int) -> list[tf.Tensor]:
        """What the tasks of one replica change the averages by.

        Args:
          after: [n, ...] each, the averages after each of the tasks alone.
          first: number within the step of the first of them.
          tasks: T.
        """
        changes = []
        for variable, weight, values in zip(self._variables, self._weights, after, strict=True):
            behind = tasks - 1 - first - tf.range(tf.shape(values)[0])
            factors = tf.constant(1 - weight, values.dtype) ** tf.cast(behind, values.dtype)
            changes.append(tf.tensordot(factors, values - tf.convert_to_tensor(variable), 1))
        return changes

    def add(self, changes: Sequence[tf.Tensor]) -> None:
        """Changes the averages."""
        for variable, change in zip(self._variables, changes, strict=True):
            variable.assign_add(change)


def _workers(resolver: Any) -> Workers:
    """The workers of a strategy, the chief first, from its cluster resolver; one if it has none."""
    jobs = resolver.cluster_spec().as_dict() if resolver else {}
    named = [(job, i, address) for job in ("chief", "worker") for i, address in enumerate(jobs.get(job, []))]
    if len(named) < 2:
        return Workers(("localhost",), 0)
    place = [(job, i) for job, i, _ in named].index((resolver.task_type, resolver.task_id))
    return Workers(tuple(address for *_, address in named), place)
