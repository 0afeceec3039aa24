import asyncio
import contextlib
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from cactus_tf.config import commands


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


def test_help_that_imports_an_embedder_prints_no_messages_of_tensorflow():
    command = [sys.executable, "-m", "cactus_tf.main", "--help=pretrained"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "mobilenet_v2" in done.stdout
    assert not done.stderr


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


PIPED = """
import logging, sys, threading
from cactus_tf.config import commands
def act(words):
    commands.start_logging()
    log = logging.getLogger("cactus_tf.pipeline")
    try:
        while True:
            log.info("a line")
    except KeyboardInterrupt:
        print("saved", file=sys.stderr)
        raise
sys.exit(commands.guarded(act, [], str))
"""


def test_a_command_whose_reader_leaves_stops_as_after_ctrl_c_without_a_word():
    process = subprocess.Popen([sys.executable, "-c", PIPED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "a line\n"
    process.stdout.close()
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), err) == (141, "saved\n")


def test_a_broken_pipe_elsewhere_is_not_taken_for_a_reader_that_left(capsys):
    def broken(argv):
        raise BrokenPipeError(32, "Broken pipe", "some/socket")

    assert commands.guarded(broken, [], lambda topic: "") == 1
    assert capsys.readouterr().err == "some/socket: Broken pipe; free or change --out\n"
