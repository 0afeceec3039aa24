"""Every block of the tutorial, run in its order: shortened in this process, and as it stands by a shell."""

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
PAGE = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"^```(python|bash)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
MADE = ("pictures", "examples", "others", "runs", "predictions", "exported")  # folders that the commands make
SHORT = ["--steps=20", "--partitions=2", "--eval_episodes=10", "--filters=4", "--quiet"]


def scripts():
    """The Python blocks by the file name in their first line."""
    return {re.match(r"# (\w+\.py)\n", code)[1]: code for kind, code in BLOCKS if kind == "python"}


def commands():
    """[program, argument, ...] of every line of the shell blocks, without `python`."""
    lines = "\n".join(code for kind, code in BLOCKS if kind == "bash").replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    assert all(said[0] == "python" for said in words if said)
    return [said[1:] for said in words if said]


def run_here(words):
    """A command in this process; runs are shortened."""
    if words[0] != "-m":
        runpy.run_path(words[0], run_name="__main__")
        return
    lengths = SHORT if words[1] == "cactus_tf.main" else []
    assert importlib.import_module(words[1]).main([*words[2:], *lengths]) == 0, words


def named_files():
    """What the page names below the folders that its commands make."""
    found = re.findall(rf"`((?:{'|'.join(MADE)})/[^`\s]*)`", PAGE)
    return sorted({name for name in found if not re.search(r"[A-Z]{3}", name)})  # NAME stands for any


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The folder of a reader who has done all of it, with short runs."""
    folder = tmp_path_factory.mktemp("tutorial")
    for name, code in scripts().items():
        (folder / name).write_text(code)
    with contextlib.chdir(folder):
        for words in commands():
            run_here(words)
    return folder


def test_every_script_of_the_page_is_run_by_a_command_of_it():
    assert {words[0] for words in commands() if words[0] != "-m"} == set(scripts())


def test_every_file_that_the_page_names_is_there_after_its_commands(place):
    assert len(named_files()) > 5
    assert [name for name in named_files() if not (place / name).exists()] == []


def test_the_pictures_to_learn_from_have_no_classes(place):
    assert len(list((place / "pictures").glob("*.png"))) == 1000
    assert not [path for path in (place / "pictures").iterdir() if path.is_dir()]


def test_there_are_five_examples_of_each_class_and_none_of_them_is_among_the_others(place):
    examples = [path.relative_to(place / "examples") for path in (place / "examples").glob("*/*.png")]
    others = {path.relative_to(place / "others") for path in (place / "others").glob("*/*.png")}
    assert (len(examples), len(others), len(others & set(examples))) == (50, 747, 0)
    assert {len(list(folder.iterdir())) for folder in (place / "examples").iterdir()} == {5}


def test_every_picture_is_sorted(place):
    assert len(rows(place / "predictions" / "first" / "others-protonets" / "predictions.csv")) == 747


@pytest.mark.slow
def test_the_page_as_it_stands_gives_about_the_accuracy_that_it_shows(tmp_path):
    for name, code in scripts().items():
        (tmp_path / name).write_text(code)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    for kind, code in BLOCKS:
        if kind == "bash":
            environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
            subprocess.run(["bash", "-e", "-c", code], cwd=tmp_path, env=environment, check=True)
    found = rows(tmp_path / "predictions" / "first" / "others-protonets" / "predictions.csv")
    accuracy = 100 * sum(row["class"] == row["predicted"] for row in found) / len(found)
    shown = float(re.search(r"^accuracy ([\d.]+)%", PAGE, re.MULTILINE)[1])
    assert accuracy == pytest.approx(shown, abs=4)  # rounding differs between machines, and 500 steps amplify it
