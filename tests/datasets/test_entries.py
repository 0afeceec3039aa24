import contextlib
import inspect
import io
import os
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cactus_tf.datasets._io.entries import Entry, UnreadableError, listing, shown
from cactus_tf.errors import InputError

WANTED = (".png", ".jpg")


def names(found):
    return [entry.name for entry in found.entries]


def put(folder, *files):
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))
    return folder


def zipped(path, *members):
    """An archive of (name, content) pairs."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


# Folders


def test_files_with_the_extensions_are_listed_by_name_however_deep(tmp_path):
    found = listing(put(tmp_path, "b.png", "a/z.JPG", "a/b/c/d.Png", "notes.txt", "a/png", "c.png.bak"), WANTED)
    assert names(found) == ["a/b/c/d.Png", "a/z.JPG", "b.png"]
    assert found.others == 3
    assert found.skipped == []
    assert [entry.read() for entry in found.entries] == [b"a/b/c/d.Png", b"a/z.JPG", b"b.png"]
    assert [entry.size for entry in found.entries] == [11, 7, 5]


def test_hidden_files_and_folders_are_not_looked_at(tmp_path):
    found = listing(put(tmp_path, ".a.png", ".git/b.png", "c.png"), WANTED)
    assert (names(found), found.others, found.skipped) == (["c.png"], 0, [])


def test_a_deep_tree_needs_no_recursion(tmp_path):
    deep = "d/" * 200 + "x.png"
    put(tmp_path, deep)
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = listing(tmp_path, WANTED)
    finally:
        sys.setrecursionlimit(usual)
    assert names(found) == [deep]


def test_a_link_into_a_circle_is_left_out_and_named(tmp_path):
    put(tmp_path, "a/b/x.png")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")
    (tmp_path / "a/self").symlink_to("self")
    (tmp_path / "a/nowhere.png").symlink_to("absent")
    found = listing(tmp_path, WANTED)
    assert names(found) == ["a/b/x.png"]
    reasons = {name: reason for name, reason in found.skipped}
    assert sorted(reasons) == ["a/b/up", "a/nowhere.png", "a/self"]
    assert "link to a folder that is read already" in reasons["a/b/up"]
    assert "No such file" in reasons["a/nowhere.png"]


def test_two_folders_that_link_to_each_other_end(tmp_path):
    put(tmp_path, "a/x.png", "b/y.png")
    (tmp_path / "a/b").symlink_to(tmp_path / "b")
    (tmp_path / "b/a").symlink_to(tmp_path / "a")
    found = listing(tmp_path, WANTED)
    assert names(found) == ["a/x.png", "b/y.png"]
    assert [name for name, _ in found.skipped] == ["a/b", "b/a"]


def test_a_link_to_a_folder_above_the_root_is_not_followed(tmp_path):
    for folder in ("set/a", "set/b"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x.png").write_bytes(b"x")
    (tmp_path / "set/a/up").symlink_to(tmp_path / "set")
    (tmp_path / "set/a/top").symlink_to("/")
    found = listing(tmp_path / "set/a", (".png",))
    assert [entry.name for entry in found.entries] == ["x.png"]
    assert [s.reason for s in found.skipped] == ["link to a folder that it lies in"] * 2


def test_folders_that_link_to_each_other_are_read_once_each(tmp_path):
    for a in "abcdef":
        (tmp_path / a).mkdir()
        (tmp_path / a / "x.png").write_bytes(b"x")
        for b in "abcdef":
            if a != b:
                (tmp_path / a / b).symlink_to(tmp_path / b)
    found = listing(tmp_path, (".png",))
    assert [entry.name for entry in found.entries] == [f"{a}/x.png" for a in "abcdef"]
    assert {s.reason for s in found.skipped} == {"link to a folder that is read already"}


def test_a_folder_elsewhere_that_two_links_lead_to_is_read_by_the_first_name(tmp_path):
    (tmp_path / "far").mkdir()
    (tmp_path / "far/x.png").write_bytes(b"x")
    (tmp_path / "here").mkdir()
    for name in ("z", "b"):
        (tmp_path / "here" / name).symlink_to(tmp_path / "far")
    assert [entry.name for entry in listing(tmp_path / "here", (".png",)).entries] == ["b/x.png"]


def test_links_elsewhere_are_followed(tmp_path):
    put(tmp_path, "far/x.png", "here/y.png")
    (tmp_path / "here/far").symlink_to(tmp_path / "far")
    (tmp_path / "here/z.png").symlink_to(tmp_path / "far/x.png")
    assert names(listing(tmp_path / "here", WANTED)) == ["far/x.png", "y.png", "z.png"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_left_out(tmp_path):
    put(tmp_path, "a.png", "locked/b.png")
    (tmp_path / "locked").chmod(0)
    try:
        found = listing(tmp_path, WANTED)
    finally:
        (tmp_path / "locked").chmod(0o700)
    assert names(found) == ["a.png"]
    assert found.skipped == [("locked", "folder cannot be read (Permission denied)")]


def test_a_folder_that_cannot_be_read_is_left_out(tmp_path, monkeypatch):
    put(tmp_path, "a.png", "locked/b.png")
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = listing(tmp_path, WANTED)
    assert names(found) == ["a.png"]
    assert found.skipped == [("locked", "folder cannot be read (Permission denied)")]


def test_what_is_neither_file_nor_folder_is_passed_by(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert listing(tmp_path, WANTED) == ([], [], 0)


def test_names_of_any_unicode_and_of_none_are_listed(tmp_path):
    strange = ["日本語.png", "e\u0301.png", "é.png", "x\udcff.png", "new\nline.png", "🌵/a b.png"]
    found = listing(put(tmp_path, *strange), WANTED)
    assert sorted(names(found)) == sorted(strange)
    assert all(entry.read() for entry in found.entries)


def test_composed_and_decomposed_accents_lie_side_by_side(tmp_path):
    found = listing(put(tmp_path, "f.png", "e\u0301.png", "é.png", "z.png"), WANTED)
    assert names(found) == ["f.png", "z.png", "e\u0301.png", "é.png"]


@pytest.mark.parametrize(
    "name, expected",
    [("plain é 日本.png", "plain é 日本.png"), ("two\nlines", "two\\nlines"), ("x\udcff", "x\\udcff"),
     ("\x1b[2J", "\\x1b[2J"),
     ("e\u0301\u3000", "e\u0301\u3000")],
)  # fmt: skip
def test_a_name_is_shown_on_one_line_that_can_be_written(name, expected):
    assert shown(name) == expected
    shown(name).encode()


def test_a_file_that_went_away_is_unreadable(tmp_path):
    [entry] = listing(put(tmp_path, "a.png"), WANTED).entries
    (tmp_path / "a.png").unlink()
    with pytest.raises(UnreadableError, match="No such file"):
        entry.read()


def test_a_huge_file_is_not_read():
    with pytest.raises(UnreadableError, match="more than 1,073,741,824 bytes"):
        Entry("/", "absent.png", (1 << 30) + 1).read()


def test_the_stamp_changes_when_a_file_is_written_anew(tmp_path):
    [before] = listing(put(tmp_path, "a.png"), WANTED).entries
    os.utime(tmp_path / "a.png", ns=(0, before.stamp + 1000))
    [after] = listing(tmp_path, WANTED).entries
    assert after.stamp == before.stamp + 1000


@pytest.mark.parametrize("place", ["absent", "nul\0"])
def test_what_is_not_there_is_named(tmp_path, place, complains):
    with complains(shown(place), "neither a folder nor a zip archive"):
        listing(tmp_path / place, WANTED)


# Archives


def test_an_archive_is_listed_as_the_folder_that_it_unpacks_to(tmp_path):
    put(tmp_path / "folder", "b.png", "a/c.jpg", "x.txt", "é/日本.png")
    members = [(str(p.relative_to(tmp_path / "folder")), p.read_bytes()) for p in (tmp_path / "folder").rglob("*.*")]
    found = listing(zipped(tmp_path / "a.zip", *members[::-1], ("__MACOSX/._b.png", b""), (".hid/d.png", b"")), WANTED)
    folder = listing(tmp_path / "folder", WANTED)
    assert names(found) == names(folder)
    assert [entry.read() for entry in found.entries] == [entry.read() for entry in folder.entries]
    assert found.others == folder.others == 1


def test_backslashes_separate_folders_as_some_programs_write_them(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("x.x.png", b"one"), ("x/y.png", b"two"))
    archive.write_bytes(archive.read_bytes().replace(b"x.x.png", b"x\\x.png"))
    found = listing(archive, WANTED)
    assert names(found) == ["x/x.png", "x/y.png"]
    assert [entry.read() for entry in found.entries] == [b"one", b"two"]


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
    found = listing(archive, WANTED)
    assert [entry.read() for entry in found.entries] == [b"new", b"b"]
    assert found.skipped == [("a.png", "the archive holds a later file of this name")]


def test_an_encrypted_member_is_unreadable(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("a.png", b"secret"))
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\1\2") + 8] |= 1  # the flag, in the directory and before the member
    content[6] |= 1
    archive.write_bytes(content)
    with pytest.raises(UnreadableError, match="encrypted"):
        listing(archive, WANTED).entries[0].read()


def test_a_damaged_member_is_unreadable_and_the_others_are_not(tmp_path):
    archive = zipped(tmp_path / "a.zip", ("a.png", b"first"), ("b.png", b"second"))
    archive.write_bytes(archive.read_bytes().replace(b"first", b"f1rst"))
    one, other = listing(archive, WANTED).entries
    with pytest.raises(UnreadableError, match="CRC"):
        one.read()
    assert other.read() == b"second"


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\3\4" + bytes(30)])
def test_what_is_no_archive_is_one_line(tmp_path, content, complains):
    (tmp_path / "a.zip").write_bytes(content)
    with complains("a.zip", "neither a folder nor a whole zip archive", "unpack it"):
        listing(tmp_path / "a.zip", WANTED)


def test_an_archive_that_was_replaced_is_read_anew(tmp_path):
    path = zipped(tmp_path / "a.zip", ("a.png", b"old"))
    assert listing(path, WANTED).entries[0].read() == b"old"
    os.replace(zipped(tmp_path / "b.zip", ("c.png", b"newer")), path)
    assert [(e.name, e.read()) for e in listing(path, WANTED).entries] == [("c.png", b"newer")]


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
    try:
        entries = listing(path, WANTED).entries
    except InputError:
        return
    for entry in entries:
        with contextlib.suppress(UnreadableError):
            entry.read()
