"""Every file of a run is damaged in every way: no command gives another result, and none ends in a traceback."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from faults.commands import write_pictures

from cactus_tf.export import main as export
from cactus_tf.main import main as run
from cactus_tf.predict import main as predict
from cactus_tf.table import main as table

pytestmark = pytest.mark.slow

COMMAND = [
    "--algo=protonets,cluster_matching", "--embedder=pixels", "--pixels_dims=6", "--partitions=2", "--clusters=12",
    "--filters=2", "--steps=2", "--tasks_per_step=1", "--way=3", "--query=2", "--eval_ways=3", "--eval_shots=1",
    "--eval_query=2", "--eval_episodes=4", "--quiet", "--workdir=runs/digits",
]  # fmt: skip
PREDICT = ["--run=runs/digits", "--support=pictures", "--query=pictures", "--out=out", "--quiet"]
EXPORT = ["--run=runs/digits", "--algo=protonets", "--out=exported", "--quiet"]
NOT_READ = r"events/|\.png$|report\.html$|results\.csv$|\.lock$|settings\.json$|adaptation\.csv$"
"""Files that no command reads; what they hold is written again."""


def flipped(content):
    """One bit in the middle."""
    changed = bytearray(content)
    changed[len(changed) // 2] ^= 4
    return bytes(changed)


def another_type(content):
    """JSON of another type, or a text."""
    return b"3" if content[:1] in (b"{", b"[") else b"[1, 2]\n"


CONTENTS = {
    "one bit": flipped,
    "one bit near the beginning": lambda content: bytes([*content[:9], content[9] ^ 2, *content[10:]]),
    "one bit at the end": lambda content: content[:-2] + bytes([content[-2] ^ 1]) + content[-1:],
    "cut short": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "another type": another_type,
    "an empty folder": None,
    "a folder with a file": None,
    "gone": None,
}


def damage(path, how):
    """Damages a file."""
    content = path.read_bytes()
    path.unlink()
    if CONTENTS[how] is not None:
        path.write_bytes(CONTENTS[how](content) if len(content) > 10 else b"")
    elif how != "gone":
        path.mkdir()
        if how == "a folder with a file":
            (path / "note.txt").write_text("of the user")


def results():
    """The rows of results.json."""
    return json.loads(Path("runs/digits/results.json").read_text())["rows"]


def predictions():
    """The predictions, with probabilities to 4 digits."""
    with open("out/predictions.csv", newline="") as file:
        return [[cell[:6] for cell in row] for row in csv.reader(file)]


def embeddings():
    """What the export embeds, and its size."""
    about = json.loads(Path("exported/export.json").read_text())
    return about["embeds"], about["dim"], about["steps"]


COMMANDS = {
    "main": lambda: (run([*COMMAND, "--stage=evaluate"]), results),
    "predict protonets": lambda: (predict([*PREDICT, "--algo=protonets"]), predictions),
    "predict cluster_matching": lambda: (predict([*PREDICT, "--algo=cluster_matching"]), predictions),
    "export": lambda: (export(EXPORT), embeddings),
    "table": lambda: (table(["runs/digits"]), lambda: None),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with pictures, a run and its artifacts."""
    place = tmp_path_factory.mktemp("whole")
    write_pictures(place / "pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert run(COMMAND) == 0
    return place


@pytest.fixture(scope="module")
def expected(whole):
    """The results of all commands on the whole run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(whole)
        results = {}
        for name, command in COMMANDS.items():
            code, read = command()
            assert code == 0, name
            results[name] = read()
        shutil.rmtree("exported")
        return results


def commands_that_read(name):
    """The commands that a file can matter to."""
    if re.search(NOT_READ, name):
        return []
    if name.endswith("results.json"):
        return ["main", "table"]
    chosen = ["main"]
    if re.search(r"digits/(config|inputs)\.json$|embedder-|embeddings-.*(train|checksums)|data-.*train-images", name):
        chosen.append("predict cluster_matching")
    if re.search(r"digits/(config|inputs)\.json$|embedder-|checkpoints", name):
        chosen.append("export")
    return [*chosen, "predict protonets"] if "checkpoints" in name else chosen


def files_of(place):
    """The names of the files of a run and its artifacts."""
    files = [path for folder in ("runs", "artifacts") for path in (place / folder).rglob("*") if path.is_file()]
    return sorted(path.relative_to(place).as_posix() for path in files)


def problem(name, command, expected, capfd):
    """What is wrong with a command on a damaged run; None if it gave the expected result or ended in one line."""
    capfd.readouterr()
    code, read = COMMANDS[command]()
    output, error = capfd.readouterr()
    if code == 0:
        different = read() != expected[command] and "using the older weights" not in output
        return f"{command}: another result" if different else None
    one_line = code == 2 and error.count("\n") == 1 and "Traceback" not in error + output
    return None if one_line else f"{command}: exit code {code}, {error}"


@pytest.mark.parametrize("how", CONTENTS)
def test_a_damaged_run_gives_the_same_result_or_ends_in_one_line(how, whole, expected, tmp_path, monkeypatch, capfd):
    problems = []
    for number, name in enumerate(files_of(whole)):
        for command in commands_that_read(name):
            place = tmp_path / f"{number}-{command.replace(' ', '-')}"
            shutil.copytree(whole, place)
            monkeypatch.chdir(place)
            damage(place / name, how)
            found = problem(name, command, expected, capfd)
            problems += [f"{name}: {found}"] if found else []
            monkeypatch.chdir(tmp_path)
            shutil.rmtree(place)
    assert not problems, "\n".join(problems)


ROUNDS = [
    "--algo=protonets", "--rounds=2", "--first_partitioner=instances", "--augmentation=affine", "--round_clusters=12",
    "--round_steps=2", *[flag for flag in COMMAND if not re.match("--(algo|embedder|pixels_dims)=", flag)],
]  # fmt: skip
OF_ROUNDS = r"rounds/1/.*checkpoints/|rounds/1/(config|inputs)\.json$|rounds\.csv$|last_round\.json$"
"""Files that runs of one round lack, or that they do not read from another run."""
ALL = "CACTUS_ALL_DAMAGE" in os.environ
"""Whether files of rounds are damaged in every way; takes half an hour."""


@pytest.fixture(scope="module")
def whole_rounds(tmp_path_factory):
    """A folder with a run of two rounds, and its results."""
    place = tmp_path_factory.mktemp("rounds")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert run([*ROUNDS, "--stage=evaluate"]) == 0
        return place, results()


def problem_of_rounds(expected, capfd):
    """What is wrong with a run of two rounds that goes on from damaged files, or None."""
    capfd.readouterr()
    code = run([*ROUNDS, "--stage=evaluate"])
    output, error = capfd.readouterr()
    if code == 0:
        return None if results() == expected or "using the older weights" in output else "another result"
    one_line = code == 2 and error.count("\n") == 1 and "Traceback" not in error + output
    return None if one_line else f"exit code {code}, {error}"


@pytest.mark.parametrize("how", CONTENTS if ALL else ["one bit", "a folder with a file"])
def test_a_damaged_run_of_rounds_gives_the_same_result_or_ends_in_one_line(
    how, whole_rounds, tmp_path, monkeypatch, capfd
):
    whole, expected = whole_rounds
    problems = []
    names = [name for name in files_of(whole) if re.search(OF_ROUNDS, name)]
    assert len(names) >= 8
    for number, name in enumerate(names):
        place = tmp_path / str(number)
        shutil.copytree(whole, place)
        monkeypatch.chdir(place)
        damage(place / name, how)
        found = problem_of_rounds(expected, capfd)
        problems += [f"{name}: {found}"] if found else []
        monkeypatch.chdir(tmp_path)
    assert not problems, "\n".join(problems)
