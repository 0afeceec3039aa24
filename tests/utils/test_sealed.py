"""A JSON object that is read back is the one that was written, or is refused in one line."""

import json

import pytest

from cactus_tf.errors import InputError
from cactus_tf.utils import sealed

CONTENT = {"shape": (28, 28, 1), "seed": 0, "rate": 0.1, "nothing": None, "folder": "ü"}


def test_what_was_written_is_read_without_its_digest(tmp_path):
    sealed.write(tmp_path / "a.json", CONTENT)
    assert sealed.read(tmp_path / "a.json", "") == {**CONTENT, "shape": [28, 28, 1]}


def test_every_flipped_bit_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "a.json"
    sealed.write(path, CONTENT)
    whole, expected = path.read_bytes(), sealed.read(path, "")
    for place in range(len(whole)):
        for bit in range(8):
            path.write_bytes(bytes([*whole[:place], whole[place] ^ 1 << bit, *whole[place + 1 :]]))
            try:
                content = sealed.read(path, "again")
            except InputError:
                continue
            content = {name: value for name, value in content.items() if len(str(value)) != 32}  # a renamed digest
            assert content == expected


def test_a_changed_value_is_refused_with_the_file_and_the_remedy(tmp_path):
    sealed.write(tmp_path / "a.json", CONTENT)
    changed = {**json.loads((tmp_path / "a.json").read_text()), "seed": 1}
    (tmp_path / "a.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match=r"a\.json is damaged or was changed, as its digest shows: run it again"):
        sealed.read(tmp_path / "a.json", "run it again")


def test_an_object_without_a_digest_is_read_as_it_is(tmp_path):
    (tmp_path / "a.json").write_text('{"seed": 1}')
    assert sealed.read(tmp_path / "a.json", "") == {"seed": 1}


@pytest.mark.parametrize("content", ["[]", "3", "", '{"a":', "null", "[" * 100_000, "9" * 5000])
def test_what_is_not_an_object_is_refused(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=r"a\.json is damaged"):
        sealed.read(tmp_path / "a.json", "")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_what_is_not_json_is_refused_with_the_remedy_of_the_caller(tmp_path, content):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json is damaged \(.*\): rerun the run's command$"):
        sealed.read(tmp_path / "a.json", "rerun the run's command")
