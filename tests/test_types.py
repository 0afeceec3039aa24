import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cactus_tf.types import Accuracy, AssignedPartitions, GroupedPartition


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=40))
def test_grouping_and_ungrouping_are_inverse(assignments):
    partition = GroupedPartition.from_assignments(np.array(assignments), clusters=6)
    np.testing.assert_array_equal(partition.assignments(len(assignments)), assignments)


@given(st.lists(st.integers(-1, 5), min_size=1, max_size=40))
def test_a_cluster_holds_exactly_its_images(assignments):
    partition = GroupedPartition.from_assignments(np.array(assignments), clusters=6)
    for c in range(6):
        np.testing.assert_array_equal(partition.cluster(c), np.flatnonzero(np.array(assignments) == c))
    assert partition.sizes.sum() == sum(a >= 0 for a in assignments)


def test_partitions_behave_as_a_sequence():
    partitions = AssignedPartitions(np.array([[0, 1, 1], [1, 1, 0]]))
    assert len(partitions) == 2
    np.testing.assert_array_equal(partitions[-1].sizes, [1, 2])
    assert len(list(partitions)) == 2


def test_a_printed_accuracy_is_one_line_without_its_arrays():
    accuracy = Accuracy(0.89521, 0.00273, np.zeros(1000), np.zeros((1000, 25), np.int16))
    assert str(accuracy) == "Accuracy(mean=0.8952, ci95=0.0027, 1000 episodes)"
