import numpy as np
import pytest

from cactus_tf.config import build_plan
from cactus_tf.config import flags as cli
from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.pipeline import preflight
from cactus_tf.pipeline.partitioning import mixed
from cactus_tf.types import AssignedPartitions, ImageSet, MixedPartitions, Splits

IMAGES = np.arange(60, dtype=np.float32)[:, None]
PSEUDO = AssignedPartitions([np.arange(60) % 6, np.arange(60) % 5, np.arange(60) // 20])
TRUE = AssignedPartitions([np.arange(60) // 10])


def episodes(partitions, **settings):
    return Episodes(IMAGES, partitions, **{"way": 3, "shot": 1, "query": 5, "seed": 7, **settings})


def drawn(partitions, number=2000):
    """[P] how often each partition was drawn."""
    stream = episodes(partitions)
    return np.bincount([stream.indices(i)[1] for i in range(number)], minlength=len(partitions))


def test_mixed_partitions_are_the_pseudo_partitions_followed_by_the_true_ones():
    mixed = MixedPartitions(PSEUDO, TRUE, 0.5)
    assert len(mixed) == 4
    assert [mixed[p] for p in range(4)] == [*PSEUDO, *TRUE]
    assert mixed[-1] is TRUE[0]
    with pytest.raises(IndexError):
        mixed[4]


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.8])
def test_a_task_has_true_labels_with_the_given_probability_and_otherwise_any_pseudo_partition(fraction):
    counts, expected = (
        drawn(MixedPartitions(PSEUDO, TRUE, fraction)),
        2000 * np.array([(1 - fraction) / 3] * 3 + [fraction]),
    )
    assert ((counts - expected) ** 2 / expected).sum() < 16.3  # 3 degrees of freedom, exceeded once in a thousand times


def test_an_unusable_partition_is_replaced_by_one_of_the_same_kind():
    pseudo = AssignedPartitions([np.arange(60) % 6, np.zeros(60, int), np.zeros(60, int)])
    counts, expected = drawn(MixedPartitions(pseudo, TRUE, 0.5)), 1000
    assert counts[1:3].sum() == 0
    assert ((counts[[0, 3]] - expected) ** 2 / expected).sum() < 10.8  # 1 degree of freedom


def test_fractions_0_and_1_draw_one_kind_only():
    assert drawn(MixedPartitions(PSEUDO, TRUE, 1.0), 50)[:3].sum() == 0
    assert drawn(MixedPartitions(PSEUDO, TRUE, 0.0), 50)[3] == 0


def test_a_kind_without_a_usable_partition_is_refused_unless_it_is_never_drawn():
    useless = AssignedPartitions([np.zeros(60, int)])
    with pytest.raises(InputError, match="1 clusters; way is 3"):
        episodes(MixedPartitions(useless, TRUE, 0.5))
    with pytest.raises(InputError, match="1 clusters; way is 3"):
        episodes(MixedPartitions(PSEUDO, useless, 0.5))
    episodes(MixedPartitions(useless, TRUE, 1.0))


def plan(*flags):
    return build_plan.make(cli.parse(["--algo=protonets", *flags]))


def all_splits(**about):
    images = ImageSet(IMAGES, **about)
    return Splits(images, images, images)


def mix(partitions, data, fraction):
    return mixed(fraction, data.train, partitions)


def test_without_a_fraction_the_pipeline_mixes_nothing():
    assert mix(PSEUDO, all_splits(partitions=TRUE, supervised=TRUE), 0.0) is PSEUDO


def test_the_pipeline_mixes_in_true_partitions_with_the_given_probability():
    both = mix(PSEUDO, all_splits(partitions=TRUE), 0.25)
    assert drawn(both, 400)[3] == pytest.approx(100, abs=35)  # 4 standard deviations


@pytest.mark.parametrize("own", [None, TRUE], ids=["those of the split", "the data set's own"])
def test_the_true_partitions_are_those_of_the_split_unless_the_data_set_provides_others(own):
    labels = AssignedPartitions([np.arange(60) // 12])
    both = mix(PSEUDO, all_splits(partitions=labels, supervised=own), 0.5)
    assert both[3] is (own or labels)[0]


@pytest.mark.parametrize("labels", [None, AssignedPartitions([])], ids=["no labels", "labels that make no task"])
def test_a_fraction_of_images_without_labels_is_refused(labels):
    with pytest.raises(InputError, match=r"--supervised_fraction=0.5: the training images have no labels; drop"):
        preflight.check_mixture(plan("--supervised_fraction=0.5").partition, ImageSet(IMAGES, labels))


def test_a_fraction_of_the_oracles_own_labels_is_refused():
    oracle = plan("--supervised_fraction=0.5", "--partitioner=labels")
    with pytest.raises(InputError, match="with --partitioner=labels every task has true labels; drop one"):
        preflight.check_mixture(oracle.partition, ImageSet(IMAGES, TRUE))


def test_the_oracle_may_be_mixed_with_other_true_partitions():
    oracle = plan("--supervised_fraction=0.5", "--partitioner=labels")
    preflight.check_mixture(oracle.partition, ImageSet(IMAGES, TRUE, supervised=TRUE))


def test_a_fraction_is_ignored_if_no_learner_trains_on_tasks():
    neighbors = build_plan.make(cli.parse(["--algo=nearest_neighbours", "--supervised_fraction=0.5"]))
    preflight.check_mixture(neighbors.partition, ImageSet(IMAGES))


def test_the_fraction_changes_the_identity_of_a_run_and_no_artifact():
    plain, mixing = plan(), plan("--supervised_fraction=0.5")
    assert plain.identity != mixing.identity
    assert plain.partition.key == mixing.partition.key


def test_the_results_show_the_fraction_for_learners_that_train_on_tasks():
    flags = ["--algo=protonets,nearest_neighbours", "--supervised_fraction=0.5"]
    protonets, neighbors = build_plan.make(cli.parse(flags)).learners
    assert protonets.reported["supervised_fraction"] == 0.5
    assert "supervised_fraction" not in neighbors.reported
    assert "supervised_fraction" not in plan().learners[0].reported


def test_tasks_of_unmixed_partitions_are_unchanged():
    """Numbers of the sampler before there was a mixture."""
    stream = episodes(PSEUDO)
    assert [stream.indices(i)[1] for i in range(8)] == [0, 0, 1, 1, 1, 0, 0, 0]
    assert stream.indices(3)[0].tolist() == [[21, 31, 41, 56, 51, 36], [17, 12, 37, 7, 57, 42], [44, 49, 14, 34, 24, 4]]
