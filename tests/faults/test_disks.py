"""Full and read-only disks, and file systems that cannot lock or rename: one line, and nothing is lost."""

import contextlib
import re
import shutil
import subprocess

import pytest
from faults import kills
from faults.commands import ACAI, PIXELS, ROUNDS, write_pictures

from cactus_tf.predict import main as predict
from cactus_tf.table import main as table

pytestmark = pytest.mark.slow

STAGES = ("prepare", "embed", "partition", "train", "evaluate", "report")
REMEDY = r"free some space|free or change|choose another folder"


def named(code, error):
    """Whether a command ended in one line that names a place and a remedy."""
    place = re.search(r"(run|artifacts)(/|\b)", error)
    return code in (1, 2) and error.count("\n") == 1 and bool(place and re.search(REMEDY, error))


@contextlib.contextmanager
def mounted(place, *options):
    """A file system in memory at a folder."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)], capture_output=True)
    if done.returncode:
        pytest.skip(f"cannot mount a file system: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def small_disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    with mounted(place, "size=48m"):
        yield place


def problems(server, place, faults, argv=PIXELS):
    """What is wrong with commands, one for each fault, of which each goes on where the one before ended."""
    found = []
    for fault in faults:
        code, _, error = server.run(place, argv, **fault)
        (place / "ballast").unlink(missing_ok=True)
        found += [] if named(code, error) else [f"{fault}: exit code {code}, {error}"]
    return found


def finished(server, place, argv=PIXELS):
    """What a run left, after a command to which nothing happens."""
    code, _, error = server.run(place, argv)
    assert code == 0, error
    assert not kills.half_made(place)
    return kills.state(place)


def test_a_disk_that_is_full_in_any_stage_is_named(server, small_disk, expected):
    faults = [{"fill": {"stage": stage, "left": left}} for stage in STAGES for left in (0, 4096)]
    assert problems(server, small_disk, faults) == []
    assert finished(server, small_disk) == expected


@pytest.mark.parametrize(("error", "first"), [("ENOSPC", 4), ("EROFS", 1)])
def test_a_disk_that_refuses_to_be_written_in_any_stage_is_named(error, first, server, tmp_path, expected):
    place = tmp_path / "place"
    place.mkdir()
    faults = [{"refuse": {"stage": stage, "error": error, "first": first}} for stage in STAGES]
    assert problems(server, place, faults) == []
    assert finished(server, place) == expected


OTHERS = {
    "acai": (ACAI, ("embed", "embed", "train", "train")),
    "rounds": (ROUNDS, ("rounds/partition", "rounds/train", "embed", "train")),
}
"""Runs that train an embedder, or several rounds, and their own stages."""


@pytest.fixture(scope="module", params=OTHERS)
def other(request, server, tmp_path_factory):
    """Flags of a larger run, its stages, and what it leaves when nothing happens."""
    argv, stages = OTHERS[request.param]
    return argv, stages, finished(server, tmp_path_factory.mktemp(request.param), argv)


def test_a_larger_run_names_a_disk_that_refuses_and_goes_on(other, server, small_disk):
    argv, stages, whole = other
    faults = []
    for number, stage in enumerate(stages):
        error, first = [("EROFS", 1), ("ENOSPC", 4)][number % 2]
        faults.append({"refuse": {"stage": stage, "error": error, "first": first}})
        if "train" in stage and number % 2:
            faults.append({"fill": {"stage": stage, "left": 4096}})
    assert problems(server, small_disk, faults, argv) == []
    assert finished(server, small_disk, argv) == whole


def test_a_file_system_that_does_not_rename_over_files_is_named(server, tmp_path, expected):
    place = tmp_path / "place"
    place.mkdir()
    refuse = {"stage": "any", "operations": ["os.rename"], "over": True, "error": "EEXIST", "first": 1}
    assert problems(server, place, [{"refuse": refuse}]) == []
    assert finished(server, place) == expected


def test_a_file_system_without_locks_is_used_with_a_warning(server, tmp_path, expected):
    place = tmp_path / "place"
    place.mkdir()
    code, out, error = server.run(place, PIXELS, no_locks={})
    assert code == 0, error
    assert "its file system refuses locks (No locks available)" in out
    assert kills.state(place) == expected


def test_a_finished_run_on_a_read_only_disk_says_how_to_see_its_results(server, small_disk, unbroken, tmp_path, capsys):
    shutil.copytree(unbroken, small_disk, dirs_exist_ok=True)
    pictures = tmp_path / "pictures"
    write_pictures(pictures)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    code, _, error = server.run(small_disk, PIXELS)
    assert named(code, error), error
    assert error.endswith("choose another folder; to see the results: python -m cactus_tf.table run\n")
    assert table([str(small_disk / "run")]) == 0
    assert "CACTUs-ProtoNets" in capsys.readouterr().out
    flags = [f"--run={small_disk / 'run'}", f"--support={pictures}", f"--query={pictures}", f"--out={tmp_path / 'out'}"]
    assert predict(flags) == 0, capsys.readouterr().err
    assert (tmp_path / "out" / "predictions.csv").exists()
