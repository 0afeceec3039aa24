import functools
import tracemalloc

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from cactus_tf import partitioners
from cactus_tf.contracts import PartitionContext
from cactus_tf.errors import InputError
from cactus_tf.partitioners import neighbors
from cactus_tf.partitioners.neighbors import graph

RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(90, 5)).astype(np.float32)
OPTIONS = neighbors.Options(k=8, average=3)


def blobs(sizes, spread=0.05, alone=0):
    """Images around far centers, then single ones near the first; and the center of each, -1 for single ones."""
    rng = np.random.default_rng(3)
    centers = 10 * rng.normal(size=(len(sizes), 4))
    around = np.repeat(centers, sizes, axis=0) + spread * rng.normal(size=(sum(sizes), 4))
    x = np.concatenate([around, centers[:alone] + 2]).astype(np.float32)
    return x, np.repeat([*range(len(sizes)), -1], [*sizes, alone])


def context(embeddings, **about):
    return PartitionContext(len(embeddings), embeddings, **{"seed": 3, "way": 2, **about})


def divide(embeddings, partitions=1, about=None, **options):
    return partitioners.build("neighbors", partitions=partitions, **options)(context(embeddings, **(about or {})))


# The oracle: the loops of Zhong et al. 2017 over dense arrays.


def ranked(x):
    distances = ((x[:, None].astype(np.float64) - x) ** 2).sum(axis=-1)
    return np.argsort(distances, axis=1, kind="stable")


def reciprocal_set(ranks, i, k):
    return {j for j in ranks[i, : k + 1] if i in ranks[j, : k + 1]}


def expanded_set(ranks, i, k):
    own = reciprocal_set(ranks, i, k)
    result = set(own)
    for q in own:
        half = reciprocal_set(ranks, q, round(k / 2))
        if len(half & own) > 2 / 3 * len(half):
            result |= half
    return result


def dense_distances(x, k, average):
    ranks, n = ranked(x), len(x)
    v = np.zeros((n, n))
    for i in range(n):
        members = list(expanded_set(ranks, i, k))
        v[i, members] = 1 / len(members)
    v = np.stack([v[ranks[i, :average]].mean(axis=0) for i in range(n)])
    smaller = np.minimum(v[:, None], v).sum(axis=-1)
    return 1 - smaller / np.maximum(v[:, None], v).sum(axis=-1)


def as_sets(rows):
    return [set(rows[[i]].indices.tolist()) for i in range(rows.shape[0])]


def found_distances(x):
    """[n, n] distances, 1 where the graph has none."""
    pairs = graph.near_pairs(neighbors.describe(x, OPTIONS), functools.partial(graph.within, 1.0))
    dense = 1 - np.eye(len(x))
    dense[pairs.one, pairs.other] = dense[pairs.other, pairs.one] = pairs.distances
    return dense


def test_the_sets_are_those_of_the_definition():
    ranks, found = ranked(CLOUD), graph.nearest(CLOUD, 8)
    np.testing.assert_array_equal(found, ranks[:, :9])
    sets, halves = graph.reciprocal(found), graph.reciprocal(found[:, :5])
    assert as_sets(sets) == [reciprocal_set(ranks, i, 8) for i in range(90)]
    expanded = as_sets(graph.expanded(sets, halves))
    assert expanded == [expanded_set(ranks, i, 8) for i in range(90)]
    assert sum(map(len, expanded)) > sets.nnz  # some sets do grow


def test_distances_are_those_of_a_dense_computation():
    expected = dense_distances(CLOUD, 8, 3)
    np.testing.assert_allclose(found_distances(CLOUD), expected, atol=1e-6)
    assert (expected < 1).sum() > 1000


def test_blocks_of_any_size_and_any_number_of_cores_give_the_same(monkeypatch):
    whole = found_distances(CLOUD)
    clusters = neighbors.fit(CLOUD, OPTIONS)
    for rows, terms, cores in ((1, 1, 1), (7, 40, 3), (64, 1000, 2)):
        monkeypatch.setattr(graph, "ROWS", rows)
        monkeypatch.setattr(graph, "TERMS", terms)
        monkeypatch.setattr(graph, "cores", lambda cores=cores: cores)
        np.testing.assert_array_equal(found_distances(CLOUD), whole)
        np.testing.assert_array_equal(neighbors.fit(CLOUD, OPTIONS), clusters)


def test_clusters_are_those_of_dbscan_on_dense_distances_with_the_mean_of_the_smallest_as_eps():
    x, _ = blobs([30, 20, 25], spread=1.0, alone=3)
    dense = dense_distances(x, 8, 3)
    eps = np.sort(dense[np.triu_indices(78, 1)])[:117].mean()
    expected = DBSCAN(eps=eps, min_samples=4, metric="precomputed").fit_predict(dense)
    found = neighbors.fit(x, neighbors.Options(k=8, average=3, pairs=1.5))
    assert len(set(expected)) > 2
    np.testing.assert_array_equal(found, expected)


