import itertools

import numpy as np
import pytest
from scipy import stats

from cactus_tf.datasets.celeba.attributes import AttributePools, pattern_counts, triples
from cactus_tf.fewshot.episodes import Episodes


def oracle(labels, least):
    """(triple, pattern, negative, positive) of every pool, by the words of the paper."""
    for triple in itertools.combinations(range(labels.shape[1]), 3):
        for pattern in itertools.product((0, 1), repeat=3):
            if pattern[0] == 1:
                continue  # the mirror image of one before
            rows = [tuple(row) for row in labels[:, triple].astype(int)]
            positive = [i for i, row in enumerate(rows) if row == pattern]
            negative = [i for i, row in enumerate(rows) if row == tuple(1 - b for b in pattern)]
            if len(positive) >= least and len(negative) >= least:
                yield triple, pattern, negative, positive


def some_labels(n, attributes=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.random((n, attributes)) < rng.uniform(0.1, 0.6, attributes)


@pytest.mark.parametrize("least", [2, 6])
@pytest.mark.parametrize(("n", "attributes"), [(90, 6), (40, 3), (7, 5)])
def test_pools_are_those_of_the_triple_loop(n, attributes, least):
    labels = some_labels(n, attributes)
    pools, expected = AttributePools(labels, least), list(oracle(labels, least))
    assert len(pools) == len(expected)
    for p, (triple, pattern, negative, positive) in enumerate(expected):
        assert tuple(pools.triples[p]) == triple
        assert int(pools.patterns[p]) == int("".join(map(str, pattern)), 2)
        assert pools[p].sizes.tolist() == [len(negative), len(positive)]
        assert pools[p].cluster(0).tolist() == negative
        assert pools[p].cluster(1).tolist() == positive


def test_both_sides_differ_in_all_three_attributes_and_no_pool_is_another_mirrored():
    labels = some_labels(80)
    pools, seen = AttributePools(labels), set()
    for p, pool in enumerate(pools):
        sides = [{tuple(row) for row in labels[pool.cluster(c)][:, pools.triples[p]].astype(int)} for c in (0, 1)]
        ((negative,), (positive,)) = sides
        assert positive[0] == 0
        assert negative == tuple(1 - b for b in positive)
        seen |= {(tuple(pools.triples[p]), negative), (tuple(pools.triples[p]), positive)}
    assert len(seen) == 2 * len(pools)


@pytest.mark.parametrize(("attributes", "most"), [(20, 4560), (10, 480)])
def test_many_images_make_as_many_pools_as_there_are_triples_and_patterns(attributes, most):
    labels = np.random.default_rng(0).random((3000, attributes)) < 0.5
    pools = AttributePools(labels)
    assert len(pools) == most
    assert pools.of_size(6) == most
    assert pools.of_size(10**6) == 0


def test_counts_are_those_of_every_pattern():
    labels = some_labels(60, 5)
    counts = pattern_counts(labels)
    assert counts.shape == (10, 8)
    for triple, row in zip(triples(5), counts, strict=True):
        codes = labels[:, triple].astype(int) @ [4, 2, 1]
        assert row.tolist() == np.bincount(codes, minlength=8).tolist()


def test_pools_are_indexed_as_a_list():
    pools = AttributePools(some_labels(60))
    assert pools[-1].sizes.tolist() == pools[len(pools) - 1].sizes.tolist()
    assert len(list(pools)) == len(pools)
    with pytest.raises(IndexError):
        pools[len(pools)]


def test_assignments_are_the_inverse_of_the_clusters():
    labels = some_labels(60)
    pool = AttributePools(labels)[0]
    table = pool.assignments(60)
    for c in (0, 1):
        np.testing.assert_array_equal(np.flatnonzero(table == c), pool.cluster(c))
    assert np.count_nonzero(table < 0) == 60 - pool.sizes.sum()


def one_pool(n, members):
    """A pool whose cluster 1 (the pattern 000) is `members` and whose cluster 0 is two other images."""
    labels = np.tile([[True, False, False]], (n, 1))
    labels[members] = False
    labels[np.setdiff1d(np.arange(n), members)[:2]] = True
    pools = AttributePools(labels)
    pool = next(pools[p] for p in range(len(pools)) if pools.patterns[p] == 0)
    np.testing.assert_array_equal(pool.cluster(1), members)
    return pool


# Of 2000 images 12 are rare (below 2000 / 128); of 60 they are found by trying.
@pytest.mark.parametrize(("n", "number"), [(2000, 4), (60, 4), (60, 12)], ids=["rare", "tried", "tried, all of them"])
def test_images_are_drawn_uniformly_and_without_replacement(n, number):
    members = np.sort(np.random.default_rng(1).choice(n, 12, replace=False))
    pool, rng = one_pool(n, members), np.random.default_rng(2)
    draws = np.array([pool.draw(1, number, rng) for _ in range(4000)])
    assert draws.shape == (4000, number)
    assert all(len(set(draw)) == number for draw in draws)
    assert set(draws.ravel()) == set(members)
    for place in (0, number - 1):  # also the order is random
        counts = np.bincount(np.searchsorted(members, draws[:, place]), minlength=12)
        assert stats.chisquare(counts).pvalue > 1e-3
    pairs = np.searchsorted(members, draws[:, :2]) @ [12, 1]  # the second independent of the first, never the same
    counts = np.bincount(pairs, minlength=144)[[a * 12 + b for a in range(12) for b in range(12) if a != b]]
    assert counts.sum() == 4000
    assert stats.chisquare(counts).pvalue > 1e-3


def test_a_draw_depends_on_the_generator_alone_and_not_on_draws_before():
    labels = some_labels(900, seed=3)
    fresh, used = AttributePools(labels), AttributePools(labels)
    for pool in used:
        for c in (0, 1):
            pool.draw(c, 2, np.random.default_rng(9))
    for p in range(len(used)):
        for c in (0, 1):
            one, other = (pools[p].draw(c, 2, np.random.default_rng(5)) for pools in (fresh, used))
            np.testing.assert_array_equal(one, other)


def test_more_images_than_a_side_has_are_refused():
    with pytest.raises(ValueError, match="has 12 images, 13"):
        one_pool(60, np.arange(12)).draw(1, 13, np.random.default_rng(0))


def test_a_draw_from_many_images_looks_at_few_of_them(monkeypatch):
    labels = some_labels(200_000, 4)
    pools, looked = AttributePools(labels), []
    usual = type(pools[0])._are_members
    monkeypatch.setattr(type(pools[0]), "_are_members", lambda self, w, c: looked.append(len(w)) or usual(self, w, c))
    rng, drawn = np.random.default_rng(0), 0
    for pool in pools:
        for c in (0, 1):
            if 128 * pool.sizes[c] >= 200_000:
                drawn += 1
                assert len(pool.draw(c, 6, rng)) == 6
    assert drawn >= 10
    assert max(looked) < 6 * 128 * 2


def test_members_of_rare_clusters_stay_within_the_bound_that_is_documented():
    labels = np.random.default_rng(0).random((20_000, 20)) < 0.1
    pools, rng = AttributePools(labels), np.random.default_rng(0)
    for pool in pools:
        for c in (0, 1):
            pool.draw(c, 1, rng)
    assert 0 < sum(members.nbytes for members in pools._rare.values()) < 250 * 20_000


def test_episodes_are_made_of_pools_that_are_large_enough_uniformly():
    labels = some_labels(150, 5, seed=4)
    pools = AttributePools(labels)
    usable = np.flatnonzero((pools.sizes >= 10).all(axis=1))
    assert 2 <= len(usable) < len(pools)
    episodes = Episodes(np.arange(150), pools, way=2, shot=5, query=5, seed=1)
    drawn = [episodes.indices(i) for i in range(2000)]
    counts = np.bincount([p for _, p in drawn], minlength=len(pools))
    assert set(np.flatnonzero(counts)) == set(usable)
    assert stats.chisquare(counts[usable]).pvalue > 1e-3
    for numbers, p in drawn[:200]:
        sides = [{tuple(row) for row in labels[row][:, pools.triples[p]]} for row in numbers]
        assert [len(side) for side in sides] == [1, 1]
        assert all(a != b for a, b in zip(*(side.pop() for side in sides), strict=True))
