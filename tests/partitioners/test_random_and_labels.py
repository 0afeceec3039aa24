import numpy as np
import pytest

from cactus_tf import partitioners
from cactus_tf.errors import InputError
from cactus_tf.types import AssignedPartitions, PartitionContext


def random(images=3000, clusters=10, partitions=4, seed=0):
    return partitioners.build("random", clusters, partitions)(PartitionContext(images=images), seed=seed)


def test_random_clusters_are_equally_likely_and_hold_every_image_once():
    for partition in random():
        np.testing.assert_array_equal(np.sort(partition.indices), np.arange(3000))
        # 9 degrees of freedom: chi-square exceeds 27.9 once in a thousand times.
        assert ((partition.sizes - 300) ** 2 / 300).sum() < 27.9


def test_random_partitions_are_independent_of_each_other():
    first, second = (partition.assignments(3000) for partition in random(partitions=2))
    together = np.bincount(10 * first + second, minlength=100)
    assert ((together - 30) ** 2 / 30).sum() < 149  # 99 degrees of freedom, once in a thousand times


def test_a_random_partition_depends_on_its_seed_and_number_alone():
    np.testing.assert_array_equal(random(partitions=9)[3].indices, random(partitions=4)[3].indices)
    assert (random(seed=1)[0].indices != random(seed=2)[0].indices).any()


def test_random_partitions_are_made_again_when_they_were_let_go():
    partitions = random(images=50, partitions=200)
    first = partitions[0].indices.copy()
    assert len([partition for partition in partitions]) == 200
    np.testing.assert_array_equal(partitions[0].indices, first)
    assert len(partitions._newest) <= 64


@pytest.mark.parametrize(("partitions", "words"), [(0, "partitions is 0"), (1, "way 5 is more than 4 clusters")])
def test_random_partitions_that_cannot_serve_are_refused_in_words(partitions, words):
    with pytest.raises(InputError, match=words):
        partitioners.build("random", 4, partitions)(PartitionContext(images=50, way=5))


def test_the_oracle_is_the_labels():
    labels = AssignedPartitions([np.array([0, 1, 1, 0])])
    context = PartitionContext(images=4, labels=labels)
    assert partitioners.build("labels")(context) is labels


def test_an_oracle_without_labels_is_refused():
    with pytest.raises(InputError, match="no labels: choose --partitioner=kmeans"):
        partitioners.build("labels")(PartitionContext(images=4))
