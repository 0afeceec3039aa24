"""A limit of memory that is too low is named, with what is needed."""

import logging
import os
import re
import resource
import subprocess
import sys

import pytest
from faults.commands import FOLDER, PIXELS

from cactus_tf.config import commands
from cactus_tf.errors import RunError
from cactus_tf.utils import memory
from cactus_tf.utils.threads import cores

ENOUGH = 2.7e9 + 0.5e9 * cores()


def limited(place, size, *flags):
    """A command in a process of its own that may use so many bytes."""
    return subprocess.run(
        [sys.executable, "-m", "cactus_tf.main", *PIXELS, *flags], cwd=place, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(FOLDER.parents[1])},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (int(size),) * 2),
    )  # fmt: skip


@pytest.mark.parametrize("gigabytes", [0.6, 2.5, 3.0])
def test_less_than_tensorflow_takes_is_named_before_it_loads(gigabytes, tmp_path):
    done = limited(tmp_path, gigabytes * 1e9)
    assert done.returncode == 1
    line = rf"this process may use {gigabytes} GB of memory \(ulimit -v\), and TensorFlow takes {ENOUGH / 1e9:.1f} GB "
    assert re.match(line, done.stderr)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_is_named_as_needed_is_enough_for_a_small_run(tmp_path):
    done = limited(tmp_path, ENOUGH)
    assert done.returncode == 0, done.stderr
    assert "if the command ends without a message, the rest was too little: raise the limit" in done.stdout


def test_no_limit_is_needed(monkeypatch, caplog):
    monkeypatch.setattr(logging.getLogger("cactus_tf"), "propagate", True)
    monkeypatch.setattr(memory, "_limit", lambda: None)
    memory.check_limit()
    memory.warn_of_limit()
    assert not caplog.text


def test_a_limit_that_is_too_low_ends_every_import_of_tensorflow(monkeypatch):
    monkeypatch.setattr(memory, "_limit", lambda: 10**9)
    with pytest.raises(RunError, match=r"this process may use 1\.0 GB of memory"), commands.loading([]):
        pytest.fail("it goes on")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError("Unable to allocate 7.5 GiB for an array"), "not enough memory (Unable to allocate 7.5 GiB for"),
        (RuntimeError("{{function_node f}} OOM when allocating tensor with shape[9]"), "not enough memory (OOM when"),
        (RuntimeError("{{function_node f}} run/events/x; No space left on device"),
         "run/events/x: No space left on device; free or change --workdir"),
    ],
)  # fmt: skip
def test_errors_of_libraries_about_memory_and_disks_have_a_remedy(error, line, capsys):
    def act(_):
        raise error

    assert commands.guarded(act, [], lambda topic: "", places="--workdir") == 1
    error = capsys.readouterr().err
    assert error.startswith(line)
    assert error.count("\n") == 1
