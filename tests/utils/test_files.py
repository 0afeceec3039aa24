"""Files that are missing, damaged or folders."""

import pytest

from cactus_tf.errors import InputError
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
    with pytest.raises(InputError, match=r"a\.json cannot be read \(Is a directory\); delete it and run again"):
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
