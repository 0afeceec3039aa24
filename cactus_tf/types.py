"""The values that stages pass to each other: partitions, images, episodes, losses and accuracies."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

Array = Any  # a NumPy array or a TensorFlow tensor

Task = tuple[int, int]
"""(way, shot)."""


@dataclasses.dataclass(frozen=True)
class GroupedPartition:
    """Disjoint clusters of an image set, stored as image numbers grouped by cluster.

    Attributes:
      indices: [m] integers, image numbers grouped by cluster; m <= n, as images without a cluster are left out.
      offsets: [clusters + 1] integers; cluster c is indices[offsets[c]:offsets[c + 1]].
    """

    indices: np.ndarray
    offsets: np.ndarray

    @classmethod
    def from_assignments(cls, assignments: np.ndarray, clusters: int | None = None) -> GroupedPartition:
        """Groups image numbers by cluster.

        Args:
          assignments: [n] integers, the cluster of each image; negative means no cluster.
          clusters: number of clusters; default: the largest assignment plus one.
        """
        assignments = np.asarray(assignments)
        clusters = int(assignments.max(initial=-1)) + 1 if clusters is None else clusters
        order = np.argsort(assignments, kind="stable")
        offsets = np.searchsorted(assignments[order], np.arange(clusters + 1))
        first = offsets[0]  # images without a cluster sort to the front
        return cls(order[first:].astype(np.int32), (offsets - first).astype(np.int64))

    @property
    def sizes(self) -> np.ndarray:
        """[clusters] number of images of each cluster."""
        return np.diff(self.offsets)

    def cluster(self, c: int) -> np.ndarray:
        """[sizes[c]] image numbers of cluster c."""
        return self.indices[self.offsets[c] : self.offsets[c + 1]]

    def draw(self, c: int, number: int, rng: np.random.Generator) -> np.ndarray:
        """[number] distinct image numbers of cluster c, uniform; the time does not depend on n or k."""
        size = self.offsets[c + 1] - self.offsets[c]
        return self.indices[self.offsets[c] + rng.choice(size, number, replace=False)]

    def assignments(self, images: int) -> np.ndarray:
        """[images] int32 cluster of each image, -1 for none: the inverse of `from_assignments`."""
        table = np.full(images, -1, np.int32)
        table[self.indices] = np.repeat(np.arange(len(self.sizes), dtype=np.int32), self.sizes)
        return table


@runtime_checkable
class Partition(Protocol):
    """Disjoint clusters of an image set, as the sampler needs them; `GroupedPartition` is the one most code uses."""

    @property
    def sizes(self) -> np.ndarray:
        """[clusters] number of images of each cluster."""
        ...

    def cluster(self, c: int) -> np.ndarray:
        """[sizes[c]] image numbers of cluster c."""
        ...

    def draw(self, c: int, number: int, rng: np.random.Generator) -> np.ndarray:
        """[number] distinct image numbers of cluster c, uniform."""
        ...

    def assignments(self, images: int) -> np.ndarray:
        """[images] cluster of each image, -1 for none."""
        ...


@dataclasses.dataclass(frozen=True)
class InstancePartition:
    """Each image is a cluster of its own, which can be drawn any number of times.

    Attributes:
      images: number n of images.
      used: [clusters] numbers of those that are clusters; None for all n.
    """

    images: int
    used: np.ndarray | None = None

    @property
    def sizes(self) -> np.ndarray:
        """[clusters] ones."""
        return np.ones(self.images if self.used is None else len(self.used), np.int64)

    def cluster(self, c: int) -> np.ndarray:
        """[1] the image."""
        return np.array([c if self.used is None else self.used[c]], np.int32)

    def draw(self, c: int, number: int, rng: np.random.Generator) -> np.ndarray:
        """[number] times the image."""
        return np.repeat(self.cluster(c), number)

    def assignments(self, images: int) -> np.ndarray:
        """[images] the cluster of each image, -1 for none."""
        table = np.full(images, -1, np.int32)
        table[slice(None) if self.used is None else self.used] = np.arange(len(self.sizes))
        return table


Partitions = Sequence[Partition]
"""A sequence of P partitions; `partitions[p]` may be computed on access."""


class AssignedPartitions(Sequence):
    """Partitions stored as cluster assignments; each is grouped on first access.

    Args:
      assignments: [P, n] integers or a sequence of P arrays [n]; negative means no cluster.
      clusters: number of clusters of every partition; default: the largest assignment of each plus one.
    """

    def __init__(self, assignments: Sequence[np.ndarray] | np.ndarray, clusters: int | None = None):
        self._assignments, self._clusters = assignments, clusters
        self._grouped: dict[int, GroupedPartition] = {}

    def __len__(self) -> int:
        return len(self._assignments)

    def __getitem__(self, p: Any) -> Any:
        p = range(len(self))[p]  # negative numbers and range errors as in a list
        if p not in self._grouped:
            self._grouped[p] = GroupedPartition.from_assignments(self._assignments[p], self._clusters)
        return self._grouped[p]


class MixedPartitions(Sequence):
    """Pseudo-label and true partitions for semi-supervised learning: a task uses a true one with a given probability.

    Args:
      pseudo: the partitions for a task with probability 1 - fraction; they come first in the sequence.
      true: the partitions for a task with probability `fraction`.
      fraction: 0..1.
    """

    def __init__(self, pseudo: Partitions, true: Partitions, fraction: float):
        self._pseudo, self._true, self._fraction = pseudo, true, fraction

    def __len__(self) -> int:
        return len(self._pseudo) + len(self._true)

    def __getitem__(self, p: Any) -> Any:
        p = range(len(self))[p]
        return self._pseudo[p] if p < len(self._pseudo) else self._true[p - len(self._pseudo)]

    def each(self, change: Callable[[Partitions], Partitions]) -> MixedPartitions:
        """The same mixture of changed partitions."""
        return MixedPartitions(change(self._pseudo), change(self._true), self._fraction)

    @property
    def kinds(self) -> list[range]:
        """Numbers of the partitions of each kind whose probability is above 0."""
        pseudo, true = range(len(self._pseudo)), range(len(self._pseudo), len(self))
        return [kind for kind, chance in ((pseudo, 1 - self._fraction), (true, self._fraction)) if chance > 0]

    def draw_kind(self, rng: np.random.Generator) -> range:
        """Draws the kind for one task: the numbers of its partitions."""
        return self.kinds[-1 if rng.random() < self._fraction else 0]


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """The images of one split.

    Attributes:
      images: [n, height, width, channels] uint8, 0..255, or [n, dim] float32 features; often a read-only memory map,
        with rows ordered by class, then by image bytes.
      partitions: the partitions that the true labels make, for evaluation and for the oracle; None without labels.
      names: [n] bytes, the file of each image in UTF-8; None if the images are not files.
      supervised: true partitions that semi-supervised training mixes in, if they differ from `partitions`.
    """

    images: np.ndarray
    partitions: Partitions | None = None
    names: np.ndarray | None = None
    supervised: Partitions | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclasses.dataclass(frozen=True)
class Splits:
    """A data set: meta-train, validation and test images."""

    train: ImageSet
    val: ImageSet
    test: ImageSet

    def __getitem__(self, split: str) -> ImageSet:
        """The images of "train", "val" or "test"."""
        return {"train": self.train, "val": self.val, "test": self.test}[split]

    @property
    def image_shape(self) -> tuple[int, ...]:
        """(height, width, channels) of every image, or (dim,) of features."""
        return tuple(self.train.images.shape[1:])


class Episode(NamedTuple):
    """One sampled task.

    Attributes:
      support: [way, shot, ...] images (uint8, 0..255) or embeddings (float32); axis 0 is the label.
      query: [way, query, ...] the same of other images.
      index: number of the episode in its stream.
      partition: number of the partition it was drawn from.
    """

    support: Array
    query: Array
    index: Array
    partition: Array


class TaskLoss(NamedTuple):
    """The loss of one episode, a scalar to minimize, and scalar metrics by name."""

    loss: Array
    metrics: dict[str, Array]


class TaskUpdate(NamedTuple):
    """The loss and metrics of one episode, and a gradient or other direction for every trained variable."""

    loss: Array
    metrics: dict[str, Array]
    gradients: list[Array]


class Trace(NamedTuple):
    """Logits while a learner adapts; step 0 is before adaptation.

    Attributes:
      support: [steps + 1, n, way] logits of the support set.
      query: [steps + 1, m, way] logits of the queries.
    """

    support: Array
    query: Array

    def diverged(self) -> int | None:
        """The first step after which a logit is not finite; None if all are finite."""
        finite = np.all([np.isfinite(logits).all(axis=(1, 2)) for logits in (self.support, self.query)], axis=0)
        return None if finite.all() else int(np.argmin(finite))


class Accuracy(NamedTuple):
    """Accuracy over evaluation episodes, as fractions.

    Attributes:
      mean: over the episodes.
      ci95: half width of its 95% interval, 1.96 sigma / sqrt(n) with ddof 0.
      per_episode: [episodes] accuracies.
      answers: [episodes, way * query] predicted labels, queries ordered by true label; None if not recorded.
    """

    mean: float
    ci95: float
    per_episode: np.ndarray
    answers: np.ndarray | None = None

    def __repr__(self) -> str:
        """Mean, interval and number of episodes; the arrays would fill the screen."""
        return f"Accuracy(mean={self.mean:.4f}, ci95={self.ci95:.4f}, {len(self.per_episode)} episodes)"


class Difference(NamedTuple):
    """Mean difference of two accuracies over the same episodes, as fractions; `ci95` as in `Accuracy`."""

    mean: float
    ci95: float


class PiecewiseArray:
    """An array that is produced piece by piece, so that it does not have to fit in memory.

    Args:
      shape, dtype: of the whole array.
      pieces: returns an iterator over consecutive blocks of rows.
    """

    def __init__(self, shape: tuple[int, ...], dtype: Any, pieces: Callable[[], Iterator[np.ndarray]]):
        self.shape, self.dtype, self.pieces = shape, np.dtype(dtype), pieces

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The whole array, in memory."""
        whole, start = np.empty(self.shape, self.dtype), 0
        for piece in self.pieces():
            whole[start : start + len(piece)] = piece
            start += len(piece)
        return whole if dtype is None else whole.astype(dtype)
