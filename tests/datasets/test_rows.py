import collections
import errno
import functools
import shutil
import threading
import types

import numpy as np
import pytest
from PIL import Image

from cactus_tf.datasets._io import rows
from cactus_tf.datasets._io.decoding import array
from cactus_tf.datasets._io.entries import Entry, UnreadableError
from cactus_tf.datasets._io.listing import listing
from cactus_tf.datasets._io.rows import Decoding, decode_files, decode_stream
from cactus_tf.errors import RunError
from cactus_tf.utils.digests import digest

SHAPE = (2, 3)
calls = collections.Counter()


def decode(content, fail=b"bad", scale=1):
    """A row that tells its file's number apart."""
    calls[content] += 1
    if content.startswith(fail):
        raise UnreadableError("is bad")
    return np.full(SHAPE, int(content) * scale % 256, np.uint8)


def decode_otherwise(content):
    return decode(content)


@pytest.fixture(autouse=True)
def no_calls(small_shards):
    calls.clear()


def run(entries, folder, decoder=decode, shape=SHAPE, workers=1, **more):
    return decode_files("test", entries, Decoding(decoder, shape, **more), folder, workers)


def assert_same(one, other):
    np.testing.assert_array_equal(one.read, other.read)
    np.testing.assert_array_equal(one.rows, other.rows)
    np.testing.assert_array_equal(one.digests, other.digests)
    assert one.skipped == other.skipped


def test_every_file_becomes_its_row_or_is_named(entries, tmp_path):
    made = run(entries, tmp_path / "work")
    assert made.read.tolist() == [0, 1, 2, 4, 5, 6, 7, 9]
    assert made.rows.shape == (10, *SHAPE)
    for i in made.read:
        assert (made.rows[i] == i).all()
    assert made.skipped == [("3.txt", "is bad"), ("8.txt", "is bad")]


def test_digests_are_equal_where_rows_are(entries, tmp_path):
    made = run([*entries, *entries], tmp_path / "work")
    assert made.digests.shape == (16, 16)
    np.testing.assert_array_equal(made.digests[:8], made.digests[8:])
    assert len(np.unique(made.digests, axis=0)) == 8


def test_no_files_are_no_rows(tmp_path):
    made = run([], tmp_path / "work")
    assert (made.rows.shape, made.read.shape, made.digests.shape, made.skipped) == ((0, *SHAPE), (0,), (0, 16), [])


def test_whole_shards_are_not_made_again(entries, tmp_path):
    before = run(entries, tmp_path / "work")
    calls.clear()
    assert_same(run(entries, tmp_path / "work"), before)
    assert not calls


def test_stopped_work_goes_on(entries, tmp_path, monkeypatch):
    expected = run(entries, tmp_path / "undisturbed")
    calls.clear()

    def stop(content):
        if content == b"5":  # in the second shard
            raise KeyboardInterrupt
        return decode(content)

    monkeypatch.setattr(Decoding, "description", property(lambda decoding: ["the same"]))
    with pytest.raises(KeyboardInterrupt):
        run(entries, tmp_path / "work", stop)
    assert sorted(calls) == [b"0", b"1", b"2", b"4", b"bad"]
    calls.clear()
    assert_same(run(entries, tmp_path / "work"), expected)
    assert sorted(calls) == [b"4", b"5", b"6", b"7", b"9", b"bad"]  # nothing of the first shard


@pytest.mark.parametrize("change", ["list", "size", "time", "decoder", "setting", "shape"])
def test_other_work_begins_anew(entries, tmp_path, change):
    run(entries, tmp_path / "work")
    calls.clear()
    first = entries[0]
    changed = {
        "list": lambda: run(entries[1:], tmp_path / "work"),
        "size": lambda: run([first._replace(size=7), *entries[1:]], tmp_path / "work"),
        "time": lambda: run([first._replace(stamp=7), *entries[1:]], tmp_path / "work"),
        "decoder": lambda: run(entries, tmp_path / "work", decode_otherwise),
        "setting": lambda: run(entries, tmp_path / "work", functools.partial(decode, scale=2)),
        "shape": lambda: run(entries, tmp_path / "work", lambda content: decode(content)[:1], (1, 3)),
    }
    made = changed[change]()
    assert made.rows.shape[1:] == ((1, 3) if change == "shape" else SHAPE)
    assert len(calls) == (8 if change == "list" else 9)


