import errno

import numpy as np
import pytest

from cactus_tf.errors import InputError, RunError
from cactus_tf.runs import artifacts
from cactus_tf.runs import folder as run_folder
from cactus_tf.types import PiecewiseArray
from cactus_tf.utils import files


def test_a_failed_write_leaves_the_old_file_and_no_partial_one(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    def half(file):
        file.write(b"ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(RunError, match="No space left on device"):
        files.write_atomic(path, half)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_array_is_made_once(tmp_path):
    made = []

    def make():
        made.append(1)
        return np.arange(5)

    for _ in range(3):
        store = artifacts.Artifact(tmp_path, "data", {"a": 1})
        np.testing.assert_array_equal(store.cache("x", make), np.arange(5))
    assert len(made) == 1


@pytest.mark.parametrize("damage", ["truncate", "flip", "delete"])
def test_a_damaged_array_is_made_again(tmp_path, damage, caplog):
    store = artifacts.Artifact(tmp_path, "data", {})
    store.cache("x", lambda: np.arange(1000))
    path = store.folder / "x.npy"
    data = bytearray(path.read_bytes())
    path.unlink()
    if damage == "truncate":
        path.write_bytes(data[:-100])
    elif damage == "flip":
        data[-1] ^= 1
        path.write_bytes(data)
    np.testing.assert_array_equal(store.cache("x", lambda: np.arange(1000)), np.arange(1000))
    assert "x.npy is missing or damaged" in caplog.text


def test_a_file_without_a_recorded_checksum_does_not_count_as_complete(tmp_path):
    store = artifacts.Artifact(tmp_path, "data", {})
    np.save(store.folder / "x.npy", np.zeros(3))
    np.testing.assert_array_equal(store.cache("x", lambda: np.ones(3)), np.ones(3))


def test_files_that_belong_together_are_recorded_all_or_none(tmp_path, monkeypatch):
    """A process that is killed between two records would leave an embedder of which half the files are checked."""
    store = artifacts.Artifact(tmp_path, "embedder", {})
    for name in ("a", "b"):
        (store.folder / name).write_text(name)
    written = []
    monkeypatch.setattr(files, "write_json", lambda path, value: written.append((path.name, sorted(value))))
    store.record_files(["a", "b"])
    assert written == [("checksums.json", ["a", "b"])]


def test_recorded_files_in_subfolders_are_checked(tmp_path):
    store = artifacts.Artifact(tmp_path, "embedder", {})
    (store.folder / "model").mkdir()
    (store.folder / "model" / "weights").write_text("abc")
    store.record_files(["model/weights"])
    assert store.has_files(store.files())
    (store.folder / "model" / "weights").write_text("abd")
    assert not store.has_files(store.files())


def test_a_workdir_of_another_configuration_is_refused_with_the_differences(tmp_path):
    run_folder.claim(tmp_path, {"a": {"way": 5}, "seed": 0}, {"command": "x"})
    run_folder.claim(tmp_path, {"a": {"way": 5}, "seed": 0}, {"command": "y"})
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(InputError, match=r"a\.way: 5 there, now 20"):
        run_folder.claim(tmp_path, {"a": {"way": 20}, "seed": 0}, {})
    assert files.read_json(tmp_path / "config.json")["command"] == "y"


def test_a_workdir_of_other_files_says_how_they_changed(tmp_path):
    run_folder.claim(tmp_path, {"seed": 0, "files": "3b04"}, {})
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(InputError, match=r"\(seed: 0 there, now 1; 2 added\)"):
        run_folder.claim(tmp_path, {"seed": 1, "files": "1ca8"}, {}, lambda: "2 added")
    run_folder.claim(tmp_path, {"seed": 0, "files": "3b04"}, {}, lambda: pytest.fail("they are the same"))


def test_an_empty_workdir_may_change_its_configuration(tmp_path):
    run_folder.claim(tmp_path, {"query": 500}, {})
    run_folder.claim(tmp_path, {"query": 5}, {})
    assert files.read_json(tmp_path / "config.json")["identity"] == {"query": 5}


def test_the_error_about_damaged_json_names_the_file(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "config.json").write_text('{"a":')
    with pytest.raises(InputError, match=r"config\.json is damaged"):
        run_folder.claim(tmp_path, {}, {})


def test_the_error_about_an_unwritable_folder_names_its_flag(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--workdir: cannot write to"):
        files.make_folder(tmp_path / "file" / "below", "--workdir")


def test_rows_that_arrive_in_pieces_are_stored_like_the_whole_array(tmp_path):
    whole = np.arange(60, dtype=np.uint8).reshape(10, 3, 2)
    rows = PiecewiseArray(whole.shape, whole.dtype, lambda: iter([whole[:4], whole[4:4], whole[4:]]))
    store = artifacts.Artifact(tmp_path, "data", {"a": 1})
    np.testing.assert_array_equal(store.cache("pieces", lambda: rows), whole)
    store.cache("whole", lambda: whole)
    assert (store.folder / "pieces.npy").read_bytes() == (store.folder / "whole.npy").read_bytes()
    np.testing.assert_array_equal(np.asarray(rows), whole)


@pytest.mark.parametrize("change", ["length", "beginning", "end"])
def test_a_large_file_that_is_truncated_or_damaged_is_detected(tmp_path, monkeypatch, change):
    monkeypatch.setattr(files, "_PIECE", 16)
    monkeypatch.setattr(files, "_PIECES", 4)
    path = tmp_path / "file"
    content = bytearray(range(200))
    path.write_bytes(content)
    before = files.checksum(path)
    content = {"length": content[:-8], "beginning": b"x" + content[1:], "end": content[:-1] + b"x"}[change]
    path.write_bytes(content)
    assert files.checksum(path) != before


def test_a_folder_in_the_place_of_an_array_is_replaced(tmp_path):
    store = artifacts.Artifact(tmp_path, "data", {})
    store.cache("x", lambda: np.arange(3))
    (store.folder / "x.npy").unlink()
    (store.folder / "x.npy").mkdir()
    np.testing.assert_array_equal(store.cache("x", lambda: np.arange(3)), np.arange(3))


@pytest.mark.parametrize("damage", [lambda c: c[:-1] + b"x", lambda c: c[:-9], lambda c: b""])
def test_an_array_that_is_used_without_its_settings_is_checked(tmp_path, damage):
    store = artifacts.Artifact(tmp_path, "embeddings", {})
    store.cache("train", lambda: np.arange(100))
    path = store.folder / "train.npy"
    np.testing.assert_array_equal(artifacts.stored_array(path), np.arange(100))
    artifacts.check_folder(store.folder)
    path.write_bytes(damage(path.read_bytes()))
    for check, argument in ((artifacts.stored_array, path), (artifacts.check_folder, store.folder)):
        with pytest.raises(InputError, match=r"train\.npy is missing or damaged: restore the artifacts folder, or run"):
            check(argument)


def test_a_damaged_configuration_is_not_taken_for_another_one(tmp_path):
    run_folder.claim(tmp_path, {"way": 5}, {"command": "x"})
    (tmp_path / "results.json").write_text("{}")
    path = tmp_path / "config.json"
    path.write_text(path.read_text().replace('"way": 5', '"way": 7'))
    with pytest.raises(InputError, match=r"config\.json is damaged or was changed, as its digest shows"):
        run_folder.claim(tmp_path, {"way": 5}, {})
    path.write_text("[]")
    with pytest.raises(InputError, match=r"config\.json is damaged: it holds no JSON object"):
        run_folder.claim(tmp_path, {"way": 5}, {})
