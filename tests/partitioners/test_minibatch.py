"""K-means by mini-batches, and when it is chosen."""

import dataclasses
import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cactus_tf import partitioners
from cactus_tf.config import keys
from cactus_tf.contracts import PartitionContext
from cactus_tf.errors import InputError
from cactus_tf.partitioners import kmeans
from cactus_tf.partitioners._rescaled import Rescaled
from cactus_tf.partitioners.kmeans import minibatch
from cactus_tf.partitioners.kmeans.start import cluster_means
from cactus_tf.utils import arrays, threads


@pytest.fixture
def small(monkeypatch):
    """Settings with which a few hundred images make several groups, batches and chunks."""
    values = {"_CLUSTERS_PER_GROUP": 10, "_FEWEST_IMAGES": 1, "_SMALLEST_BATCH": 1, "_BATCH_PER_CENTER": 5}
    for name, value in {**values, "_CHUNK": 500, "_PARTS": 3, "_ROUNDS": 8}.items():
        monkeypatch.setattr(minibatch, name, value)


def blobs(n=400, centers=20, dim=6, seed=0):
    """[n, dim] float32 around well separated centers, and the center of each."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % centers)
    return (20 * rng.normal(size=(centers, dim))[labels] + rng.normal(size=(n, dim))).astype(np.float32), labels


def squared_distances(x, centers):
    return ((x[:, None].astype(float) - centers[None]) ** 2).sum(axis=-1)


def inertia(x, found, k):
    return ((x - cluster_means(x, found, x[:k])[found]) ** 2).sum()


@pytest.mark.parametrize(
    ("images", "dim", "clusters", "exact"),
    [
        (1_100, 64, 25, True),
        (22_000, 256, 500, True),  # Omniglot
        (60_000, 256, 10, True),  # MNIST
        (162_770, 256, 500, True),  # CelebA
        (100_000, 64, 1_000, False),  # too many distances
        (1_281_167, 256, 1_000, False),  # ImageNet
        (1_000_000, 256, 10, False),  # too large for copies
    ],
)
def test_the_method_follows_from_the_size_unless_it_is_set(images, dim, clusters, exact):
    assert kmeans.is_exact("auto", clusters, images, dim) is exact
    assert kmeans.is_exact("exact", clusters, images, dim)
    assert not kmeans.is_exact("minibatch", clusters, images, dim)


@pytest.mark.parametrize(("limit", "method", "called"), [(1e8, "auto", "exact"), (1, "auto", "minibatch")])
def test_partitions_are_made_by_the_chosen_method(monkeypatch, limit, method, called):
    seen = []
    monkeypatch.setattr(kmeans, "_EXACT", limit)
    for name, module in {"exact": kmeans, "minibatch": minibatch}.items():
        monkeypatch.setattr(module, "fit", lambda x, k, *_, name=name, **__: seen.append(name) or np.arange(len(x)) % k)
    partitioners.build("kmeans", clusters=20, partitions=2, method=method)(blobs()[0])
    assert seen == [called] * 2


def test_there_is_no_other_method():
    with pytest.raises(InputError, match=r"--kmeans_method=lloyd: .* choose from auto, exact, minibatch"):
        partitioners.build("kmeans", method="lloyd")


@pytest.mark.parametrize("partitions", [1, 3])
def test_separated_blobs_are_found_in_every_partition(small, partitions):
    x, labels = blobs()
    for partition in partitioners.build("kmeans", 20, partitions, method="minibatch", scaled=False)(x, seed=1):
        found = partition.assignments(len(x))
        assert len({*zip(found, labels, strict=True)}) == len({*found}) == 20


def test_a_clustering_follows_from_the_seed_alone_whatever_the_number_of_cores(small, monkeypatch):
    x = Rescaled(np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32))
    first = minibatch.fit(x, 20, seed=3)
    assert (minibatch.fit(x, 20, seed=4) != first).any()
    for cores in (1, 5):
        monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _, cores=cores: range(cores))
        np.testing.assert_array_equal(minibatch.fit(x, 20, seed=3), first)


def test_every_image_has_a_cluster(small):
    x = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)
    found = minibatch.fit(Rescaled(x), 40, seed=3)
    assert found.dtype == np.int32
    assert found.shape == (600,)
    assert set(found) <= set(range(40))
    assert len(set(found)) > 35


@pytest.mark.parametrize(("n", "k"), [(1, 1), (12, 12), (12, 11), (30, 2)])
def test_there_may_be_as_many_clusters_as_images(small, n, k):
    x = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    found = minibatch.fit(Rescaled(x), k, seed=0)
    assert len(set(found)) == k


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
def test_equal_images_can_be_clustered(small):
    assert len(set(minibatch.fit(Rescaled(np.ones((200, 3), np.float32)), 20, seed=0))) >= 1


def test_inertia_is_within_three_percent_of_exact_k_means(small):
    x = np.random.default_rng(0).normal(size=(1000, 12)).astype(np.float32)  # no structure: the hardest case
    ours = np.mean([inertia(x, minibatch.fit(Rescaled(x), 50, seed), 50) for seed in range(2)])
    exact = np.mean([inertia(x, kmeans.fit(x, 50, 1, seed), 50) for seed in range(2)])
    assert ours < 1.03 * exact


def test_the_nearest_center_is_the_argmin_of_all_distances(small):
    rng = np.random.default_rng(0)
    x, centers = (
        Rescaled(rng.normal(size=(700, 8)).astype(np.float32), rng.random(8, np.float32)),
        rng.normal(size=(40, 8)),
    )
    expected = squared_distances(x.whole(), centers).argmin(axis=1)
    np.testing.assert_array_equal(minibatch.nearest_of_all(x, centers.astype(np.float32)), expected)  # 60 chunks
    rows = np.array([3, 5, 699])
    np.testing.assert_array_equal(minibatch.nearest(x, rows, centers.astype(np.float32)), expected[rows])


def test_a_clustering_ends_with_the_nearest_of_its_centers(small, monkeypatch):
    ends, improved = [], minibatch.improved
    monkeypatch.setattr(minibatch, "improved", lambda *args: ends.append(improved(*args)) or ends[-1])
    x = Rescaled(np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32))
    found = minibatch.fit(x, 20, seed=0)
    assert len(ends) == 8
    np.testing.assert_array_equal(found, squared_distances(x.whole(), ends[-1][0]).argmin(axis=1))


def test_every_round_starts_from_the_result_of_the_one_before(small, monkeypatch):
    ways, improved = [], minibatch.improved

    def spied(x, centers, labels, number, rng):
        ways.append(((centers, labels), improved(x, centers, labels, number, rng)))
        return ways[-1][1]

    monkeypatch.setattr(minibatch, "improved", spied)
    minibatch.fit(Rescaled(np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)), 20, seed=0)
    for (_, end), (start, _) in itertools.pairwise(ways):
        np.testing.assert_array_equal(start[0], end[0])
        np.testing.assert_array_equal(start[1], end[1])


def test_in_a_round_every_image_is_in_one_group_with_its_center(small, monkeypatch):
    rng = np.random.default_rng(0)
    x = Rescaled(rng.normal(size=(600, 4)).astype(np.float32))
    centers, seen, epoch = x[np.arange(40)], [], minibatch.epoch
    labels = minibatch.nearest_of_all(x, centers)
    monkeypatch.setattr(minibatch, "epoch", lambda x, *group: seen.append(group) or epoch(x, *group))
    new, found = minibatch.improved(x, centers, labels, 4, rng)
    assert len(seen) > 1
    np.testing.assert_array_equal(np.sort(np.concatenate([rows for rows, *_ in seen])), np.arange(600))
    for rows, own, _ in seen:
        numbers = np.flatnonzero((centers[:, None] == own[None]).all(axis=2).any(axis=1))
        assert set(labels[rows]) | set(found[rows]) <= set(numbers)
    before, after = (((x.whole() - c[places]) ** 2).sum() for c, places in ((centers, labels), (new, found)))
    assert after < 0.8 * before


def test_an_epoch_reads_every_image_once_and_starts_from_its_centers(small, monkeypatch):
    x, read = Rescaled(np.arange(300, dtype=np.float32).reshape(-1, 1)), []
    monkeypatch.setattr(minibatch, "nearest", lambda x, rows, centers: rows)
    getitem = Rescaled.__getitem__
    monkeypatch.setattr(Rescaled, "__getitem__", lambda self, rows: read.append(rows) or getitem(self, rows))
    centers = np.array([[-1e6], [100.0], [200.0]], np.float32)
    fitted, _ = minibatch.epoch(x, np.arange(300), centers, seed=0)
    np.testing.assert_array_equal(np.sort(np.concatenate(read)), np.arange(300))
    assert len(read) == 20  # 5 images per center each
    assert fitted[0, 0] == -1e6  # no image is nearest
    np.testing.assert_allclose(fitted[1:, 0], [75, 225], atol=15)  # the means of the two halves


def test_centers_that_outnumber_their_images_stay(small):
    x, centers = Rescaled(np.zeros((2, 1), np.float32)), np.array([[1.0], [-2.0], [5.0]], np.float32)
    fitted, found = minibatch.epoch(x, np.arange(2), centers, seed=0)
    np.testing.assert_array_equal(fitted, centers)
    np.testing.assert_array_equal(found, [0, 0])


def test_rescaled_rows_are_rows_of_the_rescaled():
    rng = np.random.default_rng(0)
    z, scale = rng.normal(size=(9, 4)).astype(np.float32), rng.random(4, np.float32)
    rows = np.array([1, 5, 8])
    np.testing.assert_array_equal(Rescaled(z, scale)[rows], (z * scale)[rows])
    np.testing.assert_array_equal(Rescaled(z)[rows], z[rows])
    np.testing.assert_array_equal(Rescaled(z, scale).whole(), z * scale)
    assert Rescaled(z).whole() is z


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.data())
def test_shares_are_in_proportion_at_least_one_and_no_larger_than_their_groups(sizes, data):
    total = data.draw(st.integers(len(sizes), sum(sizes)))
    found = minibatch.largest_remainders(sizes, total)
    assert found.sum() == total
    assert (found >= 1).all()
    assert (found <= sizes).all()
    rest = np.array(sizes) - 1
    assert (abs(found - 1 - rest * (total - len(sizes)) / max(1, rest.sum())) < 1).all()


def test_members_are_the_sorted_positions_of_each_group():
    found = minibatch.members(np.array([2, 0, 2, 4, 0]), 6)
    assert [places.tolist() for places in found] == [[1, 4], [], [0, 2], [], [3], []]


def test_a_sample_is_distinct_and_sorted_and_everything_where_more_is_wanted():
    rng = np.random.default_rng(0)
    found = minibatch.sample(1000, 60, rng)
    assert len(found) == 60
    assert (np.diff(found) > 0).all()
    assert found[-1] > 900
    np.testing.assert_array_equal(minibatch.sample(10, 60, rng), np.arange(10))


@pytest.mark.parametrize("sample", [None, 1_000])
def test_memory_is_a_part_of_what_the_embeddings_take(small, monkeypatch, tmp_path, sample):
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(20_000, 64)).astype(np.float32))
    z = np.load(tmp_path / "z.npy", mmap_mode="r")
    for name, value in {"_CHUNK": 50_000, "_ROUNDS": 1, "_BATCH_PER_CENTER": 100}.items():
        monkeypatch.setattr(minibatch, name, value)
    monkeypatch.setattr(arrays, "_PIECE", 50_000)
    context = PartitionContext(images=len(z), embeddings=z)
    tracemalloc.start()
    partitioners.build("kmeans", 10, 2, method="minibatch", sample=sample)(context)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * z.nbytes


def test_a_partition_by_mini_batches_gets_no_new_start(monkeypatch, caplog):
    calls = []
    monkeypatch.setattr(minibatch, "fit", lambda x, k, seed, images: calls.append(seed) or np.zeros(len(x), np.int32))
    partitioners.build("kmeans", 20, 1, method="minibatch")(blobs()[0])
    assert len(calls) == 1
    assert "partition 0: 1 of 20 clusters have 6 images or more, after 1 attempts" in caplog.text


# Centers from a sample


def test_below_ten_million_images_all_are_used_unless_a_sample_is_asked_for():
    assert kmeans.sample_size(None, 10_000, 9_999_999) is None
    assert kmeans.sample_size(None, 10, 10_000_000) == 10_000
    assert kmeans.sample_size(25, 10_000, 1_000_000) == 250_000


def test_the_default_changes_no_key():
    assert "sample" not in keys.relevant("kmeans", kmeans.Options())
    assert keys.relevant("kmeans", kmeans.Options(sample=25))["sample"] == 25


@pytest.mark.parametrize("images", [300, 301, 10_000])
def test_a_sample_of_all_images_changes_nothing(small, images):
    x = Rescaled(np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32))
    np.testing.assert_array_equal(minibatch.fit(x, 20, 3, images), minibatch.fit(x, 20, 3))


def sampled(x, images, monkeypatch, seed=0):
    """The assignments, the centers, and the images that they were computed from."""
    seen, final_centers = [], minibatch.final_centers
    monkeypatch.setattr(
        minibatch, "final_centers", lambda x, *args: seen.append((x, final_centers(x, *args))) or seen[-1][1]
    )
    found = minibatch.fit(x, 20, seed, images)
    return found, seen[0][1], seen[0][0]


def test_every_image_gets_the_nearest_of_the_centers_of_the_sample(small, monkeypatch):
    rng = np.random.default_rng(0)
    x = Rescaled(rng.normal(size=(5_000, 8)).astype(np.float32), rng.random(8, np.float32))
    found, centers, fitted = sampled(x, 500, monkeypatch)
    assert len(fitted) == len(np.unique(fitted.chosen)) == 500
    np.testing.assert_array_equal(found, squared_distances(x.whole(), centers).argmin(axis=1))
    assert fitted.embeddings is x.embeddings  # nothing of the size of the embeddings is copied


def test_the_sample_follows_from_the_seed(small, monkeypatch):
    x = Rescaled(np.random.default_rng(0).normal(size=(2_000, 4)).astype(np.float32))
    (one, _, rows), (same, _, again), (_, _, other) = (sampled(x, 400, monkeypatch, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(rows.chosen, again.chosen)
    assert (rows.chosen != other.chosen).any()


def test_a_worker_of_several_makes_the_same_partition_from_its_own_sample(small):
    x = np.random.default_rng(0).normal(size=(1_000, 4)).astype(np.float32)
    context = PartitionContext(images=len(x), embeddings=x, seed=3)
    make = partitioners.build("kmeans", 20, 3, sample=10)
    alone, (shared,) = make(context), make(dataclasses.replace(context, only=[2]))
    np.testing.assert_array_equal(shared.assignments(len(x)), alone[2].assignments(len(x)))
    assert (alone[0].assignments(len(x)) != alone[2].assignments(len(x))).any()


def test_inertia_of_a_sample_is_near_that_of_all(small):
    x, _ = blobs(n=8_000, centers=60)
    every, few = (inertia(x, minibatch.fit(Rescaled(x), 40, 0, images), 40) for images in (None, 4_000))
    assert few < 1.1 * every


def test_a_sample_means_mini_batches(monkeypatch):
    seen = []
    monkeypatch.setattr(
        minibatch, "fit", lambda x, k, seed, images: seen.append(images) or np.arange(len(x), dtype=np.int32) % k
    )
    partitioners.build("kmeans", 20, 2, sample=5)(blobs()[0])
    assert seen == [100, 100]
    with pytest.raises(InputError, match="--kmeans_sample=5 is for mini-batches"):
        partitioners.build("kmeans", method="exact", sample=5)


def test_from_ten_million_images_on_the_default_is_a_sample(small, monkeypatch):
    seen, fit = [], minibatch.fit
    monkeypatch.setattr(minibatch, "fit", lambda x, k, seed, images: seen.append(images) or fit(x, k, seed, images))
    monkeypatch.setattr(kmeans, "_SAMPLED", 400)
    monkeypatch.setattr(kmeans, "_SAMPLE", 10)
    x = blobs()[0]
    for n in (399, 400):
        partitioners.build("kmeans", 20, 1, method="minibatch")(x[:n])
    assert seen == [None, 200]


def test_chosen_images_are_rows_of_the_rescaled():
    rng = np.random.default_rng(0)
    x = Rescaled(rng.normal(size=(9, 4)).astype(np.float32), rng.random(4, np.float32))
    part = x.only(np.array([1, 5, 8]))
    assert len(part) == 3
    np.testing.assert_array_equal(part[np.array([2, 0])], x.whole()[[8, 1]])
