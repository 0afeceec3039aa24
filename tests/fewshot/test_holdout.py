import numpy as np
import pytest

from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.holdout import hold_out
from cactus_tf.types import AssignedPartitions, InstancePartition, MixedPartitions

IMAGES = 480
ROWS = np.arange(IMAGES, dtype=np.float32)[:, None]


def tasks(partitions, way=5, seed=0, shot=1):
    return Episodes(ROWS, partitions, way=way, shot=shot, query=3, seed=seed)


def assigned(clusters=60, number=3):
    rng = np.random.default_rng(0)
    return AssignedPartitions([rng.permutation(IMAGES) % clusters for _ in range(number)])


def drawn(episodes, number=200):
    return {int(i) for e in range(number) for i in episodes.indices(e)[0].ravel()}


def test_a_tenth_of_the_clusters_of_one_partition_is_held_out_with_all_their_images():
    partitions = assigned()
    held = hold_out(tasks(partitions))
    sizes = held.tasks.partitions[0].sizes
    assert np.count_nonzero(sizes) == 6
    cluster = partitions[0].assignments(IMAGES)
    images = np.flatnonzero(held.tasks.partitions[0].assignments(IMAGES) >= 0)
    assert set(images) == set(np.flatnonzero(np.isin(cluster, cluster[images])))


@pytest.mark.parametrize("partitions", [assigned(), [InstancePartition(IMAGES)]], ids=["clusters", "instances"])
def test_a_training_task_never_shows_a_held_out_image(partitions):
    held = hold_out(tasks(partitions))
    training = drawn(tasks(held.training), 1000)
    pseudo = drawn(held.tasks)
    assert not training & pseudo
    assert len(training) > 0.8 * IMAGES


def test_every_partition_loses_the_images_and_nothing_else():
    partitions = assigned()
    held = hold_out(tasks(partitions))
    kept = held.tasks.partitions[0].assignments(IMAGES) < 0
    for before, after in zip(partitions, held.training, strict=True):
        expected = np.where(kept, before.assignments(IMAGES), -1)
        np.testing.assert_array_equal(after.assignments(IMAGES), expected)


def test_of_instances_a_tenth_of_the_images_is_held_out():
    held = hold_out(tasks([InstancePartition(IMAGES)]))
    assert len(held.tasks.partitions[0].sizes) == 48
    assert held.training[0].assignments(IMAGES).max() == IMAGES - 49


def test_of_a_mixture_true_classes_lose_the_images_too_and_choose_none():
    pseudo, true = assigned(), AssignedPartitions([np.arange(IMAGES) // 24])
    held = hold_out(tasks(MixedPartitions(pseudo, true, 0.5)))
    np.testing.assert_array_equal(
        held.tasks.partitions[0].assignments(IMAGES), hold_out(tasks(pseudo)).tasks.partitions[0].assignments(IMAGES)
    )
    assert not drawn(tasks(held.training), 1000) & drawn(held.tasks)


def test_a_pseudo_task_is_like_a_training_task_of_as_many_classes_as_are_held_out():
    few = hold_out(tasks(assigned(clusters=30), way=20)).tasks
    assert (few.way, few.shot, few.query) == (5, 1, 3)
    assert hold_out(tasks(assigned(), way=5)).tasks.way == 5


def test_what_is_held_out_follows_from_the_seed():
    first, same, other = (hold_out(tasks(assigned(), seed=s)).tasks for s in (1, 1, 2))
    np.testing.assert_array_equal(first.indices(3)[0], same.indices(3)[0])
    assert drawn(first) == drawn(same) != drawn(other)


def test_a_partition_with_too_few_usable_clusters_is_passed_over():
    few = np.where(np.arange(IMAGES) < 240, np.arange(IMAGES) % 8, -1)
    held = hold_out(tasks(AssignedPartitions([few, assigned()[0].assignments(IMAGES)])))
    assert np.count_nonzero(held.tasks.partitions[0].sizes) == 6


def test_too_few_clusters_for_both_are_an_error_that_names_the_remedy():
    with pytest.raises(
        InputError, match=r"holds out 5 of the 9 usable clusters .* too many for 5-way tasks of the others: raise"
    ):
        hold_out(tasks(assigned(clusters=9)))
