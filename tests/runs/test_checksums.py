"""Whether a file is the one that was recorded: small ones whole, large ones by samples unless something changed."""

import os

import pytest

from cactus_tf.runs.checksums import Checksums
from cactus_tf.utils import files

CONTENT = bytes(range(200))
UNSAMPLED = 18  # a byte that no sample reads


@pytest.fixture
def large(tmp_path, monkeypatch):
    """A recorded file that counts as large."""
    monkeypatch.setattr(files, "_PIECE", 4)
    monkeypatch.setattr(files, "_PIECES", 4)
    (tmp_path / "array.npy").write_bytes(CONTENT)
    Checksums(tmp_path).record("array.npy")
    return tmp_path / "array.npy"


def flip(path, place, keep_time):
    status = path.stat()
    path.write_bytes(bytes([*CONTENT[:place], CONTENT[place] ^ 1, *CONTENT[place + 1 :]]))
    times = (status.st_atime_ns, status.st_mtime_ns) if keep_time else (1, 1)
    os.utime(path, ns=times)


@pytest.mark.parametrize("place", range(len(CONTENT)))
def test_every_changed_byte_of_a_large_file_that_was_written_to_is_noticed(large, place):
    flip(large, place, keep_time=False)
    assert not Checksums(large.parent).is_intact("array.npy")


def test_a_byte_that_changes_without_its_file_being_written_is_noticed_by_verify(large):
    flip(large, UNSAMPLED, keep_time=True)
    assert Checksums(large.parent).is_intact("array.npy")  # that is what sampling means
    assert not Checksums(large.parent, verify=True).is_intact("array.npy")


def test_a_large_file_that_was_copied_is_verified_whole_once(large, monkeypatch):
    os.utime(large, ns=(1, 1))
    assert Checksums(large.parent).is_intact("array.npy")
    monkeypatch.setattr(files, "whole_checksum", None)  # it is not called again
    assert Checksums(large.parent).is_intact("array.npy")


@pytest.mark.parametrize("content", [None, "", "[]", '{"array.npy": 3}'])
def test_a_large_file_of_an_earlier_release_is_sampled_and_recorded(large, content):
    path = large.with_name("checksums_whole.json")
    path.unlink()
    if content is not None:
        path.write_text(content)
    assert Checksums(large.parent).is_intact("array.npy")
    flip(large, UNSAMPLED, keep_time=True)
    assert not Checksums(large.parent, verify=True).is_intact("array.npy")


@pytest.mark.parametrize("content", ["", "[]", '{"array.npy": "x"}', '{"arraz.npy": 3}'])
def test_damaged_checksums_make_no_file_intact(tmp_path, content):
    (tmp_path / "array.npy").write_bytes(CONTENT)
    (tmp_path / "checksums.json").write_text(content)
    assert not Checksums(tmp_path).is_intact("array.npy")


def test_a_folder_in_the_place_of_a_file_is_not_intact(large):
    large.unlink()
    large.mkdir()
    assert not Checksums(large.parent).is_intact("array.npy")
