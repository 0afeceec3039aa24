"""Clusters that training leaves out: tasks of them show, without labels, how it does on classes that are new to it."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes, usable_clusters
from cactus_tf.types import GroupedPartition, InstancePartition, MixedPartitions, Partition, Partitions
from cactus_tf.utils.seeds import derive

SHARE = 0.1
"""Of the usable clusters of one partition that are held out."""
FEWEST = 5
"""Clusters that are held out where the share is less, if the training tasks have as many classes."""


class HeldOut(NamedTuple):
    """Clusters apart from training.

    Attributes:
      training: the partitions without the images that are held out.
      tasks: pseudo-tasks of the clusters that are held out.
    """

    training: Partitions
    tasks: Episodes


def hold_out(tasks: Episodes) -> HeldOut:
    """Takes a tenth of the clusters of one partition, with all their images, out of the training.

    The partition is the first with enough clusters. Its held-out images are in no training task, whatever partition
    the task is from. A pseudo-task has the shot and query of the training tasks, and their way unless fewer clusters
    are held out. Everything follows from the seed of the tasks.

    Args:
      tasks: the training tasks of all partitions.

    Raises:
      InputError: no partition has so many usable clusters, or the tasks are augmented.
    """
    tasks.with_rows(tasks.rows)  # refuses augmented ones
    partitions, per_class = tasks.partitions, tasks.shot + tasks.query
    first = partitions.kinds[0] if isinstance(partitions, MixedPartitions) else range(len(partitions))
    most = 0
    for p in first:
        usable = usable_clusters(partitions[p], per_class)
        most = max(most, len(usable))
        if len(usable) - _number(len(usable), tasks.way) >= tasks.way:
            return _hold_out(tasks, partitions[p], usable)
    raise InputError(
        f"--select=pseudo holds out {_number(most, tasks.way)} of the {most} usable clusters of a partition, too many "
        f"for {tasks.way}-way tasks of the others: raise --clusters, or lower --way, --shot or --query"
    )


def _number(usable: int, way: int) -> int:
    """How many of the usable clusters are held out."""
    return max(math.ceil(SHARE * usable), min(FEWEST, way))


def _hold_out(tasks: Episodes, partition: Partition, usable: np.ndarray) -> HeldOut:
    number = _number(len(usable), tasks.way)
    rng = np.random.default_rng(derive(tasks.seed, "held-out clusters"))
    chosen = rng.choice(usable, number, replace=False)
    held = np.isin(partition.assignments(len(tasks.rows)), chosen)
    pseudo = Episodes(
        tasks.rows,
        [only(partition, held)],
        way=min(tasks.way, number),
        shot=tasks.shot,
        query=tasks.query,
        seed=derive(tasks.seed, "pseudo-tasks"),
    )
    return HeldOut(_only_all(tasks.partitions, ~held), pseudo)


def only(partition: Partition, kept: np.ndarray) -> Partition:
    """A partition of some of the images, where `kept` [n] is true."""
    if isinstance(partition, InstancePartition):
        return InstancePartition(partition.images, np.flatnonzero(kept).astype(np.int32))
    return GroupedPartition.from_assignments(np.where(kept, partition.assignments(len(kept)), -1))


def _only_all(partitions: Partitions, kept: np.ndarray) -> Partitions:
    if isinstance(partitions, MixedPartitions):
        return partitions.each(lambda kind: _only_all(kind, kept))
    return _Only(partitions, kept)


class _Only(Sequence):
    """Every partition of some of the images, computed on access; recent ones stay in memory."""

    def __init__(self, partitions: Partitions, kept: np.ndarray):
        self._number = len(partitions)
        self._make = functools.lru_cache(128)(lambda p: only(partitions[p], kept))

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, p: Any) -> Any:
        return self._make(range(self._number)[p])
