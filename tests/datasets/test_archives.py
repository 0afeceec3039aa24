import contextlib
import io
import os
import shutil
import struct
import types
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cactus_tf.datasets._io import archives
from cactus_tf.datasets._io.entries import shown
from cactus_tf.datasets._io.listing import listing
from cactus_tf.datasets._io.preparing import Listed, unpacked
from cactus_tf.errors import InputError, RunError

WANTED = (".png", ".jpg")


def names(listed):
    return [entry.name for entry in listed.entries]


def zipped(path, *members):
    """An archive of (name, content) pairs."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def contents(archive, folder):
    """The contents of an archive's unpacked files by name, and what was skipped on the way."""
    found, skipped = listing(archive, WANTED), []
    entries = unpacked(Listed(found.entries), folder, skipped).entries
    return {entry.name: entry.read() for entry in entries}, [*found.skipped, *skipped]


def test_an_archive_gives_what_the_folder_that_it_was_made_from_gives(tmp_path):
    for name in ("b.png", "a/c.jpg", "x.txt", "é/日本.png"):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    members = [(str(p.relative_to(tmp_path / "folder")), p.read_bytes()) for p in (tmp_path / "folder").rglob("*.*")]
    archive = zipped(tmp_path / "a.zip", *members[::-1], ("__MACOSX/._b.png", b""), (".hid/d.png", b""))
    found, folder = listing(archive, WANTED), listing(tmp_path / "folder", WANTED)
    assert names(found) == names(folder)
    assert found.others == folder.others == ["x.txt"]
    assert found.folders == folder.folders == {"a", "é"}
    assert contents(archive, tmp_path / "work") == ({entry.name: entry.read() for entry in folder.entries}, [])


def test_backslashes_separate_folders_as_some_programs_write_them(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("x.x.png", b"one"), ("x/y.png", b"two"))
    archive.write_bytes(archive.read_bytes().replace(b"x.x.png", b"x\\x.png"))
    assert contents(archive, tmp_path / "work") == ({"x/x.png": b"one", "x/y.png": b"two"}, [])


def test_a_folder_with_a_backslash_at_its_end_is_a_folder(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("cat.", b""), ("cat/x.png", b"x"))
    archive.write_bytes(archive.read_bytes().replace(b"cat.", b"cat\\"))
    found = listing(archive, WANTED)
    assert (names(found), found.others, found.folders) == (["cat/x.png"], [], {"cat"})


def test_names_that_begin_with_the_folder_itself_are_not_hidden(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("./", b""), ("./cat/x.png", b"x"), ("dog//y.png", b"y"))
    assert contents(archive, tmp_path / "work") == ({"cat/x.png": b"x", "dog/y.png": b"y"}, [])
    assert [archives.member(entry) for entry in listing(archive, WANTED).entries] == [b"x", b"y"]


def test_members_whose_names_a_file_system_may_not_tell_apart_are_unpacked_apart(tmp_path):
    members = [("é.png", b"1"), ("e\u0301.png", b"2"), ("É.png", b"3"), ("f.png", b"4")]
    archive = zipped(tmp_path / "a.zip", *members)
    assert contents(archive, tmp_path / "work") == (dict(members), [])
    assert sorted(path.name for path in (tmp_path / "work/files").iterdir()) == ["1", "2", "3"]


class Unflagged(zipfile.ZipInfo):
    """A member whose name is written in some encoding, without the flag for UTF-8."""

    def __init__(self, name, encoding, extra=b""):
        super().__init__(name)
        self.encoding, self.extra = encoding, extra

    def _encodeFilenameFlags(self):  # noqa: N802
        return self.filename.encode(self.encoding, "replace"), self.flag_bits & ~(1 << 11)


@pytest.mark.parametrize(
    "name, encoding",
    [("fünf/é.png", "utf-8"), ("fu\u0308nf/e\u0301.png", "utf-8"), ("日本/🌵.png", "utf-8"), ("fünf/é.png", "cp437")],
)
def test_names_are_read_as_they_were_written_without_the_flag_for_utf_8(tmp_path, name, encoding):
    archive = zipped(tmp_path / "a.zip", (Unflagged(name, encoding), b"x"))
    assert contents(archive, tmp_path / "work") == ({name: b"x"}, [])


@pytest.mark.parametrize("matches", [True, False])
def test_a_name_in_info_zip_s_extra_field_counts_if_it_belongs_to_the_member(tmp_path, matches):
    name, written = "日本.png", b"??.png"
    field = struct.pack("<BL", 1, zlib.crc32(written) ^ (not matches)) + name.encode()
    member = Unflagged(name, "ascii", struct.pack("<HH", 0x7075, len(field)) + field)
    archive = zipped(tmp_path / "a.zip", (member, b"x"))
    assert contents(archive, tmp_path / "work") == ({name if matches else "??.png": b"x"}, [])


@pytest.mark.parametrize(
    "name", ["../x.png", "a/../../x.png", "/x.png", "C:/x.png", "c:x.png", "..\\x.png", "\\\\s\\x.png"]
)
def test_an_archive_whose_names_leave_their_folder_is_refused(tmp_path, name, complains):
    with complains("a.zip", shown(name), "leaves its folder"):
        listing(zipped(tmp_path / "a.zip", ("ok.png", b""), (name, b"")), WANTED)


