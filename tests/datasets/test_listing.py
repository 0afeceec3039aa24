import inspect
import os
import shutil
import sys

import pytest

from cactus_tf.datasets._io import picture_formats
from cactus_tf.datasets._io.entries import Entry, UnreadableError, shown
from cactus_tf.datasets._io.listing import by_extension, listing

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
    assert found.others == ["a/png", "c.png.bak", "notes.txt"]
    assert found.skipped == []
    assert [entry.read() for entry in found.entries] == [b"a/b/c/d.Png", b"a/z.JPG", b"b.png"]
    assert [entry.size for entry in found.entries] == [11, 7, 5]


def test_hidden_files_and_folders_are_not_looked_at_and_counted(tmp_path):
    found = listing(put(tmp_path, ".a.png", ".git/b.png", "x/._c.png", "x/._d.png", "c.png"), WANTED)
    assert (names(found), found.others, found.skipped) == (["c.png"], [], [])
    assert found.system == [".a.png", ".git", "x/._c.png", "x/._d.png"]
    assert found.hidden == "4 hidden or system files and folders are not looked at: ._* (2); .a.png; .git"


@pytest.mark.parametrize(
    "name",
    ["@eaDir", "#recycle", "@Recycle", "__MACOSX", "lost+found", "$RECYCLE.BIN", "$Recycle.Bin", "LOST.DIR",
     "System Volume Information", ".ipynb_checkpoints", "__pycache__", "FOUND.000", ".Trash-1000", "RECYCLER"],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_folders_of_a_system_hold_no_pictures(tmp_path, name, packed):
    put(tmp_path / "all", f"{name}/x/a.png", f"cat/{name}/b.png", "cat/c.png")
    place = shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path / "all") if packed else tmp_path / "all"
    found = listing(place, WANTED)
    assert (names(found), found.folders) == (["cat/c.png"], {"cat"})
    assert found.system == sorted([name, f"cat/{name}"])


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", ".DS_Store", "a.png@SynoEAStream", "~$a.png", "Icon\r"])
def test_files_of_a_system_are_not_those_of_the_user(tmp_path, name):
    found = listing(put(tmp_path, name, "a.png"), WANTED)
    assert (names(found), found.others, found.system) == (["a.png"], [], [name])


@pytest.mark.parametrize("name", ["recycled", "recycler", "macosx", "found", "@alice", "$5", "#1", "~a", "lost"])
def test_names_that_only_resemble_those_of_a_system_are_classes(tmp_path, name):
    assert names(listing(put(tmp_path, f"{name}/a.png"), WANTED)) == [f"{name}/a.png"]


def test_other_files_are_counted_by_extension_and_named(tmp_path):
    found = listing(put(tmp_path, "a.png", "x/1.TGA", "x/2.tga", "b.txt", "README"), WANTED)
    assert found.passed_over == (
        "4 files with other extensions are passed over: 2 .tga, such as x/1.TGA; 1 without extension, such as README; "
        "1 .txt, such as b.txt"
    )
    assert listing(put(tmp_path / "y", "a.png"), WANTED).passed_over == ""


def test_of_many_extensions_the_most_frequent_are_named():
    files = [f"{i}.{'x' * i}" for i in range(1, 25)] + ["again.xxxxx"]
    assert by_extension(files).startswith("2 .xxxxx, such as 5.xxxxx; ")
    assert by_extension(files).endswith("; and 4 more kinds")


def test_a_format_that_another_package_reads_says_which(monkeypatch):
    monkeypatch.setattr(picture_formats, "EXTENSIONS", (".png",))
    assert "2 .heic (read only with the package pillow-heif), such as a.heic" in by_extension(["a.heic", "b.heic"])


def test_all_folders_are_listed_whatever_they_hold(tmp_path):
    put(tmp_path, "cat/a.png", "dog/old/b.txt")
    (tmp_path / "cow").mkdir()
    assert listing(tmp_path, WANTED).folders == {"cat", "cow", "dog", "dog/old"}


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


def test_what_is_neither_file_nor_folder_is_left_out_and_named(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    found = listing(tmp_path, WANTED)
    assert (found.entries, found.skipped) == ([], [("pipe.png", "is neither a file nor a folder")])


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
