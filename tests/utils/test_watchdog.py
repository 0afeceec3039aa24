import logging
import os
import signal
import subprocess
import sys
import time

import pytest

from cactus_tf.config import commands
from cactus_tf.utils import progress, watchdog


@pytest.fixture
def lines(caplog, monkeypatch):
    monkeypatch.setattr(progress, "stages", ["embed"])
    caplog.set_level(logging.INFO, "cactus_tf")
    return lambda: [record.getMessage() for record in caplog.records]


def wait_for(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_silence_is_broken_by_the_name_of_the_stage(lines, monkeypatch):
    monkeypatch.setattr(watchdog, "SILENCE", 0.5)
    with watchdog.watching("stopped"):
        wait_for(lines)
    assert lines()[0].startswith("embed: still working")


def test_silence_is_broken_by_the_state_of_the_innermost_bar(lines, monkeypatch):
    monkeypatch.setattr(watchdog, "SILENCE", 0.5)
    with progress.Bar(desc="train", total=10), progress.Bar(desc="validate", total=4, unit="episode") as bar:
        bar.update()
        with watchdog.watching("stopped"):
            wait_for(lines)
    assert lines()[0] == "validate: episode 1 of 4 (25%)"


def test_lines_that_come_in_time_are_not_joined_by_others(lines, monkeypatch):
    monkeypatch.setattr(watchdog, "SILENCE", 3)
    with watchdog.watching("stopped"):
        for _ in range(5):
            logging.getLogger("cactus_tf.pipeline").info("a line")
            time.sleep(0.5)
    assert set(lines()) == {"a line"}


def test_lines_count_when_logging_starts_after_the_watchdog(capsys, monkeypatch):
    monkeypatch.setattr(watchdog, "SILENCE", 3)
    with watchdog.watching("stopped"):
        commands.start_logging()
        for _ in range(9):
            logging.getLogger("cactus_tf.pipeline").info("a line")
            time.sleep(0.5)
    assert set(capsys.readouterr().out.splitlines()) == {"a line"}


SCRIPT = """
import hashlib, logging, signal, sys
from cactus_tf.utils import progress, watchdog
signal.signal(signal.SIGINT, signal.default_int_handler)  # however the tests were started
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
watchdog.GRACE = 0.5
bar = progress.Bar(desc="work", total=9, unit=sys.argv[1])
with watchdog.watching("stopped; rerun to resume", {signal.SIGINT: 130}), bar:
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha512", b"", b"", 10**7 if sys.argv[1] == "step" else 10**9)
    print("not a pause", flush=True)
"""


def stopped(unit):
    command = [sys.executable, "-c", SCRIPT, unit]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(1)  # until the call of C has begun
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_process_that_does_not_stop_is_ended():
    code, out, err = stopped("image")
    assert (code, out, err) == (130, "stopping\n", "stopped; rerun to resume\n")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_training_step_is_not_cut_off():
    code, out, err = stopped("step")
    assert code != 0
    assert out == "stopping after this step\n"
    assert "KeyboardInterrupt" in err