def test_equally_near_pairs_are_all_kept_whatever_their_order():
    distances = np.array([0.5, 0.2, 0.5, 0.1, 0.5, 0.9], np.float32)
    pairs = graph.Pairs(np.arange(6, dtype=np.int32), np.arange(1, 7, dtype=np.int32), distances)
    assert graph.smallest(3, pairs).one.tolist() == [0, 1, 2, 3, 4]
    assert neighbors.mean_of_smallest(distances, 3) == pytest.approx((0.1 + 0.2 + 0.5) / 3)


def test_an_image_that_none_of_its_neighbors_returns_is_in_no_cluster_and_no_cluster_mixes_dense_regions():
    x, truth = blobs([60, 15, 30, 20], alone=3)
    partition = divide(x, k=10, average=1, eps=0.9)[0]
    assert (partition.assignments(len(x))[truth == -1] == -1).all()
    regions = [set(truth[partition.cluster(c)].tolist()) for c in range(len(partition.sizes))]
    assert sorted(regions, key=min) == [{0}, {1}, {2}, {3}]
    assert partition.sizes.max() > 2 * partition.sizes.min()


def test_duplicates_are_together_and_the_image_itself_stays_its_first_neighbor():
    x = np.repeat(CLOUD[:6], 30, axis=0)
    assert graph.nearest(x, 5)[:, 0].tolist() == list(range(180))
    found = divide(x, k=20, pairs=3)[0].assignments(180)
    assert all(len(set(found[c * 30 : (c + 1) * 30].tolist()) - {-1}) == 1 for c in range(6))
    assert len(set(found.tolist()) - {-1}) == 6


def test_partitions_differ_but_for_the_seed_and_the_first_does_not_depend_on_it():
    x, _ = blobs([20] * 8, spread=4.0)

    def all_of(seed):
        return [p.assignments(len(x)).tolist() for p in divide(x, 3, about={"seed": seed}, k=8, pairs=3)]

    first, other = all_of(3), all_of(4)
    assert first == all_of(3)
    assert first[0] == other[0]
    assert first[1] not in (first[0], first[2], other[1])


def test_a_stopped_run_resumes_with_the_partitions_that_are_there(monkeypatch):
    x, _ = blobs([20] * 8)
    stored, wanted = {}, []

    def cache(name, make):
        wanted.append(name)
        if name == "partition-0001" and wanted.count(name) == 1:
            raise KeyboardInterrupt
        return stored[name] if name in stored else stored.setdefault(name, make())

    with pytest.raises(KeyboardInterrupt):
        divide(x, 3, about={"cache": cache})
    assert list(stored) == ["partition-0000"]
    resumed = divide(x, 3, about={"cache": cache})
    assert list(stored) == ["partition-0000", "partition-0001", "partition-0002"]
    for p, q in zip(resumed, divide(x, 3), strict=True):
        np.testing.assert_array_equal(p.assignments(len(x)), q.assignments(len(x)))


def test_no_array_has_an_element_for_every_pair_of_images():
    x = np.random.default_rng(1).normal(size=(8000, 3)).astype(np.float32)
    neighbors.fit(x[:500], neighbors.Options(k=6))
    tracemalloc.start()
    neighbors.fit(x, neighbors.Options(k=6, average=2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8000**2 * 4 / 4  # a quarter of the numbers of all pairs


@pytest.mark.parametrize(
    ("options", "about", "words"),
    [
        (
            {"min_images": 60},
            {},
            r"only 0 clusters of 6 .* needs --way=2: .* 120 images, 100% are in none .*raise --neighbors_pairs",
        ),
        ({"eps": 0.0}, {}, "only 0 clusters of 6 images or more.* raise --neighbors_eps if most are in none"),
        ({}, {"way": 5}, "only 4 clusters of 6 images or more .shot . query., and an episode needs --way=5"),
        ({}, {"images_per_cluster": 70}, "lower --way, --shot or --query"),
    ],
)
def test_too_few_clusters_are_refused_with_the_rule_and_the_remedy(options, about, words):
    x, _ = blobs([30] * 4)
    with pytest.raises(InputError, match=f"neighbors: .*{words}") as error:
        divide(x, about=about, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("images", [1, 2, 5])
def test_a_handful_of_images_is_refused_in_the_same_words(images):
    with pytest.raises(InputError, match="neighbors: only "):
        divide(CLOUD[:images], about={"way": 1, "images_per_cluster": 6})


def test_the_run_says_how_many_clusters_there_are(caplog):
    caplog.set_level("INFO", "cactus_tf")
    x, _ = blobs([30] * 4, alone=4)
    divide(x, 1, k=10, average=1, eps=0.9)
    assert "neighbors: 4 clusters of 6 images or more (shot + query); 97% of the images are in a cluster" in caplog.text
    assert "up to 24% in the same" in caplog.text
