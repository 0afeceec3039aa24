import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes, gather, sample_task
from cactus_tf.types import AssignedPartitions, GroupedPartition


def numbered_images(n):
    """[n, 1, 1, 1] images whose pixel is their number."""
    return np.arange(n, dtype=np.int32).reshape(n, 1, 1, 1)


@st.composite
def tasks(draw):
    """Assignments with at least `way` clusters of at least shot + query images, and others that are too small."""
    way, shot, query = draw(st.integers(2, 5)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    usable = draw(st.lists(st.integers(shot + query, 12), min_size=way, max_size=8))
    small = draw(st.lists(st.integers(0, shot + query - 1), max_size=4))
    sizes = draw(st.permutations(usable + small))
    assignments = np.repeat(np.arange(len(sizes)), sizes)
    order = np.random.default_rng(draw(st.integers(0, 99))).permutation(len(assignments))
    return assignments[order], way, shot, query


def sampled(task, i=0, seed=0):
    assignments, way, shot, query = task
    rows = numbered_images(len(assignments))
    return Episodes(rows, AssignedPartitions([assignments]), way=way, shot=shot, query=query, seed=seed)[i]


@given(tasks(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_no_image_is_drawn_twice_in_an_episode(task, i):
    episode = sampled(task, i)
    numbers = np.concatenate([episode.support.ravel(), episode.query.ravel()])
    assert len(set(numbers)) == len(numbers)


@given(tasks(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_a_label_is_one_cluster_and_a_cluster_one_label(task, i):
    assignments, way, shot, query = task
    episode = sampled(task, i)
    rows = np.concatenate([episode.support, episode.query], axis=1).reshape(way, shot + query)
    clusters = assignments[rows]
    assert (clusters == clusters[:, :1]).all()
    assert len(set(clusters[:, 0])) == way


@given(tasks(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_clusters_smaller_than_shot_plus_query_are_never_drawn(task, i):
    assignments, _, shot, query = task
    drawn = assignments[sampled(task, i).support.ravel()]
    assert (np.bincount(assignments)[drawn] >= shot + query).all()


@given(tasks(), st.integers(0, 1000), st.integers(0, 2**40))
@settings(max_examples=30, deadline=None)
def test_an_episode_depends_on_seed_and_index_only(task, i, seed):
    first, again = sampled(task, i, seed), sampled(task, i, seed)
    np.testing.assert_array_equal(first.support, again.support)
    np.testing.assert_array_equal(first.query, again.query)


def chi_square(counts):
    expected = counts.sum() / len(counts)
    return ((counts - expected) ** 2 / expected).sum()


def test_clusters_are_drawn_uniformly_whatever_their_size_and_labels_at_random():
    assignments = np.repeat(np.arange(6), [4, 8, 12, 16, 20, 40])
    partition = GroupedPartition.from_assignments(assignments)
    rng = np.random.default_rng(0)
    drawn = np.array([assignments[sample_task(partition, 3, 1, 1, rng)[:, 0]] for _ in range(3000)])
    # 5 degrees of freedom: chi-square exceeds 20.5 once in a thousand times.
    assert chi_square(np.bincount(drawn.ravel(), minlength=6)) < 20.5
    for label in range(3):
        assert chi_square(np.bincount(drawn[:, label], minlength=6)) < 20.5


def test_images_of_a_cluster_are_drawn_uniformly_as_support_and_as_query():
    partition = GroupedPartition.from_assignments(np.zeros(10, int), clusters=1)
    partition = GroupedPartition(np.concatenate([partition.indices, partition.indices + 10]), np.array([0, 10, 20]))
    rng = np.random.default_rng(1)
    drawn = np.array([sample_task(partition, 2, 1, 1, rng) % 10 for _ in range(3000)])
    for column in range(2):  # 9 degrees of freedom: 27.9 is exceeded once in a thousand times
        assert chi_square(np.bincount(drawn[:, :, column].ravel(), minlength=10)) < 27.9


def test_every_usable_partition_is_drawn_and_no_other():
    good, bad = np.repeat(np.arange(3), 4), np.zeros(12, int)
    episodes = Episodes(numbered_images(12), AssignedPartitions([good, bad, good]), way=3, shot=1, query=2)
    counts = np.bincount([episodes.indices(i)[1] for i in range(1000)], minlength=3)
    assert counts[1] == 0
    assert chi_square(counts[[0, 2]]) < 10.8  # one degree of freedom, once in a thousand times


def test_the_pipeline_gives_the_sampled_episodes_in_order():
    episodes = Episodes(numbered_images(40), AssignedPartitions([np.repeat(np.arange(5), 8)]), way=3, shot=2, query=3)
    batches = list(episodes.dataset(tasks_per_step=2).take(3))
    for step, batch in enumerate(batches):
        for t in range(2):
            expected = episodes[2 * step + t]
            np.testing.assert_array_equal(batch.support[t], expected.support)
            np.testing.assert_array_equal(batch.query[t], expected.query)
            assert int(batch.index[t]) == 2 * step + t


def test_a_pipeline_that_starts_later_continues_an_earlier_one():
    episodes = Episodes(numbered_images(40), AssignedPartitions([np.repeat(np.arange(5), 8)]), way=3, shot=1, query=1)
    whole = [batch.query.numpy() for batch in episodes.dataset(2).take(6)]
    late = [batch.query.numpy() for batch in episodes.dataset(2, start=4).take(2)]
    np.testing.assert_array_equal(whole[4:], late)


def test_a_step_far_away_costs_no_more_than_the_first():
    episodes = Episodes(numbered_images(40), AssignedPartitions([np.repeat(np.arange(5), 8)]), way=2, shot=1, query=1)
    batch = next(iter(episodes.dataset(1, start=10**12)))
    assert int(batch.index[0]) == 10**12


def test_gathered_rows_are_the_requested_rows():
    rows, numbers = np.arange(20).reshape(10, 2), np.array([[3, 1], [9, 3]])
    np.testing.assert_array_equal(gather(rows, numbers), rows[numbers])


@pytest.mark.parametrize(
    ("way", "shot", "query", "words"),
    [
        (6, 1, 1, "has 5 clusters; way is 6"),
        (5, 4, 5, "at most 8 images per class at 5-way; shot \\+ query is 9"),
        (1, 1, 1, "way is 1"),
        (5, 0, 1, "shot is 0"),
        (5, 1, 0, "query is 0"),
    ],
)
def test_the_error_about_an_impossible_task_explains_it(way, shot, query, words):
    with pytest.raises(InputError, match=words):
        Episodes(numbered_images(40), AssignedPartitions([np.repeat(np.arange(5), 8)]), way=way, shot=shot, query=query)
