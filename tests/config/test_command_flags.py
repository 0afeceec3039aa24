import pytest

from cactus_tf.config import command_flags
from cactus_tf.errors import InputError

DEFAULTS = {"run": None, "out": None, "format": "tflite", "quiet": False}


def test_a_flag_that_is_not_given_has_its_default():
    values, words = command_flags.read_flags(["--quiet", "--run=there"], DEFAULTS)
    assert values == {"run": "there", "out": None, "format": "tflite", "quiet": True}
    assert words == []


def test_arguments_that_are_not_flags_are_returned_in_order():
    assert command_flags.read_flags(["--quiet", "one", "two"], DEFAULTS)[1] == ["one", "two"]


def test_one_message_lists_all_missing_settings():
    with pytest.raises(InputError, match=r"^--run, --out missing: name both; see --help$"):
        command_flags.read_settings([], DEFAULTS, "name both", command_flags.Rules(needed=("run", "out")))


def test_an_empty_setting_counts_as_missing():
    with pytest.raises(InputError, match=r"^--out missing: name both; see --help$"):
        command_flags.read_settings(
            ["--run=there", "--out="], DEFAULTS, "name both", command_flags.Rules(needed=("run", "out"))
        )


def test_a_command_that_takes_only_flags_refuses_other_arguments():
    with pytest.raises(InputError, match=r"^unexpected argument 'one'; flags look like --name=value; see --help$"):
        command_flags.read_settings(["--run=there", "one"], DEFAULTS, "name it", command_flags.Rules(needed=("run",)))


def test_paths_are_expanded_and_must_exist_where_a_command_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    rules = command_flags.Rules(paths=("run", "out"), existing=("run",))
    (tmp_path / "there").mkdir()
    values, _ = command_flags.read_flags(["--run=~/there", "--out=~/new"], DEFAULTS, rules)
    assert (values["run"], values["out"]) == (str(tmp_path / "there"), str(tmp_path / "new"))
    with pytest.raises(InputError, match=r"^--run=nowhere: there is no such folder or file$"):
        command_flags.read_flags(["--run=nowhere"], DEFAULTS, rules)


def test_a_value_that_is_no_choice_gets_the_nearest_one():
    with pytest.raises(InputError, match=r"^--format=tflit: unknown format; did you mean tflite\? choose from tflite"):
        command_flags.read_flags(
            ["--format=tflit"], DEFAULTS, command_flags.Rules(choices={"format": ("tflite", "onnx")})
        )
