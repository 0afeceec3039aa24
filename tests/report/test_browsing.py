import dataclasses
import re

import a_run
import numpy as np
import pytest

from cactus_tf.report import browsing, training
from cactus_tf.report.embedding_map import map_of
from cactus_tf.report.page import render
from cactus_tf.types import AssignedPartitions, InstancePartition

SIZES = [5, 30, 0, 15, 10]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    partition = AssignedPartitions([np.repeat(np.arange(5), SIZES)])
    made = a_run.make(tmp_path_factory.mktemp("browsed"))
    return a_run.with_embeddings(dataclasses.replace(made, partitions=partition))


def page(run):
    browsing.write(run)
    return (run.folder / "clusters.html").read_text()


def headings(text):
    return [" ".join(title.split()) for title in re.findall(r"<h2>([^<]*)<", text)]


def test_clusters_come_largest_first_with_their_sizes(run):
    text = page(run)
    assert headings(text) == [
        "Cluster 1: 30 pictures", "Cluster 3: 15 pictures", "Cluster 4: 10 pictures", "Cluster 0: 5 pictures",
    ]  # fmt: skip
    assert "4 clusters of the first partition" in text
    assert len(re.findall("<img ", text)) == 60


def test_each_cluster_leads_to_the_one_before_and_after_it_and_to_all(run):
    text = page(run)
    assert re.findall(r'href="#([\w-]+)" rel="prev"', text) == ["cluster-1", "cluster-3", "cluster-4"]
    assert re.findall(r'href="#([\w-]+)" rel="next"', text) == ["cluster-3", "cluster-4", "cluster-0"]
    assert text.count('href="#top"') == 4


def test_every_link_into_the_page_leads_to_a_place_on_it(run):
    text, clusters = render("t", "s", [training.clusters_of(run), map_of(run)]), page(run)
    places = re.findall(r' id="([\w-]+)"', clusters)
    assert len(set(places)) == len(places)
    assert set(re.findall(r'href="#([\w-]+)"', clusters)) <= set(places)
    addresses = set(re.findall(r'href="clusters.html#([\w-]+)"', text))
    assert len(addresses) == 4
    assert addresses <= set(places)
    assert 'href="clusters.html"' in text
    assert 'href="report.html"' in clusters


def test_the_most_typical_picture_comes_first(run):
    embeddings = np.zeros((60, 1), np.float32)
    embeddings[:, 0] = np.abs(np.arange(60) - 22)  # of cluster 1, pictures 5 to 34, the mean is at 7.8
    order = browsing._typical(run.partitions[0], 1, embeddings)
    away = np.abs(embeddings[order, 0] - embeddings[5:35, 0].mean())
    assert (np.diff(away) >= 0).all()
    assert sorted(order) == list(range(5, 35))


def test_without_embeddings_pictures_keep_their_order(run):
    without = dataclasses.replace(run, embeddings=None)
    assert re.findall(r'alt="picture (\d+)"', page(without))[:3] == ["5", "6", "7"]
    assert "in the order of the data" in page(without)


@pytest.mark.parametrize(("cap", "most", "shown"), [("_EACH", 8, [8, 8, 8, 5]), ("_ALL", 7, [2, 2, 2, 1])])
def test_caps_of_pictures_are_shared_fairly_and_stated(run, monkeypatch, cap, most, shown):
    monkeypatch.setattr(browsing, cap, most)
    assert [len(cluster.pictures) for cluster in browsing._clusters(run)] == shown
    assert headings(page(run))[0] == f"Cluster 1: {shown[0]} of 30 pictures"
    assert f"{'up to' if cap == '_EACH' else 'within'} {most} pictures" in page(run)


def test_the_page_stays_below_its_size_even_with_noise(run, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 256, (60, 84, 84, 3), np.uint8)
    loud = a_run.with_training_images(run, noise)
    monkeypatch.setattr(browsing, "_BYTES", 100_000)
    made = [len(picture.source) for cluster in browsing._clusters(loud) for picture in cluster.pictures]
    assert 90_000 < sum(made) <= 100_000
    assert len(page(loud)) < 110_000
    assert "and 0.1 MB." in page(loud)


def test_only_the_largest_clusters_are_shown_where_there_are_too_many(run, monkeypatch):
    monkeypatch.setattr(browsing, "_CLUSTERS", 2)
    text = page(run)
    assert headings(text) == ["Cluster 1: 30 pictures", "Cluster 3: 15 pictures"]
    assert "The largest 2 of 4 clusters" in text


def test_photographs_are_jpeg_with_the_names_of_their_files_escaped(run):
    smooth = np.linspace(0, 255, 84 * 84 * 3).reshape(84, 84, 3)
    photographs = np.random.default_rng(0).normal(smooth, 5, (60, 84, 84, 3)).clip(0, 255).astype(np.uint8)
    names = np.array([f'é/<b>"{i}".jpg'.encode() for i in range(60)])
    text = page(a_run.with_training_images(run, photographs, names=names))
    assert text.count("data:image/jpeg") == 60
    assert 'title="é/&lt;b&gt;&#34;5&#34;.jpg"' in text
    assert "<b>" not in text


def test_the_page_of_a_finished_run_is_the_same_when_made_again(run):
    assert page(run) == page(run)


def test_a_run_without_clusters_of_images_has_no_such_page(run, tmp_path):
    plan = run.plan
    features = dataclasses.replace(plan, data=dataclasses.replace(plan.data, features=True))
    labels = dataclasses.replace(plan, partition=dataclasses.replace(plan.partition, partitioner="labels"))
    copies = [InstancePartition(60)]
    for changes in ({"partitions": ()}, {"plan": features}, {"plan": labels}, {"partitions": copies}):
        browsing.write(dataclasses.replace(run, folder=tmp_path, **changes))
    assert not list(tmp_path.iterdir())
