import pytest

from cactus_tf.config import commands
from cactus_tf.errors import InputError

DEFAULTS = {"run": None, "out": None, "format": "tflite", "quiet": False}


def test_a_flag_that_is_not_given_has_its_default():
    values, words = commands.read_flags(["--quiet", "--run=there"], DEFAULTS)
    assert values == {"run": "there", "out": None, "format": "tflite", "quiet": True}
    assert words == []


def test_arguments_that_are_not_flags_are_returned_in_order():
    assert commands.read_flags(["--quiet", "one", "two"], DEFAULTS)[1] == ["one", "two"]


def test_one_message_lists_all_missing_settings():
    with pytest.raises(InputError, match=r"^--run, --out missing: name both; see --help$"):
        commands.read_settings([], DEFAULTS, "name both", commands.Rules(needed=("run", "out")))


def test_an_empty_setting_counts_as_missing():
    with pytest.raises(InputError, match=r"^--out missing: name both; see --help$"):
        commands.read_settings(["--run=there", "--out="], DEFAULTS, "name both", commands.Rules(needed=("run", "out")))


def test_a_command_that_takes_only_flags_refuses_other_arguments():
    with pytest.raises(InputError, match=r"^unexpected argument 'one'; flags look like --name=value; see --help$"):
        commands.read_settings(["--run=there", "one"], DEFAULTS, "name it", commands.Rules(needed=("run",)))


def test_ctrl_c_in_a_command_that_cannot_resume_leaves_nothing(capsys):
    def stopped(argv):
        raise KeyboardInterrupt

    assert commands.guarded(stopped, [], lambda topic: "") == 130
    assert capsys.readouterr().err == "stopped; nothing was written\n"


def test_the_message_about_a_full_disk_names_the_flag_of_the_command(capsys):
    def full(argv):
        raise OSError(28, "No space left on device", "out/x")

    assert commands.guarded(full, [], lambda topic: "") == 1
    assert capsys.readouterr().err == "out/x: No space left on device; free or change --out\n"
