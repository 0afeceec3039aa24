import dataclasses
import io
import re

import a_run
import numpy as np
import pytest
from PIL import Image

from cactus_tf.report import embedding_map
from cactus_tf.report.embedding_map import map_of
from cactus_tf.report.page import render
from cactus_tf.types import AssignedPartitions


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return a_run.with_embeddings(a_run.make(tmp_path_factory.mktemp("mapped")))


def many(run, number, clusters):
    """The run with more training images, gray as their clusters are numbered, of growing clusters."""
    cluster = np.minimum(np.sqrt(2 * np.arange(number)).astype(int), clusters - 1)
    images = np.broadcast_to(cluster[:, None, None, None] * 10 + 5, (number, 28, 28, 1)).astype(np.uint8)
    return a_run.with_embeddings(a_run.with_training_images(run, images, AssignedPartitions([cluster])))


def test_a_run_without_embeddings_or_clusters_has_no_map(run):
    assert map_of(run)
    assert map_of(dataclasses.replace(run, embeddings=None)) is None
    assert map_of(dataclasses.replace(run, partitions=())) is None


def test_features_and_labels_are_not_mapped(run):
    features = dataclasses.replace(run.plan, data=dataclasses.replace(run.plan.data, features=True))
    labels = dataclasses.replace(run.plan, partition=dataclasses.replace(run.plan.partition, partitioner="labels"))
    assert map_of(dataclasses.replace(run, plan=features)) is None
    assert map_of(dataclasses.replace(run, plan=labels)) is None


@pytest.mark.parametrize("different", [1, 4])
def test_embeddings_that_are_all_alike_are_not_mapped(run, different):
    alike = np.eye(60, 8, dtype=np.float32)[np.arange(60) % different]
    assert map_of(dataclasses.replace(run, embeddings=alike)) is None


def test_every_point_has_its_own_picture_in_the_sprite(run):
    scatter = map_of(many(run, 100, 14)).scatter
    sprite = np.asarray(Image.open(io.BytesIO(scatter.sprite.data)).convert("L"))
    assert sprite.shape == (-(-100 // scatter.columns) * scatter.height, scatter.columns * scatter.width)
    for i, point in enumerate(scatter.points):
        row, column = divmod(i, scatter.columns)
        shown = sprite[row * scatter.height :, column * scatter.width :][: scatter.height, : scatter.width]
        assert f"cluster {shown.mean() // 10:.0f}" == point.name


def test_the_twelve_largest_clusters_look_different_and_others_are_gray_below_them(run):
    large = many(run, 120, 15)
    scatter = map_of(large).scatter
    sizes = [int(re.search(r"\((\d+) pictures\)", kind.link.text)[1]) for kind in scatter.kinds]
    assert sizes == sorted(large.partitions[0].sizes, reverse=True)[:12]
    assert len({(kind.color, kind.square) for kind in scatter.kinds}) == 12
    kinds = [point.kind for point in scatter.points]
    gray = kinds.count(None)
    assert gray
    assert set(kinds[:gray]) == {None}
    assert set(kinds[gray:]) == set(range(12))
    assert scatter.others == "all other clusters"
    for point in scatter.points[gray:]:
        assert scatter.kinds[point.kind].link.text.startswith(f"{point.name} (")


def test_pictures_without_a_cluster_are_gray_and_lead_nowhere(run):
    partition = AssignedPartitions([np.where(np.arange(60) < 5, -1, np.arange(60) % 6)])
    scatter = map_of(dataclasses.replace(run, partitions=partition)).scatter
    lonely = [point for point in scatter.points if point.name == "no cluster"]
    assert [(point.kind, point.address) for point in lonely] == [(None, "")] * 5


def test_a_large_set_is_sampled_the_same_way_by_the_same_seed_only(run):
    first, again = (embedding_map._sample(5000, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(first)) == 600
    assert set(first) != set(embedding_map._sample(5000, seed=4))


def test_pictures_of_the_map_take_at_most_300_kilobytes_even_of_noise():
    images = np.random.default_rng(0).integers(0, 256, (600, 84, 84, 3), np.uint8)
    sprite, width, height = embedding_map._sprite(images, np.arange(600))
    assert len(sprite.data) <= 300_000
    assert (width, height) == (48, 48)


def test_the_map_says_how_to_read_it(run):
    text = " ".join(map_of(run).paragraphs)
    assert "the 60 training pictures" in text
    assert "distances between far groups, and sizes of groups, mean little" in text


def test_the_map_needs_neither_scripts_nor_network_and_switches_its_layout(run):
    page = render("t", "s", [map_of(run)])
    assert "<script" not in page
    assert "http" not in page
    assert not re.findall(r'url\("(?!data:)', page)
    assert len(re.findall(r'type="radio"', page)) == 2
    assert len(re.findall(r"--x0:[01]\.\d+;--y0:[01]\.\d+;--x1:[01]\.\d+;--y1:[01]\.\d+;--u:\d+;--v:\d+", page)) == 60


def test_names_on_the_map_are_escaped(run):
    section = map_of(run)
    points = [section.scatter.points[0]._replace(name='"><b>')]
    page = render("t", "s", [section._replace(scatter=section.scatter._replace(points=points))])
    assert 'data-name="&#34;&gt;&lt;b&gt;"' in page
