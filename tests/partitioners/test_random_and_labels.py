import numpy as np
import pytest

from cactus_tf import partitioners
from cactus_tf.contracts import PartitionContext
from cactus_tf.errors import InputError
from cactus_tf.types import AssignedPartitions


def random(images=3000, clusters=10, partitions=4, seed=0):
    return partitioners.build("random", clusters, partitions)(PartitionContext(images=images), seed=seed)


def test_random_clusters_are_equally_likely_and_hold_every_image_once():
    for partition in random():
        members = np.concatenate([partition.cluster(c) for c in range(10)])
        np.testing.assert_array_equal(np.sort(members), np.arange(3000))
        # 9 degrees of freedom: chi-square exceeds 27.9 once in a thousand times.
        assert ((partition.sizes - 300) ** 2 / 300).sum() < 27.9


def test_random_partitions_are_independent_of_each_other():
    first, second = (partition.assignments(3000) for partition in random(partitions=2))
    together = np.bincount(10 * first + second, minlength=100)
    assert ((together - 30) ** 2 / 30).sum() < 149  # 99 degrees of freedom, once in a thousand times


def test_a_random_partition_depends_on_its_seed_and_number_alone():
    np.testing.assert_array_equal(random(partitions=9)[3].cluster(2), random(partitions=4)[3].cluster(2))
    assert (random(seed=1)[0].assignments(3000) != random(seed=2)[0].assignments(3000)).any()


def test_assignments_sizes_and_clusters_of_a_random_partition_agree():
    partition = random()[1]
    assignments = partition.assignments(3000)
    np.testing.assert_array_equal(np.bincount(assignments, minlength=10), partition.sizes)
    for c in range(10):
        np.testing.assert_array_equal(np.sort(partition.cluster(c)), np.flatnonzero(assignments == c))


def test_an_image_is_in_every_cluster_equally_often_over_the_partitions():
    clusters = np.array([partition.assignments(40) for partition in random(images=40, partitions=2000)])
    counts = np.array([np.bincount(column, minlength=10) for column in clusters.T])
    # 40 images with 9 degrees of freedom each: their mean chi-square exceeds 11.2 once in a thousand times.
    assert ((counts - 200) ** 2 / 200).sum(axis=1).mean() < 11.2


def test_draws_from_a_random_cluster_are_distinct_members_each_as_likely():
    partition, rng = random(images=60, clusters=5)[0], np.random.default_rng(0)
    draws = np.array([partition.draw(2, 4, rng) for _ in range(3000)])
    assert all(len(set(draw)) == 4 for draw in draws.tolist())
    members, counts = np.unique(draws, return_counts=True)
    np.testing.assert_array_equal(members, np.sort(partition.cluster(2)))
    expected = 12_000 / len(members)
    assert ((counts - expected) ** 2 / expected).sum() < 40  # up to 16 degrees of freedom, once in a thousand times


def test_the_oracle_is_the_labels():
    labels = AssignedPartitions([np.array([0, 1, 1, 0])])
    context = PartitionContext(images=4, labels=labels)
    assert partitioners.build("labels")(context) is labels


def test_an_oracle_without_labels_is_refused():
    with pytest.raises(InputError, match="no labels: choose --partitioner=kmeans"):
        partitioners.build("labels")(PartitionContext(images=4))


def test_an_oracle_whose_labels_make_no_partition_is_refused():
    with pytest.raises(InputError, match="too few for a task from their labels: choose --partitioner=kmeans"):
        partitioners.build("labels")(PartitionContext(images=4, labels=AssignedPartitions([])))
