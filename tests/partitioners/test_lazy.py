import numpy as np
import pytest

from cactus_tf.partitioners import _lazy
from cactus_tf.partitioners._lazy import LazyPartitions
from cactus_tf.types import GroupedPartition


def lazy(partitions=6, images=10):
    """Partitions of one cluster, whose first image is the number of the partition; and the numbers made so far."""
    made = []

    def make(p):
        made.append(p)
        return GroupedPartition(np.array([p]), np.array([0, 1]))

    return LazyPartitions(make, partitions, images), made


def test_a_partition_is_made_when_it_is_first_asked_for():
    partitions, made = lazy()
    assert partitions[-2].indices == [4]
    assert partitions[4].indices == [4]
    assert made == [4]
    assert [p.indices[0] for p in partitions[1:3]] == [1, 2]
    assert [p.indices[0] for p in partitions] == list(range(6)) and len(partitions) == 6
    with pytest.raises(IndexError):
        partitions[6]


def test_the_least_recently_used_partition_is_made_again_when_memory_is_full(monkeypatch):
    monkeypatch.setattr(_lazy, "_CACHE_BYTES", 2 * 4 * 10)  # two partitions of ten images
    partitions, made = lazy()
    for p in (0, 1, 0, 2, 0, 1):
        assert partitions[p].indices == [p]
    assert made == [0, 1, 2, 1]
