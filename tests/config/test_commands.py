import asyncio
import contextlib
import signal
from concurrent.futures import ThreadPoolExecutor

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


def test_sigterm_of_a_command_is_one_line_and_143(capsys):
    def stopped(argv):
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    assert commands.guarded(stopped, [], lambda topic: "") == 143
    assert capsys.readouterr().err == "stopped; nothing was written\n"
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("outcome", [ImportError("of a half loaded library"), None])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_that_an_import_swallows_or_turns_into_an_error_still_stops_the_command(capsys, outcome, number, code):
    def act(argv):
        with commands.loading(argv):
            with contextlib.suppress(KeyboardInterrupt):
                signal.raise_signal(number)
            if outcome:
                raise outcome

    assert commands.guarded(act, [], lambda topic: "") == code
    assert capsys.readouterr().err == "stopped; nothing was written\n"


def test_a_library_that_cannot_be_loaded_is_one_line(capsys):
    def act(argv):
        with commands.loading(argv):
            raise ValueError("Invalid `floatx` configuration.\nmore")

    assert commands.guarded(act, [], lambda topic: "") == 1
    err = capsys.readouterr().err
    assert err.startswith("TensorFlow or Keras cannot be loaded (ValueError: Invalid `floatx` configuration.): check")
    assert err.count("\n") == 1


def test_a_command_runs_in_a_thread_and_in_an_event_loop(capsys):
    async def in_a_loop():
        return commands.guarded(lambda argv: None, [], lambda topic: "")

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(commands.guarded, lambda argv: None, [], lambda topic: "").result() == 0
    assert asyncio.run(in_a_loop()) == 0


def test_paths_are_expanded_and_must_exist_where_a_command_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    rules = commands.Rules(paths=("run", "out"), existing=("run",))
    (tmp_path / "there").mkdir()
    values, _ = commands.read_flags(["--run=~/there", "--out=~/new"], DEFAULTS, rules)
    assert (values["run"], values["out"]) == (str(tmp_path / "there"), str(tmp_path / "new"))
    with pytest.raises(InputError, match=r"^--run=nowhere: there is no such folder or file$"):
        commands.read_flags(["--run=nowhere"], DEFAULTS, rules)


def test_a_value_that_is_no_choice_gets_the_nearest_one():
    with pytest.raises(InputError, match=r"^--format=tflit: unknown format; did you mean tflite\? choose from tflite"):
        commands.read_flags(["--format=tflit"], DEFAULTS, commands.Rules(choices={"format": ("tflite", "onnx")}))