@pytest.mark.parametrize("name", ["12:30.png", "a..b.png", "..a.png"[1:], "x/..y/z.png"[2:]])
def test_dots_and_colons_within_names_are_no_way_out(tmp_path, name):
    listing(zipped(tmp_path / "a.zip", (name, b"")), WANTED)


def test_of_members_with_one_name_the_last_counts(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate"):
        archive = zipped(tmp_path / "a.zip", ("a.png", b"old"), ("b.png", b"b"), ("a.png", b"new"))
    skipped = [("a.png", "the archive holds a later file of this name")]
    assert contents(archive, tmp_path / "work") == ({"a.png": b"new", "b.png": b"b"}, skipped)


def test_an_encrypted_archive_is_one_line(tmp_path, complains):
    archive = zipped(tmp_path / "a.zip", ("a.png", b"secret"))
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flag, in the directory and before the member
    content[6] |= 1
    archive.write_bytes(content)
    with complains(archive, "is encrypted (a.png)", "unpack it"):
        listing(archive, WANTED)


def test_a_damaged_member_is_left_out_and_the_others_are_not(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("a.png", b"first"), ("b.png", b"second"))
    archive.write_bytes(archive.read_bytes().replace(b"first", b"f1rst"))
    for _ in range(2):  # the second time from what is already unpacked
        found, [(name, reason)] = contents(archive, tmp_path / "work")
        assert (found, name) == ({"b.png": b"second"}, "a.png")
        assert "CRC" in reason


def test_labels_stay_with_their_files_where_a_member_is_damaged(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("a.png", b"first"), ("b.png", b"second"), ("c.png", b"third"))
    archive.write_bytes(archive.read_bytes().replace(b"second", b"sec0nd"))
    listed = unpacked(Listed(listing(archive, WANTED).entries, np.array([7, 8, 9])), tmp_path / "work", [])
    assert (names(listed), listed.labels.tolist()) == (["a.png", "c.png"], [7, 9])


def test_a_bomb_is_not_unpacked_beyond_the_size_that_it_states(tmp_path):
    archive = tmp_path / "a.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("a.png", bytes(1_000_000))
    stated, size = (1_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(stated, size))
    found, [(name, _)] = contents(archive, tmp_path / "work")
    assert (found, name) == ({}, "a.png")
    assert sum(path.stat().st_size for path in (tmp_path / "work").rglob("*")) < 10_000 + 3 * 4096


def test_a_member_of_more_than_a_gigabyte_is_left_out(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 10)
    archive = zipped(tmp_path / "a.zip", ("a.png", b"x" * 11), ("b.png", b"x" * 10))
    found, skipped = contents(archive, tmp_path / "work")
    assert (list(found), skipped) == (["b.png"], [("a.png", "cannot be read (more than 10 bytes)")])


def test_an_archive_that_does_not_fit_the_disk_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: types.SimpleNamespace(free=9))
    with pytest.raises(RunError, match=r"a\.zip takes .* are free: free some space") as caught:
        contents(zipped(tmp_path / "a.zip", ("a.png", b"x" * 10)), tmp_path / "work")
    assert "\n" not in str(caught.value)


def test_a_link_in_an_archive_is_unpacked_as_a_plain_file(tmp_path):
    link = zipfile.ZipInfo("a.png")
    link.external_attr = 0o120777 << 16
    archive = zipped(tmp_path / "a.zip", (link, b"/etc/passwd"))
    assert contents(archive, tmp_path / "work") == ({"a.png": b"/etc/passwd"}, [])
    assert not any(path.is_symlink() for path in (tmp_path / "work").rglob("*"))


def test_an_archive_is_unpacked_once(tmp_path, monkeypatch):
    archive = zipped(tmp_path / "a.zip", ("a.png", b"a"))
    before = contents(archive, tmp_path / "work")
    monkeypatch.setattr(archives, "unpack", lambda *_: pytest.fail("unpacked again"))
    assert contents(archive, tmp_path / "work") == before


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4" + bytes(30)])
def test_what_is_no_archive_is_one_line(tmp_path, content, complains):
    (tmp_path / "a.zip").write_bytes(content)
    with complains("a.zip", "neither a folder nor a whole zip archive", "unpack it"):
        listing(tmp_path / "a.zip", WANTED)


def test_an_archive_that_was_replaced_is_unpacked_again(tmp_path):
    path = zipped(tmp_path / "a.zip", ("a.png", b"old"))
    assert contents(path, tmp_path / "work") == ({"a.png": b"old"}, [])
    os.replace(zipped(tmp_path / "b.zip", ("c.png", b"newer")), path)
    assert contents(path, tmp_path / "work") == ({"c.png": b"newer"}, [])


def whole_archive():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"é{i}.png", np.random.default_rng(i).integers(0, 9, 50, np.uint8).tobytes())
    return file.getvalue()


WHOLE = whole_archive()


@settings(deadline=None, max_examples=120)
@given(
    flips=st.lists(st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(1, 255)), min_size=1, max_size=4),
    cut=st.just(len(WHOLE)) | st.integers(0, len(WHOLE)),
)
def test_a_damaged_archive_is_refused_or_its_members_are_and_nothing_else(tmp_path_factory, flips, cut):
    content = bytearray(WHOLE)
    for place, bits in flips:
        content[place] ^= bits
    path = tmp_path_factory.mktemp("damaged") / "a.zip"
    path.write_bytes(content[:cut])
    with contextlib.suppress(InputError, RunError):
        contents(path, path.parent / "work")
