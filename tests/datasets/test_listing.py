import inspect
import os
import sys

import pytest

from cactus_tf.datasets._io.entries import Entry, UnreadableError, shown
from cactus_tf.datasets._io.listing import listing

WANTED = (".png", ".jpg")


def names(found):
    return [entry.name for entry in found.entries]


def put(folder, *files):
    for name in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode("utf-8", "surrogateescape"))
    return folder


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
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + 100)
    try:
        found = listing(tmp_path, WANTED)
    finally:
        sys.setrecursionlimit(limit)
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
    assert "link to a folder that is already read" in reasons["a/b/up"]
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
    assert [s.reason for s in found.skipped] == ["link to a folder that contains it"] * 2


def test_folders_that_link_to_each_other_are_read_once_each(tmp_path):
    for a in "abcdef":
        (tmp_path / a).mkdir()
        (tmp_path / a / "x.png").write_bytes(b"x")
        for b in "abcdef":
            if a != b:
                (tmp_path / a / b).symlink_to(tmp_path / b)
    found = listing(tmp_path, (".png",))
    assert [entry.name for entry in found.entries] == [f"{a}/x.png" for a in "abcdef"]
    assert {s.reason for s in found.skipped} == {"link to a folder that is already read"}


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
