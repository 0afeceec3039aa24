import collections
import dataclasses
import json
import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cactus_tf.contracts import DataContext
from cactus_tf.datasets._io import preparing, rows
from cactus_tf.datasets._io.entries import Skipped, UnreadableError
from cactus_tf.datasets._io.listing import listing
from cactus_tf.datasets._io.preparing import (
    Labeled,
    Listed,
    SplitFiles,
    by_class,
    in_order,
    prepare_arrays,
    prepare_files,
)  # fmt: skip
from cactus_tf.datasets._io.rows import Decoding, decode_files
from cactus_tf.runs.artifacts import Artifact

SHAPE = (2, 2, 1)
calls = collections.Counter()


def decode(content):
    """A row made of a file's first characters, so that files may have equal rows."""
    calls[content] += 1
    if content.startswith(b"bad"):
        raise UnreadableError("is bad")
    return np.frombuffer(content[:4], np.uint8).reshape(SHAPE)


class Shelf:
    """A folder of small files, and an artifact that keeps what is prepared from them."""

    def __init__(self, root, **files):
        self.root, self.listings, self.notes = root, 0, []
        for name, content in files.items():
            path = root / "files" / name.replace("__", "/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    def listed(self, split):
        by_name = collections.defaultdict(list)
        for entry in listing(self.root / "files", ("",)).entries:
            if entry.name.startswith(split):
                by_name[entry.name.split("/")[1]].append(entry)
        return Listed.of_classes(list(by_name.values()))

    def listing(self):
        self.listings += 1
        return {split: self.listed(split) for split in ("train", "val", "test")}

    def context(self):
        store = Artifact(self.root, "data", {})
        return DataContext(store.cache, store.folder, workers=1, report=self.notes.append)

    def prepare(self, context=None, skipped=()):
        return prepared(lambda folder: SplitFiles(self.listing(), skipped), context or self.context())


def prepared(listing, context):
    return prepare_files("shelf", listing, lambda *_: Decoding(decode, SHAPE), context)


@pytest.fixture(autouse=True)
def no_calls():
    calls.clear()


@pytest.fixture
def shelf(tmp_path):
    return Shelf(
        tmp_path, train__a__1="dddd", train__a__2="aaaa", train__b__3="cccc", train__b__4="bbbb", test__c__5="eeee"
    )


def texts(image_set):
    return [image.tobytes().decode() for image in image_set.images]


def classes(image_set):
    return image_set.partitions[0].assignments(len(image_set)).tolist()


def test_rows_lie_by_class_with_their_labels_and_names(shelf):
    train = shelf.prepare().train
    assert set(texts(train)[:2]) == {"aaaa", "dddd"}
    assert set(texts(train)[2:]) == {"bbbb", "cccc"}
    assert classes(train) == [0, 0, 1, 1]
    kept = dict(zip(train.names.tolist(), texts(train), strict=True))
    assert kept == {b"train/a/1": "dddd", b"train/a/2": "aaaa", b"train/b/3": "cccc", b"train/b/4": "bbbb"}


def test_the_order_depends_on_neither_names_nor_their_order(shelf, tmp_path):
    other = Shelf(
        tmp_path / "other",
        train__a__x="aaaa",
        train__a__y="dddd",
        train__b__0="bbbb",
        train__b__1="cccc",
        test__c__2="eeee",
    )
    np.testing.assert_array_equal(shelf.prepare().train.images, other.prepare().train.images)


def test_without_labels_rows_lie_by_content_alone(tmp_path):
    def prepared_from(name, contents):
        shelf = Shelf(tmp_path / name, **{f"train__a__{i}": content for i, content in enumerate(contents)})
        unlabeled = {s: Listed(shelf.listed(s).entries) for s in ("train", "val", "test")}
        return prepared(lambda folder: SplitFiles(unlabeled, []), shelf.context()).train

    one = prepared_from("one", ["aaaa", "bbbb", "cccc", "bbbb"])
    other = prepared_from("other", ["bbbb", "cccc", "bbbb", "aaaa"])
    np.testing.assert_array_equal(one.images, other.images)
    assert one.partitions is None


def test_a_split_without_files_is_an_empty_image_set(shelf):
    val = shelf.prepare().val
    assert val.images.shape == (0, *SHAPE)
    assert (val.images.dtype, len(val), val.partitions, val.names) == (np.uint8, 0, None, None)


def test_what_is_kept_is_neither_listed_nor_decoded(shelf):
    before = shelf.prepare()
    calls.clear()
    after = shelf.prepare()
    assert (shelf.listings, len(shelf.notes), calls) == (1, 1, {})
    np.testing.assert_array_equal(before.train.images, after.train.images)
    np.testing.assert_array_equal(before.train.names, after.train.names)


def test_a_stopped_preparation_goes_on(shelf, monkeypatch):
    expected = shelf.prepare(DataContext()).train.images
    calls.clear()
    monkeypatch.setattr(rows, "SHARD", 1)
    ordered = preparing.in_digest_order
    monkeypatch.setattr(preparing, "in_digest_order", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        shelf.prepare()
    assert sum(calls.values()) == 4
    calls.clear()
    monkeypatch.setattr(preparing, "in_digest_order", ordered)
    np.testing.assert_array_equal(shelf.prepare().train.images, expected)
    assert list(calls) == [b"eeee"]


def test_nothing_of_the_work_stays_behind(shelf):
    context = shelf.context()
    shelf.prepare(context)
    assert sorted(path.name for path in context.folder.glob("*") if path.suffix != ".npy") == [
        "checksums.json",
        "settings.json",
    ]


def test_a_memory_map_is_kept_in_pieces_as_the_whole_is(shelf, monkeypatch):
    expected = shelf.prepare(DataContext()).train
    monkeypatch.setattr(preparing, "_PIECE", 3)
    made = shelf.prepare().train
    assert isinstance(made.images, np.memmap)
    np.testing.assert_array_equal(made.images, expected.images)


def test_files_that_cannot_be_read_are_counted_listed_and_left_out(tmp_path, caplog):
    bad = {f"train__a__{i}": "bad" for i in range(7)}
    shelf = Shelf(tmp_path, **bad, train__b__7="aaaa", test__a__8="bbbb")
    with caplog.at_level(logging.WARNING):
        splits = shelf.prepare(skipped=[Skipped("else", "is odd")])
    assert (texts(splits.train), classes(splits.train)) == (["aaaa"], [0])
    assert "shelf: 8 files or folders left out: else is odd; train/a/0 is bad;" in caplog.text
    assert "and 3 more" in caplog.text
    [note] = shelf.notes
    assert note["skipped"][0] == {"file": "else", "reason": "is odd"}
    assert [s["file"] for s in note["skipped"][1:]] == [f"train/a/{i}" for i in range(7)]
    json.dumps(note)


def test_a_split_of_bad_files_alone_is_one_line(tmp_path, complains):
    shelf = Shelf(tmp_path, train__a__1="bad", train__a__2="bad", test__b__3="aaaa")
    with complains("shelf", "not one of 2 files for train", "train/a/1", "is bad"):
        shelf.prepare()


def test_a_summary_of_the_prepared_splits_is_reported(shelf):
    def summary(splits):
        return {"classes": sorted(set(splits["train"].labels.tolist()))}

    prepared(lambda folder: SplitFiles(shelf.listing(), [], summary), shelf.context())
    assert shelf.notes == [{"classes": [0, 1], "skipped": []}]


def test_rows_that_are_already_decoded_are_used(shelf):
    def listed(folder):
        splits = shelf.listing()
        how = Decoding(decode, SHAPE)
        made = {s: x._replace(decoded=decode_files(s, x.entries, how, folder / s, 1)) for s, x in splits.items()}
        calls.clear()
        return SplitFiles(made, [])

    images = prepared(listed, shelf.context()).train.images
    assert not calls
    np.testing.assert_array_equal(images, shelf.prepare(DataContext()).train.images)


def test_classes_are_numbered_from_zero_by_rising_label():
    assert by_class(np.array([70, 5, 70, 9]))[0].assignments(4).tolist() == [2, 0, 2, 1]


def test_names_of_any_bytes_are_kept(tmp_path):
    shelf = Shelf(tmp_path, **{"train__é__日本\udcff": "aaaa", "train__é__b": "bbbb"})
    names = shelf.prepare().train.names
    assert sorted(name.decode() for name in names) == ["train/é/b", "train/é/日本\\udcff"]


# Arrays in memory


pixels = st.sampled_from([0, 1, 127, 128, 255])  # few values, so that rows often agree in their first bytes
few_images = hnp.arrays(np.uint8, st.tuples(st.integers(1, 12), st.just(2), st.just(2), st.just(1)), elements=pixels)


@given(images=few_images, seed=st.integers(0, 99))
def test_rows_are_ordered_by_class_then_bytes_like_python_tuples(images, seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([0, 1, 2, 255, 256, 70_000], len(images)).astype(np.int32)
    expected = sorted((int(c), image.tobytes()) for c, image in zip(labels, images, strict=True))

    result = in_order(Labeled(images, labels))

    assert [(int(c), image.tobytes()) for c, image in zip(result.labels, result.images, strict=True)] == expected
    assert result.labels.dtype == np.int32
    assert result.images.dtype == np.uint8


@given(images=few_images, seed=st.integers(0, 99))
def test_order_of_the_source_does_not_matter(images, seed):
    rng = np.random.default_rng(seed)
    data = Labeled(images, rng.integers(0, 3, len(images)).astype(np.int32))
    one, other = in_order(data), in_order(data.take(rng.permutation(len(images))))
    np.testing.assert_array_equal(one.images, other.images)
    np.testing.assert_array_equal(one.labels, other.labels)


@dataclasses.dataclass
class ArrayShelf:
    """A cache, and a source that counts how often it is read."""

    kept: dict = dataclasses.field(default_factory=dict)
    reads: int = 0

    def cache(self, name, make):
        if name not in self.kept:
            self.kept[name] = make()
        return self.kept[name]

    def read(self):
        self.reads += 1
        sizes = {"train": 6, "val": 4, "test": 5}
        rng = np.random.default_rng(0)
        return {
            split: Labeled(rng.integers(0, 256, (n, 3, 3, 1), np.uint8), np.arange(n, dtype=np.int32) // 2 + 100)
            for split, n in sizes.items()
        }

    def prepare(self):
        return prepare_arrays("shelf", self.read, DataContext(self.cache))


def test_the_source_is_read_once_for_all_splits():
    shelf = ArrayShelf()
    shelf.prepare()
    assert shelf.reads == 1
    assert sorted(shelf.kept) == sorted(f"{s}-{a}" for s in ("train", "val", "test") for a in ("images", "labels"))


def test_the_source_is_not_read_where_everything_is_kept():
    shelf = ArrayShelf()
    shelf.prepare()
    again = shelf.prepare()
    assert shelf.reads == 1
    assert again.train.images is shelf.kept["train-images"]


def test_only_what_is_missing_is_made_again_and_equals_what_was_lost():
    shelf = ArrayShelf()
    before = shelf.prepare().val.images
    train = shelf.kept["train-images"]
    del shelf.kept["val-images"]
    after = shelf.prepare()
    assert shelf.reads == 2
    np.testing.assert_array_equal(after.val.images, before)
    assert after.train.images is train


def test_labels_are_kept_as_they_are_and_clusters_are_counted_from_zero():
    shelf = ArrayShelf()
    splits = shelf.prepare()
    np.testing.assert_array_equal(shelf.kept["val-labels"], [100, 100, 101, 101])
    assert len(splits.val.partitions) == 1
    np.testing.assert_array_equal(splits.val.partitions[0].sizes, [2, 2])


def test_what_was_prepared_is_logged(caplog):
    with caplog.at_level("INFO"):
        ArrayShelf().prepare()
    assert "prepared shelf: 6 train, 4 val, 5 test images" in caplog.text