def test_a_damaged_note_has_its_shard_made_again(entries, tmp_path):
    before = run(entries, tmp_path / "work")
    calls.clear()
    (tmp_path / "work/shard-00000004.json").write_text('{"kept": [4, ')
    assert_same(run(entries, tmp_path / "work"), before)
    assert sorted(calls) == [b"4", b"5", b"6", b"7"]


def test_several_threads_make_the_same_as_one(tmp_path):
    for i in range(10):
        Image.new("RGB", (5, 4), (i, 0, 0)).save(tmp_path / f"{i}.png")
    (tmp_path / "6.png").write_bytes(b"bad")
    pictures, decoder = listing(tmp_path, (".png",)).entries, functools.partial(array, shape=(2, 2, 3))
    one, three = (run(pictures, tmp_path / f"{n}", decoder, (2, 2, 3), n) for n in (1, 3))
    assert_same(one, three)
    assert (len(three.read), three.rows[9, 0, 0, 0]) == (9, 9)


def test_an_interrupt_ends_the_threads_and_leaves_no_file_half_done(entries, tmp_path):
    def stop(content):
        if content == b"5":
            raise KeyboardInterrupt
        return decode(content)

    with pytest.raises(KeyboardInterrupt):
        run(entries, tmp_path / "work", stop, workers=2)
    assert threading.active_count() == 1 or not any("ThreadPool" in t.name for t in threading.enumerate())
    assert not (tmp_path / "work/shard-00000004.json").exists()


def test_a_small_disk_is_one_line_before_the_work(entries, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=2 * 60 - 1))
    with pytest.raises(RunError, match="--artifacts_dir") as caught:
        run(entries, tmp_path / "work")
    assert "\n" not in str(caught.value)
    assert not calls


def test_a_disk_of_just_the_size_will_do(entries, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=2 * 60))
    run(entries, tmp_path / "work")


def test_what_is_read_of_a_file_may_be_chosen(entries, tmp_path):
    made = run(entries, tmp_path / "work", lambda stem: decode(stem.encode()), read=lambda entry: entry.stem)
    assert made.read.tolist() == list(range(10))


def test_a_file_that_went_away_is_left_out(entries, tmp_path):
    gone = Entry(str(tmp_path), "gone.txt", 3)
    made = run([gone, *entries], tmp_path / "work")
    assert made.skipped[0] == ("gone.txt", "cannot be read (No such file or directory)")
    assert made.read[0] == 1


# Streams


def decode_text(content):
    if not content:
        raise UnreadableError("is empty")
    return np.frombuffer(content, np.uint8)


def stream(batches, folder):
    return decode_stream(batches, Decoding(decode_text, (3,)), folder)


def test_rows_of_a_stream_are_its_contents_and_what_is_unreadable_is_named_by_its_number(tmp_path):
    made = stream(iter([[b"abc", b""], [], [b"xyz"]]), tmp_path / "split")
    assert made.read.tolist() == [0, 2]
    assert [bytes(made.rows[i]) for i in made.read] == [b"abc", b"xyz"]
    assert [bytes(d) for d in made.digests] == [digest(decode_text(content)) for content in (b"abc", b"xyz")]
    assert made.skipped == [("record 1", "is empty")]


@pytest.mark.parametrize("batches", [[], [[b""]]])
def test_a_stream_without_readable_images_gives_no_rows(batches, tmp_path):
    made = stream(batches, tmp_path)
    assert (len(made.rows), len(made.read), made.digests.shape) == (len(batches), 0, (0, 16))


def test_what_an_earlier_attempt_left_is_removed(tmp_path):
    stream([[b"abc", b"def"], [b"ghi"]], tmp_path)
    (tmp_path / "work.json").touch()
    assert len(stream([[b"xyz"]], tmp_path).rows) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows", "shard-00000000.json"]


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rows.os, "fsync", full)
    with pytest.raises(RunError, match=r"No space left on device.*free some space"):
        stream([[b"abc"]], tmp_path)
