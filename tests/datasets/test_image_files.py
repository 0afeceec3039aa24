import collections
import json
import logging

import numpy as np
import pytest
from cactus_tf.datasets._io.shards import decode_all

from cactus_tf.contracts import DataContext
from cactus_tf.datasets._io import preparing, shards
from cactus_tf.datasets._io.entries import Skipped, UnreadableError, listing
from cactus_tf.datasets._io.preparing import Listed, by_class, prepare_files
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

    def prepare(self, context=None, **more):
        return prepare_files("shelf", self.listing, decode, lambda: SHAPE, context or self.context(), **more)


@pytest.fixture(autouse=True)
def no_calls():
    calls.clear()


@pytest.fixture
def shelf(tmp_path):
    return Shelf(
        tmp_path, train__a__1="dddd", train__a__2="aaaa", train__b__3="cccc", train__b__4="bbbb", test__c__5="eeee"
    )


def rows(image_set):
    return [image.tobytes().decode() for image in image_set.images]


def classes(image_set):
    return image_set.partitions[0].assignments(len(image_set)).tolist()


def test_rows_lie_by_class_with_their_labels_and_names(shelf):
    train = shelf.prepare().train
    assert set(rows(train)[:2]) == {"aaaa", "dddd"}
    assert set(rows(train)[2:]) == {"bbbb", "cccc"}
    assert classes(train) == [0, 0, 1, 1]
    kept = dict(zip(train.names.tolist(), rows(train), strict=True))
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
    def prepared(name, contents):
        shelf = Shelf(tmp_path / name, **{f"train__a__{i}": content for i, content in enumerate(contents)})
        unlabelled = {s: Listed(shelf.listed(s).entries) for s in ("train", "val", "test")}
        return prepare_files("shelf", lambda: unlabelled, decode, lambda: SHAPE, shelf.context()).train

    one, other = prepared("one", ["aaaa", "bbbb", "cccc", "bbbb"]), prepared("other", ["bbbb", "cccc", "bbbb", "aaaa"])
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
    monkeypatch.setattr(shards, "SHARD", 1)
    ordered = preparing.canonical_order
    monkeypatch.setattr(preparing, "canonical_order", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        shelf.prepare()
    assert sum(calls.values()) == 4
    calls.clear()
    monkeypatch.setattr(preparing, "canonical_order", ordered)
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
    assert (rows(splits.train), classes(splits.train)) == (["aaaa"], [0])
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


def test_what_was_found_on_the_way_is_noted(shelf):
    about = {}

    def listed():
        about["classes"] = ["a", "b"]
        return shelf.listing()

    prepare_files("shelf", listed, decode, lambda: SHAPE, shelf.context(), about=about)
    assert shelf.notes == [{"classes": ["a", "b"], "skipped": []}]


def test_rows_that_are_made_already_are_taken(shelf, tmp_path):
    def made():
        listed = shelf.listing()
        rows = {s: decode_all(s, x.entries, decode, SHAPE, tmp_path / s, 1, "uint8") for s, x in listed.items()}
        calls.clear()
        return {split: listed[split]._replace(made=rows[split]) for split in listed}

    np.testing.assert_array_equal(
        prepare_files("shelf", made, decode, lambda: (), shelf.context()).train.images,
        shelf.prepare(DataContext()).train.images,
    )


def test_files_skipped_while_they_were_listed_are_counted(shelf):
    skipped = []

    def listed():
        skipped.append(Skipped("x", "is odd"))
        return shelf.listing()

    prepare_files("shelf", listed, decode, lambda: SHAPE, shelf.context(), skipped=skipped)
    assert shelf.notes[0]["skipped"] == [{"file": "x", "reason": "is odd"}]


def test_classes_are_numbered_from_zero_by_rising_label():
    assert by_class(np.array([70, 5, 70, 9]))[0].assignments(4).tolist() == [2, 0, 2, 1]


def test_names_of_any_bytes_are_kept(tmp_path):
    shelf = Shelf(tmp_path, **{"train__é__日本\udcff": "aaaa", "train__é__b": "bbbb"})
    names = shelf.prepare().train.names
    assert sorted(name.decode() for name in names) == ["train/é/b", "train/é/日本\\udcff"]
