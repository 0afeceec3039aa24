import itertools

import numpy as np
import pytest
from sklearn.cluster import KMeans

from cactus_tf import partitioners
from cactus_tf.contracts import PartitionContext
from cactus_tf.partitioners import kmeans
from cactus_tf.partitioners.kmeans import Options
from cactus_tf.partitioners.kmeans.start import cluster_means


def blobs(n=120, centers=4, dim=6, seed=0):
    """[n, dim] float32 around well separated centers, and the center of each."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % centers
    return (10 * rng.normal(size=(centers, dim))[labels] + rng.normal(size=(n, dim))).astype(np.float32), labels


def assignments(partitions, n):
    return [partition.assignments(n) for partition in partitions]


def same_grouping(a, b):
    return len({*zip(a, b, strict=True)}) == len({*a}) == len({*b})


@pytest.mark.parametrize("partitions", [1, 3])
def test_separated_blobs_are_found_in_every_partition(partitions):
    x, labels = blobs()
    for found in assignments(partitioners.build("kmeans", clusters=4, partitions=partitions)(x, seed=1), len(x)):
        assert same_grouping(found, labels)


def test_the_first_partition_is_of_the_embeddings_as_they_are_and_the_others_of_rescaled_ones(monkeypatch):
    seen = []
    monkeypatch.setattr(kmeans, "fit", lambda x, clusters, starts, seed: seen.append(x) or np.arange(len(x)) % clusters)
    x, _ = blobs()
    partitioners.build("kmeans", clusters=4, partitions=3)(x, seed=1)
    np.testing.assert_array_equal(seen[0], x)
    for scaled in seen[1:]:
        factors = scaled / x
        np.testing.assert_allclose(factors, np.broadcast_to(factors[0], x.shape), rtol=1e-5)  # one number per column
        assert ((factors[0] > 0) & (factors[0] < 1)).all()
    assert not np.allclose(seen[1], seen[2])


def test_without_scaling_every_partition_is_of_the_embeddings_as_they_are(monkeypatch):
    seen = []
    monkeypatch.setattr(kmeans, "fit", lambda x, clusters, starts, seed: seen.append(x) or np.arange(len(x)) % clusters)
    x, _ = blobs()
    partitioners.build("kmeans", clusters=4, partitions=2, scaled=False)(x)
    np.testing.assert_array_equal(seen[1], x)


def test_one_partition_alone_takes_the_best_of_ten_starts(monkeypatch):
    seen = []
    monkeypatch.setattr(
        kmeans, "fit", lambda x, clusters, starts, seed: seen.append(starts) or np.arange(len(x)) % clusters
    )
    x, _ = blobs()
    partitioners.build("kmeans", clusters=4, partitions=1)(x)
    partitioners.build("kmeans", clusters=4, partitions=2)(x)
    assert seen == [10, 1, 1]


def test_a_partition_depends_on_its_seed_and_number_alone():
    x, _ = blobs(centers=12)
    few = assignments(partitioners.build("kmeans", clusters=9, partitions=2)(x, seed=5), len(x))
    many = assignments(partitioners.build("kmeans", clusters=9, partitions=4)(x, seed=5), len(x))
    other = assignments(partitioners.build("kmeans", clusters=9, partitions=2)(x, seed=6), len(x))
    np.testing.assert_array_equal(few, many[:2])
    assert (np.array(few) != np.array(other)).any()


def test_the_fit_is_a_fixed_point_of_k_means():
    x, _ = blobs(n=300, centers=20, dim=40)
    found = kmeans.fit(x, 10, 1, seed=0)
    means = np.stack([x[found == c].mean(axis=0) for c in range(10)])
    nearest = ((x[:, None] - means[None]) ** 2).sum(axis=-1).argmin(axis=1)
    np.testing.assert_array_equal(nearest, found)


def test_sets_too_large_for_elkans_bounds_give_the_same_clusters(monkeypatch):
    x, _ = blobs(n=300, centers=20, dim=40)
    bounded = kmeans.fit(x, 10, 1, seed=0)
    monkeypatch.setattr(kmeans, "_ELKAN_BOUNDS", 0)
    np.testing.assert_array_equal(kmeans.fit(x, 10, 1, seed=0), bounded)


def test_the_coarse_start_costs_no_quality():
    x = np.random.default_rng(0).normal(size=(600, 80)).astype(np.float32)  # no structure: the hardest case

    def inertia(found):
        means = np.stack([x[found == c].mean(axis=0) for c in range(30)])
        return ((x - means[found]) ** 2).sum()

    ours = np.mean([inertia(kmeans.fit(x, 30, 1, seed)) for seed in range(5)])
    default = np.mean([KMeans(30, n_init=1, random_state=seed).fit(x).inertia_ for seed in range(5)])
    assert ours < 1.01 * default


def test_cluster_means_are_means_and_empty_clusters_take_their_substitute():
    x, a = np.arange(12, dtype=np.float32).reshape(6, 2), np.array([0, 0, 2, 2, 2, 0])
    empty = np.full((3, 2), -1, np.float32)
    expected = np.stack([x[[0, 1, 5]].mean(0), empty[1], x[[2, 3, 4]].mean(0)])
    np.testing.assert_allclose(cluster_means(x, a, empty), expected, rtol=1e-6)


def attempts(*large_counts):
    """A function of a seed that gives 8 clusters, of which so many are large (6 images), one count per call."""
    counts = itertools.chain(large_counts, itertools.repeat(large_counts[-1]))
    return lambda seed: np.concatenate([np.repeat(np.arange(n := next(counts)), 6), np.arange(n, 8)]).astype(np.int32)


@pytest.mark.parametrize(("large", "way", "taken"), [((6, 7), 2, 7), ((7, 8), 2, 7), ((7, 8), 8, 8)])
def test_a_partition_is_accepted_when_more_than_three_quarters_and_way_clusters_are_large(large, way, taken):
    rng = np.random.default_rng(0)
    found = kmeans.accepted(0, attempts(*large), 8, way, Options(), rng)
    assert np.count_nonzero(np.bincount(found, minlength=8) >= 6) == taken


def test_restarts_end_and_the_best_attempt_is_used_with_a_warning(caplog):
    found = kmeans.accepted(3, attempts(2, 5, 4), 8, 2, Options(restarts=2), np.random.default_rng(0))
    assert np.count_nonzero(np.bincount(found, minlength=8) >= 6) == 5
    assert "partition 3: 5 of 8 clusters have 6 images or more, after 3 attempts" in caplog.text


def test_cached_partitions_are_not_made_again(monkeypatch):
    x, _ = blobs()
    cached = {}

    def cache(name, make):
        if name not in cached:
            cached[name] = make()
        return cached[name]

    context = PartitionContext(images=len(x), embeddings=x, cache=cache)
    first = assignments(partitioners.build("kmeans", clusters=4, partitions=3)(context), len(x))
    assert sorted(cached) == ["partition-0000", "partition-0001", "partition-0002"]
    del cached["partition-0001"]
    made = []
    fit = kmeans.fit
    monkeypatch.setattr(kmeans, "fit", lambda *args: made.append(1) or fit(*args))
    np.testing.assert_array_equal(assignments(partitioners.build("kmeans", 4, 3)(context), len(x)), first)
    assert len(made) == 1
