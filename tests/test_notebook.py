"""Runs the code of the notebook: with short lengths, and unchanged."""

import json
import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

NOTEBOOK = json.loads((Path(__file__).parents[1] / "docs" / "quickstart.ipynb").read_text(encoding="utf-8"))
CELLS = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
CODE = "\n".join("".join(cell["source"]) for cell in CELLS)
LENGTHS = re.compile(r"^STEPS, EPISODES = .*?(?=  #)", re.MULTILINE)


@pytest.fixture(autouse=True)
def _no_windows(monkeypatch):
    monkeypatch.setattr(plt, "show", lambda: plt.close("all"))


def run(code):
    """The names that the code leaves, and what it says about accuracy."""
    names = {"__name__": "notebook"}
    exec(code, names)
    return names


def accuracy(names):
    predicted = names["predicted"]
    return np.mean(predicted == names["digit"][names["others"]])


def test_the_notebook_runs(capsys):
    assert LENGTHS.search(CODE)
    names = run(LENGTHS.sub("STEPS, EPISODES = 5, 5", CODE))
    assert 0.3 < accuracy(names) < 1
    assert capsys.readouterr().out.count("10-way") == 4


@pytest.mark.slow
def test_the_unchanged_notebook_reaches_about_the_accuracy_that_it_shows():
    shown = "".join(line for cell in CELLS for output in cell["outputs"] for line in output.get("text", []))
    assert 100 * accuracy(run(CODE)) == pytest.approx(float(re.search(r"^accuracy ([\d.]+)%", shown, re.M)[1]), abs=4)


def test_the_notebook_holds_its_pictures_and_no_path():
    pictures = [output for cell in CELLS for output in cell["outputs"] if "image/png" in output.get("data", {})]
    assert len(pictures) == 5
    assert not re.search(r"/(home|root|Users|tmp|work)/", json.dumps(NOTEBOOK))
