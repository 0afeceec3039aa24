"""Runs every block of the page on drawings in order: with short lengths in this process, and unchanged in a shell."""

import contextlib
import csv
import importlib
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "drawings.md").read_text()
BLOCKS = re.findall(r"^```(python|bash)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
OUTPUTS = ("pictures", "examples", "others", "runs", "predictions", "exported")  # folders that the commands make
SHORT = ["--steps=20", "--partitions=2", "--eval_episodes=10", "--filters=4", "--quiet"]


def scripts():
    """The Python blocks by the file name in their first line."""
    return {re.match(r"# (\w+\.py)\n", code)[1]: code for kind, code in BLOCKS if kind == "python"}


def commands():
    """The arguments of `python` in every line of the shell blocks."""
    lines = "\n".join(code for kind, code in BLOCKS if kind == "bash").replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    assert all(line[0] == "python" for line in words if line)
    return [line[1:] for line in words if line]


def run_here(words):
    """Runs a command in this process, with short lengths."""
    if words[0] != "-m":
        runpy.run_path(words[0], run_name="__main__")
        return
    lengths = SHORT if words[1] == "cactus_tf.main" else []
    assert importlib.import_module(words[1]).main([*words[2:], *lengths]) == 0, words


def named_files():
    """The paths on the page that lie in the folders that its commands make."""
    paths = re.findall(rf"`((?:{'|'.join(OUTPUTS)})/[^`\s]*)`", PAGE)
    return sorted({name for name in paths if not re.search(r"[A-Z]{3}", name)})  # NAME is a placeholder


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder after all commands of the page, with short runs."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name, code in scripts().items():
        (folder / name).write_text(code)
    with contextlib.chdir(folder):
        for words in commands():
            run_here(words)
    return folder


def test_a_command_of_the_page_runs_each_of_its_scripts():
    assert {words[0] for words in commands() if words[0] != "-m"} == set(scripts())


def test_every_file_that_the_page_names_exists_after_its_commands(place):
    assert len(named_files()) > 5
    assert [name for name in named_files() if not (place / name).exists()] == []


def test_the_training_pictures_have_no_class_folders(place):
    assert len(list((place / "pictures").glob("*.png"))) == 1000
    assert not [path for path in (place / "pictures").iterdir() if path.is_dir()]


def test_each_class_has_five_examples_and_none_of_them_is_among_the_others(place):
    examples = [path.relative_to(place / "examples") for path in (place / "examples").glob("*/*.png")]
    others = {path.relative_to(place / "others") for path in (place / "others").glob("*/*.png")}
    assert (len(examples), len(others), len(others & set(examples))) == (50, 747, 0)
    assert {len(list(folder.iterdir())) for folder in (place / "examples").iterdir()} == {5}


def test_every_picture_is_classified(place):
    assert len(rows(place / "predictions" / "first" / "others-protonets" / "predictions.csv")) == 747


@pytest.mark.slow
def test_the_unchanged_commands_reach_about_the_accuracy_that_the_page_shows(tmp_path):
    for name, code in scripts().items():
        (tmp_path / name).write_text(code)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for kind, code in BLOCKS:
        if kind == "bash":
            environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
            subprocess.run(["bash", "-e", "-c", code], cwd=tmp_path, env=environment, check=True)
    predictions = rows(tmp_path / "predictions" / "first" / "others-protonets" / "predictions.csv")
    accuracy = 100 * sum(row["class"] == row["predicted"] for row in predictions) / len(predictions)
    shown = float(re.search(r"^accuracy ([\d.]+)%", PAGE, re.MULTILINE)[1])
    assert accuracy == pytest.approx(shown, abs=4)  # rounding differs between machines, and 500 steps amplify it
