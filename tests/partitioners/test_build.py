"""Checks that all partitioners share."""

import numpy as np
import pytest

from cactus_tf import partitioners
from cactus_tf.contracts import PartitionContext
from cactus_tf.errors import InputError
from cactus_tf.utils import arrays

EMBEDDINGS = np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32)


def with_nan():
    z = EMBEDDINGS.copy()
    z[3, 1], z[9, 0] = np.nan, np.inf
    return z


def about(embeddings=EMBEDDINGS, images=120, **context):
    return PartitionContext(images=images, embeddings=embeddings, **context)


@pytest.mark.parametrize("name", ["kmeans", "hyperplanes", "neighbors"])
@pytest.mark.parametrize(
    ("context", "words"),
    [
        (about(embeddings=None), "there are no embeddings to cluster"),
        (about(embeddings=with_nan()), "2 of 120 embeddings are NaN or infinite"),
        (about(images=119), r"must be \[119, dim\]"),
        (about(embeddings=np.zeros(120)), r"must be \[120, dim\]"),
    ],
)
def test_embeddings_that_cannot_be_clustered_are_refused(name, context, words):
    with pytest.raises(InputError, match=f"{name}: .*{words}"):
        partitioners.build(name, 4, 1)(context)


@pytest.mark.parametrize("name", ["kmeans", "hyperplanes", "neighbors"])
def test_doubles_beyond_float32_are_refused_instead_of_becoming_infinite(name):
    z = EMBEDDINGS.astype(np.float64)
    z[3, 1] = 1e39
    with pytest.raises(InputError, match=f"{name} as float32: 1 of 120 embeddings are NaN or infinite"):
        partitioners.build(name, 4, 1)(z)


def few_distinct(number):
    """120 embeddings of a few values, apart from rounding errors, and the names of their images."""
    z = EMBEDDINGS[np.arange(120) % number] * np.float32(1 + 1e-7)
    return about(embeddings=z, names=np.array([f"{i}.png".encode() for i in range(120)]), way=5)


@pytest.mark.parametrize("name", ["kmeans", "hyperplanes", "neighbors"])
def test_duplicates_that_leave_too_few_distinct_images_are_named(name):
    words = r"only 3 of the 120 training embeddings are distinct \(0\.png and 3\.png are duplicates\); --way=5 needs"
    with pytest.raises(InputError, match=f"{name}: {words}"):
        partitioners.build(name, 8, 1)(few_distinct(3))


def test_duplicates_that_leave_clusters_empty_are_named_in_a_warning(caplog):
    partitioners.build("kmeans", 8, 2, restarts=0)(few_distinct(6))
    assert "only 6 of the 120 training embeddings are distinct" in caplog.text
    assert "of 8 clusters the others stay empty" in caplog.text


def test_rows_that_are_not_finite_are_counted_across_chunks(monkeypatch):
    monkeypatch.setattr(arrays, "_PIECE", 7 * EMBEDDINGS[:1].size)
    with pytest.raises(InputError, match="kmeans: 2 of 120 embeddings"):
        partitioners.build("kmeans", 4, 1)(with_nan())


@pytest.mark.parametrize("name", ["kmeans", "random"])
@pytest.mark.parametrize(
    ("way", "clusters", "words"),
    [
        (2, 121, "121 clusters are more than 120 images: lower --clusters to 120"),
        (5, 4, "way 5 is more than 4 clusters"),
    ],
)
def test_clusters_fit_between_way_and_images(name, way, clusters, words):
    with pytest.raises(InputError, match=f"{name}: {words}"):
        partitioners.build(name, clusters, 1)(about(way=way))


@pytest.mark.parametrize("name", ["kmeans", "random", "hyperplanes", "neighbors"])
def test_there_is_at_least_one_partition(name):
    with pytest.raises(InputError, match=f"{name}: partitions is 0"):
        partitioners.build(name, 4, 0)(about())


def test_a_run_gets_the_same_checks_and_checks_its_numbers_itself():
    with pytest.raises(InputError, match="way 5 is more than 4 clusters"):
        partitioners.make("kmeans", 4, 1)(about(way=5))
    assert len(partitioners.make("kmeans", 4, 1)(about())) == 1
