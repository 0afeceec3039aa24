"""What every flagfile says and stands for; that they run is in test_flagfile_runs.py."""

import functools
import importlib.util
import re
from pathlib import Path

import a_run
import numpy as np
import pytest

from cactus_tf.config import flags
from cactus_tf.report import comparison
from cactus_tf.report.published import RECALLED, figures
from cactus_tf.types import Accuracy

ROOT = Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "flags").glob("*.txt"))
EACH = pytest.mark.parametrize("path", FLAGFILES, ids=lambda p: p.stem)


@functools.cache
def config_of(path):
    return flags.parse([f"--flagfile={path}"])


@functools.cache
def flagfile_times():
    """The module of benchmarks/ that estimates them."""
    spec = importlib.util.spec_from_file_location("flagfile_times", ROOT / "benchmarks" / "flagfile_times.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rows(config):
    """The row of the paper's tables that each learner of a flagfile belongs to."""
    nothing = Accuracy(0.0, 0.0, np.zeros(1))
    return [comparison.row_of(a_run.row(config, name, (5, 1), nothing)) for name in config.run.algo]


def header(path):
    """The comment as one line."""
    return " ".join(line[2:] for line in path.read_text().splitlines() if line.startswith("# "))


@EACH
def test_every_flagfile_is_a_valid_configuration_of_the_data_set_that_it_is_called_by(path):
    assert path.stem.split("_")[0] == config_of(path).data.dataset


@EACH
def test_every_header_has_the_command(path):
    assert f"# python -m cactus_tf.main --flagfile=flags/{path.name}" in path.read_text()


@EACH
def test_the_first_lines_name_a_row_of_the_paper_or_say_that_there_is_none(path):
    before = header(path).partition(" Expected: ")[0]
    assert re.search(r"Hsu et al. 2019|no row of the paper", before)


@EACH
def test_the_header_has_the_published_figures_of_every_learner_or_says_that_there_are_none(path):
    expected = header(path).partition("Expected: ")[2].partition(" Time: ")[0]
    published = {row: figures()[row] for row in rows(config_of(path)) if row in figures()}
    for cells in published.values():
        assert " ".join(f"{value:.2f}" for value in cells.values()) in expected
        assert " ".join(map(str, cells)) in expected
    assert expected.count("recalled, not read") == len(RECALLED & set(published))
    assert expected.startswith("no published figure") == (not published)


@EACH
def test_the_header_has_the_time_that_the_measured_steps_add_up_to(path):
    times = flagfile_times()
    found = times.stages(config_of(path))
    assert f"# Time: {times.words(sum(found.values()) if found else None)}\n" in path.read_text()


def test_every_published_figure_has_a_flagfile():
    assert set(figures()) <= {row for path in FLAGFILES for row in rows(config_of(path))}


def test_times_are_said_in_words():
    words = flagfile_times().words
    assert words(None) == "not measured on 2 cores; one GPU: not measured."
    assert words(3).startswith("about 1 min on 2 cores (estimated from step times); one GPU")
    assert words(47.2 * 60).startswith("about 47 min on")
    assert words(3.14 * 3600).startswith("about 3.1 h on")
    assert words(1234 * 3600).startswith("about 1,200 h on")
