"""Rows that other workers have decoded are those of this process."""

import collections

import numpy as np
import pytest

from cactus_tf.datasets._io import sharing
from cactus_tf.datasets._io.entries import Entry, UnreadableError
from cactus_tf.datasets._io.listing import listing
from cactus_tf.datasets._io.rows import Decoding, decode_files

calls = collections.Counter()


def decode(content):
    calls[content] += 1
    if content == b"bad":
        raise UnreadableError("is bad")
    return np.full((2, 3), float(content) / 7)


@pytest.fixture(autouse=True)
def no_calls(small_shards):
    calls.clear()


def stored(names, make):
    """A `Share` in one process."""
    arrays = {name: make(name) for name in names}
    return arrays.__getitem__


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_rows_are_the_same_to_the_last_byte_and_unreadable_files_are_tried_again(entries, tmp_path, dtype):
    how = Decoding(decode, (2, 3), dtype)
    alone = decode_files("test", entries, how, tmp_path / "alone")
    ready = sharing.decode_together({"train": entries}, how, stored)["train"]
    calls.clear()
    made = decode_files("test", entries, how, tmp_path / "together", ready=ready)
    assert calls == {b"bad": 2}
    for one, other in zip(alone[:3], made[:3], strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    assert made.skipped == alone.skipped == [("3.txt", "is bad"), ("8.txt", "is bad")]


def test_shards_are_named_by_files_and_decoding_wherever_the_files_lie(entries):
    seen = []

    def names(entries, how=None, split="train"):
        how = how or Decoding(decode, (2, 3))
        sharing.decode_together({split: entries}, how, lambda names, make: seen.append(names))
        return seen[-1]

    first = names(entries)
    assert len(set(first)) == 3
    assert names([entry._replace(root="/elsewhere") for entry in entries]) == first
    changed = [names([entries[0]._replace(**{field: 7}), *entries[1:]]) for field in ("size", "stamp")]
    changed += [names([entries[0]._replace(name="a"), *entries[1:]])]
    for other in changed:
        assert other[1:] == first[1:]
        assert other[0] != first[0]
    assert not set(names(entries, Decoding(decode, (3, 2)))) & set(first)
    assert not set(names(entries, split="test")) & set(first)


def test_files_of_two_splits_may_have_the_same_names_sizes_and_times(tmp_path):
    lists = {}
    for split, content in (("train", "11"), ("test", "22")):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a.txt").write_text(content)
        lists[split] = [entry._replace(stamp=0) for entry in listing(tmp_path / split, (".txt",)).entries]
    ready = sharing.decode_together(lists, Decoding(decode, (2, 3)), stored)
    assert [ready[split](lists[split])[0][0, 0] for split in lists] == [11 // 7, 22 // 7]


def test_nobody_who_helps_leaves_everything_to_this_process():
    lists = {"train": [Entry("", "a", 1)]}
    assert sharing.decode_together(lists, Decoding(decode, (1,)), lambda names, make: None) == {}
