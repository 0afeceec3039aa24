import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cactus_tf import partitioners
from cactus_tf.contracts import PartitionContext
from cactus_tf.errors import InputError
from cactus_tf.partitioners import cluster_files

NAMES = np.array([b"a/x_1.JPEG", b"a/x_2.JPEG", "b/\u00e9.v2.jpg".encode(), b"b/y.png"])
CLUSTERS = {"x_1": 70, "x_2": 5, "\u00e9.v2": 70, "y": -1}


def write(folder, name, value):
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value))


def read(folder, names=NAMES, clusters=2, partitions=1, **options):
    build = partitioners.build("cluster_files", clusters, partitions, dir=str(folder), **options)
    return build(PartitionContext(images=len(names) if names is not None else 4, names=names))


def test_clusters_are_found_by_the_images_base_names_and_numbered_by_rising_id(tmp_path):
    write(tmp_path, "train_k2.json", CLUSTERS)
    (partition,) = read(tmp_path)
    np.testing.assert_array_equal(partition.assignments(4), [1, 0, 1, -1])
    assert len(partition.sizes) == 2


def test_several_partitions_are_several_files(tmp_path):
    for i, name in enumerate(("train_k3.json", "train_k3_1.json", "train_k3_2.json", "train_k5.json")):
        write(tmp_path, name, CLUSTERS | {"y": 100 + i, "x_2": 80 if i == 1 else 5})
    partitions = read(tmp_path, clusters=3, partitions=3)
    assert [partition.assignments(4).tolist() for partition in partitions] == [[1, 0, 1, 2], [0, 1, 0, 2], [1, 0, 1, 2]]
    assert len(read(tmp_path, clusters=7, partitions=9, sizes=(5, 3))) == 2


def test_repeated_base_names_need_their_folders(tmp_path):
    names = np.array([b"cats/1.jpg", b"dogs/1.jpg"])
    write(tmp_path, "train_k2.json", {"cats/1": 0, "dogs/1": 1})
    np.testing.assert_array_equal(read(tmp_path, names)[0].assignments(2), [0, 1])
    write(tmp_path, "train_k2.json", {"1": 0})
    with pytest.raises(InputError, match=r"several training images are named 1: .* as in cats/1"):
        read(tmp_path, names)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{", "is not JSON"),
        ("[1]", "holds a list, not an object"),
        ("\ufeff\ufeff", "is not JSON"),
        ({"x_1": 1}, "lacks 3 of 4 training images, the first x_2"),
        (CLUSTERS | {"x_2": 1.5}, "the cluster of x_2 is 1.5, not a whole number"),
        (CLUSTERS | {"x_2": "3"}, 'the cluster of x_2 is "3", not'),
        (CLUSTERS | {"y": True}, "the cluster of y is true, not"),
        (CLUSTERS | {"y": None}, "the cluster of y is null, not"),
        (CLUSTERS | {"y": 10**30}, "the cluster of y is 1000"),
    ],
)
def test_files_that_break_a_rule_are_refused_in_one_line(value, words, tmp_path):
    write(tmp_path, "train_k2.json", value)
    with pytest.raises(InputError) as caught:
        read(tmp_path)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(InputError, match="needs cluster_files_dir"):
        partitioners.build("cluster_files")(PartitionContext(4, names=NAMES))
    with pytest.raises(InputError, match="nowhere is not a folder"):
        cluster_files.fingerprint(cluster_files.Options(str(tmp_path / "nowhere")))
    with pytest.raises(InputError, match=r"lacks 1 of 1 files, the first train_k2.json .it has no train_k"):
        read(tmp_path)
    write(tmp_path, "train_k2.json", CLUSTERS)
    with pytest.raises(InputError, match=r"lacks 2 of 3 files, the first train_k2_1.json .it has train_k2.json"):
        read(tmp_path, partitions=3)
    with pytest.raises(InputError, match="these training images are not files"):
        read(tmp_path, names=None)


def test_names_of_no_image_and_repeated_names_are_counted(tmp_path, caplog):
    text = json.dumps(CLUSTERS | {"gone": 1, "lost": 1})
    write(tmp_path, "train_k2.json", text[:-1] + ', "y": 5}')
    np.testing.assert_array_equal(read(tmp_path)[0].assignments(4), [1, 0, 1, 0])
    assert "2 names match no training image" in caplog.text
    assert "1 names repeat" in caplog.text


def test_the_fingerprint_follows_the_contents_and_not_the_place(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, "train_k2.json", CLUSTERS)
    prints = [cluster_files.fingerprint(cluster_files.Options(str(tmp_path / folder))) for folder in ("a", "b")]
    assert prints[0] == prints[1]
    write(tmp_path / "b", "train_k2.json", CLUSTERS | {"y": 4})
    assert cluster_files.fingerprint(cluster_files.Options(str(tmp_path / "b"))) != prints[0]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-3, 10**9), min_size=4, max_size=4))
def test_equal_numbers_are_one_cluster_and_negative_ones_none(tmp_path_factory, numbers):
    folder = tmp_path_factory.mktemp("clusters")
    write(folder, "train_k2.json", dict(zip(CLUSTERS, numbers, strict=True)))
    found = read(folder)[0].assignments(4)
    expected = sorted({n for n in numbers if n >= 0})
    assert found.tolist() == [expected.index(n) if n >= 0 else -1 for n in numbers]
