"""Episodes from partitions: a pure sampler and the tf.data pipeline around it.

Hsu et al. 2019, Algorithm 1: draw a partition uniformly, N of its clusters uniformly without replacement, K + Q images
of each without replacement, and assign the labels to the clusters at random.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from cactus_tf.errors import InputError
from cactus_tf.types import Episode, InstancePartition, MixedPartitions, Partition, Partitions
from cactus_tf.utils.seeds import counter_rng

_ENDLESS = np.iinfo(np.int64).max


def usable_clusters(partition: Partition, images_per_cluster: int) -> np.ndarray:
    """Numbers of the clusters that are drawn: those with at least shot + query images, or all of single images."""
    if isinstance(partition, InstancePartition):
        return np.arange(len(partition.sizes))
    return np.flatnonzero(partition.sizes >= images_per_cluster)


def sample_task(
    partition: Partition, way: int, shot: int, query: int, rng: np.random.Generator, usable: np.ndarray | None = None
) -> np.ndarray:
    """Draws one task from one partition.

    Args:
      partition: has at least `way` clusters of at least shot + query images.
      way, shot, query: N, K and Q per class.
      rng: the task's own generator.
      usable: `usable_clusters` of the partition, if the caller has computed them.

    Returns:
      [way, shot + query] image numbers, all distinct unless classes are single images; row i belongs to label i, its
      first `shot` columns are support. The order of rows is random, so the labels are a random permutation.
      Hsu et al. 2019, Algorithm 1.
    """
    usable = usable_clusters(partition, shot + query) if usable is None else usable
    return np.stack([partition.draw(c, shot + query, rng) for c in rng.choice(usable, way, replace=False)])


class Episodes:
    """An endless stream of episodes; episode i is a pure function of (seed, i).

    Args:
      rows: [n, ...] images (uint8) or embeddings (float32), indexed by image number; may be a memory map.
      partitions: the partitions that tasks are drawn from.
      way, shot, query: N, K and Q per class.
      seed: of this stream.

    Raises:
      InputError: no partition has `way` clusters of shot + query images; of mixed partitions, none of one kind has.

    Example:
      >>> import cactus_tf as ct
      >>> data = ct.datasets.load("digits")
      >>> tasks = ct.episodes(data.test.images, data.test.partitions, way=5, shot=1, query=3, seed=0)
      >>> tasks[7].support.shape, tasks[7].query.shape
      ((5, 1, 28, 28, 1), (5, 3, 28, 28, 1))
    """

    def __init__(
        self, rows: np.ndarray, partitions: Partitions, *, way: int, shot: int = 1, query: int = 5, seed: int = 0
    ):
        self.rows, self.partitions = rows, partitions
        self.way, self.shot, self.query, self.seed = way, shot, query, seed
        self.augment: Callable[[Episode], Episode] | None = None
        self._usable_clusters: dict[int, np.ndarray] = {}  # by partition
        _check_counts(way, shot, query)
        for kind in partitions.kinds if isinstance(partitions, MixedPartitions) else [range(len(partitions))]:
            if not any(self._usable(p) for p in kind):
                raise InputError(_why_unusable([partitions[p] for p in kind], way, shot, query))

    def with_rows(self, rows: np.ndarray) -> Episodes:
        """The same tasks over other rows, such as the embeddings of the same images.

        Raises:
          InputError: the tasks are augmented, so rows of the plain images do not belong to them.
        """
        if self.augment is not None:
            raise InputError("augmented tasks have images of their own: change the rows before the augmentation")
        return self._like(rows=rows)

    def augmented(self, augment: Callable[[Episode], Episode]) -> Episodes:
        """The same tasks with augmented images, as a training with this augmentation sees them.

        Args:
          augment: returns an episode with images in float32, 0..1; see `EpisodeAugmentation`.
        """
        return self._like(augment=augment)

    def _like(self, **changed: Any) -> Episodes:
        other = copy.copy(self)
        vars(other).update(changed)
        return other

    def indices(self, i: int) -> tuple[np.ndarray, int]:
        """Image numbers [way, shot + query] of episode i, and the number of its partition.

        The partition is drawn uniformly from those with enough usable clusters; of mixed partitions, the kind is drawn
        first.
        """
        rng = counter_rng(self.seed, i)
        side = self._draw_kind(rng)
        while not self._usable(p := side[int(rng.integers(len(side)))]):
            pass
        return sample_task(self.partitions[p], self.way, self.shot, self.query, rng, self._usable_clusters[p]), p

    def __getitem__(self, i: int) -> Episode:
        """Episode i: support [way, shot, ...] and query [way, query, ...] rows."""
        numbers, p = self.indices(i)
        rows = gather(self.rows, numbers)
        episode = Episode(rows[:, : self.shot], rows[:, self.shot :], np.int64(i), np.int32(p))
        return Episode(*map(np.asarray, self.augment(episode))) if self.augment else episode

    def dataset(
        self, tasks_per_step: int = 1, start: int = 0, *, first: int = 0, count: int | None = None
    ) -> tf.data.Dataset:
        """Batches of episodes as an endless tf.data pipeline.

        Args:
          tasks_per_step: T, episodes per element.
          start: the first step; step s holds episodes s T ... (s + 1) T - 1 for every `start`.
          first, count: of each step, only these tasks: `count` of them from number `first` on.

        Returns:
          Elements are `Episode`s with a leading tasks axis: support [T, way, shot, ...], and so on; `count` in place of
          T if it is given.
        """
        count = tasks_per_step if count is None else count

        def batch(step: np.int64) -> list[np.ndarray]:
            episodes = [self[int(step) * tasks_per_step + t] for t in range(first, first + count)]
            return [np.stack(parts) for parts in zip(*episodes, strict=True)]

        image, dtype = self.rows.shape[1:], tf.float32 if self.augment else tf.as_dtype(self.rows.dtype)
        shapes = Episode((self.way, self.shot, *image), (self.way, self.query, *image), (), ())

        def load(step: tf.Tensor) -> Episode:
            parts = tf.numpy_function(batch, [step], [dtype, dtype, tf.int64, tf.int32], stateful=False)
            return Episode(*(tf.ensure_shape(x, (count, *s)) for x, s in zip(parts, shapes, strict=True)))

        return tf.data.Dataset.range(start, _ENDLESS).map(load).prefetch(2)

    def _draw_kind(self, rng: np.random.Generator) -> range:
        if isinstance(self.partitions, MixedPartitions):
            return self.partitions.draw_kind(rng)
        return range(len(self.partitions))

    def _usable(self, p: int) -> bool:
        if p not in self._usable_clusters:
            self._usable_clusters[p] = usable_clusters(self.partitions[p], self.shot + self.query)
        return len(self._usable_clusters[p]) >= self.way


def gather(rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """rows[numbers], read in ascending order, which is faster from a memory map."""
    flat = numbers.ravel()
    order = np.argsort(flat, kind="stable")
    out = np.empty((len(flat), *rows.shape[1:]), rows.dtype)
    out[order] = rows[flat[order]]
    return out.reshape(*numbers.shape, *rows.shape[1:])


def _check_counts(way: int, shot: int, query: int) -> None:
    for name, value, low in (("way", way, 2), ("shot", shot, 1), ("query", query, 1)):
        if value < low:
            raise InputError(f"{name} is {value}; it must be at least {low}")


def _why_unusable(partitions: Partitions, way: int, shot: int, query: int) -> str:
    """An error message with the largest task that the partitions allow."""
    sizes = [np.sort(partition.sizes)[::-1] for partition in partitions]
    if not sizes:
        return "there are no partitions to draw episodes from"
    clusters = max(np.count_nonzero(s) for s in sizes)
    if clusters < way:
        return f"the largest partition has {clusters} clusters; way is {way}: lower way or use more clusters"
    most = max(int(s[way - 1]) for s in sizes if len(s) >= way)
    return (
        f"cluster sizes allow at most {most} images per class at {way}-way; shot + query is {shot + query}: "
        "lower shot or query, or use fewer clusters"
    )
