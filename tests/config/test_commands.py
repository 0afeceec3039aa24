import pytest

from cactus_tf.config import commands
from cactus_tf.errors import InputError

DEFAULTS = {"run": None, "out": None, "format": "tflite", "quiet": False}


def test_what_is_unsaid_has_its_default():
    values, words = commands.read_flags(["--quiet", "--run=there"], DEFAULTS)
    assert values == {"run": "there", "out": None, "format": "tflite", "quiet": True}
    assert words == []


def test_words_that_are_no_flags_are_given_back_in_order():
    assert commands.read_flags(["--quiet", "one", "two"], DEFAULTS)[1] == ["one", "two"]


def test_all_settings_that_are_needed_and_missing_are_named_at_once():
    with pytest.raises(InputError, match=r"^--run, --out missing: name both; see --help$"):
        commands.read_settings([], DEFAULTS, ("run", "out"), "name both")


def test_a_setting_that_is_empty_is_missing():
    with pytest.raises(InputError, match=r"^--out missing: name both; see --help$"):
        commands.read_settings(["--run=there", "--out="], DEFAULTS, ("run", "out"), "name both")


def test_a_command_of_settings_alone_takes_no_other_words():
    with pytest.raises(InputError, match=r"^unexpected argument 'one'; flags look like --name=value; see --help$"):
        commands.read_settings(["--run=there", "one"], DEFAULTS, ("run",), "name it")


def test_of_a_command_that_does_not_go_on_ctrl_c_leaves_nothing(capsys):
    def stopped(argv):
        raise KeyboardInterrupt

    assert commands.guarded(stopped, [], lambda topic: "") == 130
    assert capsys.readouterr().err == "stopped; nothing was written\n"


def test_where_a_disk_is_full_the_command_s_own_flag_is_named(capsys):
    def full(argv):
        raise OSError(28, "No space left on device", "out/x")

    assert commands.guarded(full, [], lambda topic: "") == 1
    assert capsys.readouterr().err == "out/x: No space left on device; free or change --out\n"
