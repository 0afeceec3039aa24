import itertools

import numpy as np
import pytest

from cactus_tf import partitioners
from cactus_tf.contracts import PartitionContext
from cactus_tf.errors import InputError
from cactus_tf.partitioners import hyperplanes as hp

RNG = np.random.default_rng(0)
CLOUD = RNG.normal(size=(2000, 6)).astype(np.float32)


def context(embeddings=CLOUD, way=5, images_per_cluster=6, seed=3):
    return PartitionContext(len(embeddings), embeddings, way=way, images_per_cluster=images_per_cluster, seed=seed)


def divide(partitions=5, splits=40, margin=0.0, **about):
    options = {"margin": margin, "splits": splits}
    return partitioners.build("hyperplanes", partitions=partitions, **options)(context(**about))


def test_zones_are_the_sign_patterns_and_margins_belong_to_none():
    distances = RNG.normal(size=(3, 500)).astype(np.float32)
    for margin in (0.0, 0.4):
        packed = [np.packbits(side, axis=1) for side in (distances <= -margin, distances >= margin)]
        found = hp.zones(hp.SplitMasks(*packed, 500), [2, 0, 1])
        for image, zone in enumerate(found):
            chosen = distances[[2, 0, 1], image]
            literal = sum(2**i for i, s in enumerate(chosen) if s >= margin) if (abs(chosen) >= margin).all() else -1
            assert zone == literal


@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_every_image_of_a_cluster_keeps_its_margin_from_every_plane_and_shares_its_sides(margin):
    options = hp.Options(margin=margin, splits=12)
    rng = hp.counter_rng(hp.derive(3, "hyperplanes"), 0)
    planes = [hp.signed_distances(CLOUD, rng) for _ in range(300)]
    planes = [s for s in planes if min((s <= -margin).sum(), (s >= margin).sum()) >= 60][:12]
    splits = hp.make_splits(CLOUD, options, context())
    for split, s in enumerate(planes):
        for side, literal in zip(splits.sides(split), (s <= -margin, s >= margin), strict=True):
            np.testing.assert_array_equal(side, literal)
    for p, partition in enumerate(divide(4, 12, margin)):
        chosen = matching_choice(partition, planes, margin)
        assert chosen is not None, p


def matching_choice(partition, planes, margin):
    """Three planes whose zones of six images or more are the partition's clusters, by brute force."""
    clusters = {frozenset(partition.cluster(c).tolist()) for c in range(len(partition.sizes))}
    for chosen in itertools.combinations(range(len(planes)), 3):
        made = set()
        for signs in itertools.product((-1, 1), repeat=3):
            inside = np.all([sign * planes[i] >= margin for sign, i in zip(signs, chosen, strict=True)], axis=0)
            if inside.sum() >= 6:
                made.add(frozenset(np.flatnonzero(inside).tolist()))
        if made == clusters:
            return chosen
    return None


@pytest.mark.parametrize(("way", "bits"), [(2, 1), (5, 3), (8, 3), (9, 4), (20, 5)])
def test_a_partition_has_at_least_way_zones_and_at_most_two_to_the_number_of_planes(way, bits):
    for partition in divide(way=way):
        assert way <= len(partition.sizes) <= 2**bits
        assert partition.sizes.min() >= 6


def test_both_sides_of_every_split_hold_ten_times_the_images_of_a_cluster():
    splits = hp.make_splits(CLOUD, hp.Options(margin=0.5, splits=20), context(images_per_cluster=7))
    for split in range(20):
        assert min(side.sum() for side in splits.sides(split)) >= 70


def test_planes_pass_through_the_origin_for_embeddings_of_unit_length_and_elsewhere_otherwise():
    sphere = CLOUD / np.linalg.norm(CLOUD, axis=1, keepdims=True)
    opposite = np.concatenate([sphere, -sphere])
    s = hp.signed_distances(opposite, np.random.default_rng(1))
    np.testing.assert_allclose(s[:2000], -s[2000:], atol=1e-6)
    s = hp.signed_distances(np.concatenate([CLOUD, -CLOUD]), np.random.default_rng(1))
    assert abs(s[:2000] + s[2000:]).max() > 1e-3


def test_a_partition_is_a_function_of_seed_and_number():
    first, again, other = divide(6), divide(6), divide(6, seed=4)
    for p in (5, 0, 3):
        np.testing.assert_array_equal(again[p].indices, first[p].indices)
    assert any(other[p].offsets.tolist() != first[p].offsets.tolist() for p in range(6))


def test_many_partitions_keep_two_bits_per_image_and_split():
    splits = hp.make_splits(CLOUD, hp.Options(splits=50), context())
    assert splits.below.nbytes + splits.above.nbytes == 2 * 50 * 2000 / 8


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ({"splits": 2, "way": 20}, "hyperplanes_splits=2.*need 5"),
        (
            {"margin": 9.0},
            "hyperplanes_margin=9.0: 0 of 200 hyperplanes have 60 images .* on either side: lower --hyper",
        ),
        (
            {"embeddings": CLOUD[:100]},
            "0 of 200 hyperplanes have 60 images.*lower --hyperplanes_margin, --shot or --qu",
        ),
        ({"way": 20, "margin": 0.9}, "no choice of 5 hyperplanes has 20 zones of 6 images.*lower --hyperplanes_margin"),
    ],
)
def test_images_that_cannot_be_divided_are_refused_with_the_rule_and_the_remedy(about, words):
    with pytest.raises(InputError, match=words):
        divide(**about)
