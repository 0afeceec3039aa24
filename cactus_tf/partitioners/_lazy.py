"""Partitions that are made when a task is drawn from them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import overload

from cactus_tf.types import Partition

_CACHE_BYTES = 1 << 29  # 512 MB: all of 2,400 partitions of 22,000 images, 134 of a million


class LazyPartitions(Sequence[Partition]):
    """P partitions; the most recently used ones stay in memory, up to 512 MB.

    Args:
      make: makes the partition of this number; a pure function.
      partitions: P.
      images: n, numbers of 4 bytes that a partition takes.
    """

    def __init__(self, make: Callable[[int], Partition], partitions: int, images: int):
        self._partitions = partitions
        self._make = functools.lru_cache(max(1, _CACHE_BYTES // (4 * max(1, images))))(make)

    def __len__(self) -> int:
        return self._partitions

    @overload
    def __getitem__(self, p: int) -> Partition: ...
    @overload
    def __getitem__(self, p: slice) -> list[Partition]: ...
    def __getitem__(self, p: int | slice) -> Partition | list[Partition]:
        numbers = range(self._partitions)[p]
        return self._make(numbers) if isinstance(numbers, int) else [self._make(number) for number in numbers]
