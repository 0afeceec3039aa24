"""Files that are missing, damaged or folders; locks."""

import contextlib
import errno
import logging
import shutil
import threading
import time

import pytest

from cactus_tf.errors import InputError, RunError
from cactus_tf.utils import files


def test_an_empty_folder_in_the_place_of_a_file_is_replaced(tmp_path):
    (tmp_path / "a.json").mkdir()
    files.write_json(tmp_path / "a.json", 3)
    assert files.read_json(tmp_path / "a.json") == 3


def test_a_folder_with_files_in_the_place_of_a_file_is_named_and_left(tmp_path):
    (tmp_path / "a.json" / "b").mkdir(parents=True)
    with pytest.raises(InputError, match=r"a\.json is a folder, and a file of that name belongs there: move it away"):
        files.write_json(tmp_path / "a.json", 3)
    assert (tmp_path / "a.json" / "b").is_dir()


def test_a_folder_in_the_place_of_json_is_named(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(InputError, match=r"a\.json cannot be read \(Is a directory\): delete it and run again"):
        files.read_json(tmp_path / "a.json")


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1]", b"\xff\xfe", b"3"])
def test_a_file_that_a_run_can_do_without_stops_nothing(tmp_path, content, caplog):
    path = tmp_path / "seconds.json"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    assert files.read_json_if_whole(path, dict, {}) == {}
    assert "seconds.json is damaged; going on without it" in caplog.text


def test_of_a_missing_file_that_a_run_can_do_without_nothing_is_said(tmp_path, caplog):
    assert files.read_json_if_whole(tmp_path / "seconds.json", dict, {}) == {}
    assert not caplog.text


def test_a_locked_folder_makes_a_second_user_wait(tmp_path, monkeypatch, caplog):
    with files.locked(tmp_path), open(tmp_path / ".lock", "ab") as other:
        assert not files.lock_descriptor(other.fileno(), blocking=False)
    with open(tmp_path / ".lock", "ab") as other:
        assert files.lock_descriptor(other.fileno(), blocking=False)
    assert not caplog.records


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_that_refuses_locks_is_a_warning(tmp_path, monkeypatch, caplog, number):
    def refuse(descriptor, blocking=True):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(files, "lock_descriptor", refuse)
    with caplog.at_level(logging.WARNING, "cactus_tf"), files.locked(tmp_path):
        done = True
    assert done
    assert "its file system refuses locks (no locks here)" in caplog.text


def test_a_refused_command_takes_back_the_folders_that_it_made(tmp_path):
    folder = tmp_path / "runs" / "a"
    with pytest.raises(InputError), files.taken_back(folder):
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        raise InputError("no such file")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [InputError, RunError, KeyboardInterrupt])
def test_results_are_never_taken_back(tmp_path, error):
    folder = tmp_path / "a"
    with pytest.raises(error), files.taken_back(folder):
        folder.mkdir()
        (folder / "results.json").write_text("{}")
        raise error("x")
    assert (folder / "results.json").exists()


def test_a_folder_that_was_there_before_stays(tmp_path):
    with pytest.raises(InputError), files.taken_back(tmp_path):
        raise InputError("x")
    assert tmp_path.exists()


def test_text_is_utf8_whatever_the_locale_and_keeps_the_bytes_of_undecodable_names(tmp_path):
    files.write_text(tmp_path / "x", "fünf \udcfc")
    assert (tmp_path / "x").read_bytes() == "fünf ".encode() + b"\xfc"


def test_a_folder_that_another_run_has_locked_is_not_taken_back(tmp_path):
    folder = tmp_path / "a"
    with contextlib.ExitStack() as other, pytest.raises(InputError), files.taken_back(folder):
        folder.mkdir()
        other.enter_context(files.locked(folder))
        raise InputError("x")
    assert folder.exists()


def test_who_waits_for_a_folder_that_is_taken_back_gets_a_new_one(tmp_path):
    folder, found = tmp_path / "a", []

    def wait():
        with files.locked(folder):
            found.append((folder / ".lock").exists())

    waiting = threading.Thread(target=wait)
    with pytest.raises(InputError), files.taken_back(folder):
        with files.locked(folder):
            waiting.start()
            time.sleep(0.3)
            shutil.rmtree(folder)
        raise InputError("x")
    waiting.join(timeout=20)
    assert found == [True]


def test_temporary_files_of_killed_processes_are_removed_and_those_in_use_are_not(tmp_path):
    killed, in_use, others = (tmp_path / name for name in (".a.json.1.tmp", ".a.json.2.tmp", ".b.json.1.tmp"))
    for path in (killed, in_use, others):
        path.write_bytes(b"half")
    with open(in_use, "rb") as file:
        assert files.lock_descriptor(file.fileno(), blocking=False)
        files.write_json(tmp_path / "a.json", 3)
    assert sorted(tmp_path.iterdir()) == sorted([in_use, others, tmp_path / "a.json"])


def test_a_file_that_is_being_written_is_locked(tmp_path):
    def write(file):
        (temporary,) = tmp_path.glob(".a.json.*.tmp")
        with open(temporary, "rb") as other:
            assert not files.lock_descriptor(other.fileno(), blocking=False)
        file.write(b"3")

    files.write_atomic(tmp_path / "a.json", write)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_temporary_files_stay_where_locks_are_refused(tmp_path, monkeypatch):
    def refuse(descriptor, blocking=True):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files, "lock_descriptor", refuse)
    (tmp_path / ".a.json.1.tmp").touch()
    files.write_json(tmp_path / "a.json", 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".a.json.1.tmp", "a.json"]


def test_temporary_files_go_before_the_file_is_in_place(tmp_path, monkeypatch):
    """A process that is killed right after it would not write the file again, and leave them for ever."""
    replace, seen = files.os.replace, []

    def watched(source, target):
        seen.extend(path.name for path in tmp_path.iterdir() if path != source)
        replace(source, target)

    monkeypatch.setattr(files.os, "replace", watched)
    (tmp_path / ".a.json.1.tmp").touch()
    files.write_json(tmp_path / "a.json", 3)
    assert seen == []


def test_an_error_without_a_file_gets_the_name_of_the_folder(tmp_path):
    with pytest.raises(OSError) as caught, files.naming(tmp_path):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path)
    with pytest.raises(OSError) as caught, files.naming(tmp_path):
        (tmp_path / "none").read_bytes()
    assert caught.value.filename == str(tmp_path / "none")
