import errno

import numpy as np
import pytest
from cactus_tf.datasets._io.shards import digest

from cactus_tf.datasets._io import streamed
from cactus_tf.datasets._io.entries import UnreadableError
from cactus_tf.errors import RunError


def decode(content):
    if not content:
        raise UnreadableError("is empty")
    return np.frombuffer(content, np.uint8)


def test_rows_are_the_decoded_contents_and_what_is_unreadable_is_named_by_its_number(tmp_path):
    made = streamed.decode_stream(iter([b"abc", b"", b"xyz"]), decode, (3,), tmp_path / "split")
    assert made.kept.tolist() == [0, 2]
    assert [bytes(made.rows[i]) for i in made.kept] == [b"abc", b"xyz"]
    assert [bytes(d) for d in made.digests] == [digest(decode(content)) for content in (b"abc", b"xyz")]
    assert made.skipped == [("record 1", "is empty")]


@pytest.mark.parametrize("contents", [[], [b""]])
def test_a_stream_without_readable_images_gives_no_rows(contents, tmp_path):
    made = streamed.decode_stream(contents, decode, (3,), tmp_path)
    assert (len(made.rows), len(made.kept), made.digests.shape) == (len(contents), 0, (0, 16))


def test_what_another_attempt_left_is_removed_so_that_nobody_takes_these_rows_for_its_own(tmp_path):
    streamed.decode_stream([b"abc", b"def"], decode, (3,), tmp_path)
    (tmp_path / "work.json").touch()
    assert len(streamed.decode_stream([b"xyz"], decode, (3,), tmp_path).rows) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["rows"]


def test_a_full_disk_is_said_in_one_line(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(streamed, "open", full, raising=False)
    with pytest.raises(RunError, match=r"No space left on device.*free some space"):
        streamed.decode_stream([b"abc"], decode, (3,), tmp_path)
