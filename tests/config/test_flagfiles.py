"""The settings and the header of every flagfile; test_flagfile_runs.py runs them."""

import functools
import json
import re
from pathlib import Path

import a_run
import numpy as np
import pytest
from benchmark_scripts import script

from cactus_tf.config import flags
from cactus_tf.config.flagfiles import with_flagfiles
from cactus_tf.errors import InputError
from cactus_tf.report import comparison
from cactus_tf.report.published import RECALLED, figures
from cactus_tf.types import Accuracy

ROOT = Path(__file__).parents[2]
FLAGFILES = sorted((ROOT / "flags").glob("*.txt"))
EACH = pytest.mark.parametrize("path", FLAGFILES, ids=lambda p: p.stem)


@functools.cache
def config_of(path):
    return flags.parse([f"--flagfile={path}"])


def rows(config):
    """The row of the paper's tables that each learner of a flagfile belongs to."""
    nothing = Accuracy(0.0, 0.0, np.zeros(1))
    return [comparison.row_of(a_run.row(config, name, (5, 1), nothing)) for name in config.run.algo]


def labeled(path, label):
    """The text of a label of the header."""
    lines = re.sub(r"\n#   ", " ", path.read_text())
    return re.search(rf"^# {label}: (.*)$", lines, re.MULTILINE)[1]


@EACH
def test_every_flagfile_is_a_valid_configuration_of_the_data_set_in_its_name(path):
    assert path.stem.split("_")[0] == config_of(path).data.dataset


@EACH
def test_every_header_has_the_same_labels_in_the_same_order(path):
    labels = re.findall(r"^# (\w+): ", path.read_text(), re.MULTILINE)
    assert labels[:5] == ["Experiment", "Paper", "Expected", "Time", "Run"]
    assert re.fullmatch(r"(Measured )?(Source )?(Note )*", " ".join([*labels[5:], ""]))


@EACH
def test_every_comment_belongs_to_the_header_and_to_a_label(path):
    text = path.read_text()
    assert re.fullmatch(r"(# \w+: .+\n(#   \S.*\n)*)+(--.+\n)+", text)


@EACH
def test_every_header_has_the_command(path):
    assert f"# Run: python -m cactus_tf.main --flagfile=flags/{path.name}" in path.read_text()


@EACH
def test_every_header_names_the_source_in_the_paper_or_states_that_there_is_none(path):
    assert re.fullmatch(r"Hsu et al\. 2019, .+\.|not in the paper\.", labeled(path, "Paper"))


@EACH
def test_every_header_has_the_published_figures_of_every_learner_or_states_that_there_are_none(path):
    expected = labeled(path, "Expected")
    published = {row: figures()[row] for row in rows(config_of(path)) if row in figures()}
    for cells in published.values():
        assert " ".join(f"{value:.2f}" for value in cells.values()) in expected
        assert f"accuracy in % at (way, shot) {' '.join(map(str, cells))}: " in expected
    assert expected.count("from memory, not verified") == len(RECALLED & set(published))
    assert expected.startswith("no published figure") == (not published)


@EACH
def test_every_header_has_the_time_that_follows_from_measured_step_times(path):
    times = script("flagfile_times")
    seconds = times.stages(config_of(path))
    assert f"# Time: {times.time_line(sum(seconds.values()) if seconds else None, path.stem)}\n" in path.read_text()


def test_every_measured_figure_is_that_of_the_stored_run():
    measured = [path for path in FLAGFILES if "# Measured: " in path.read_text()]
    assert measured
    for path in measured:
        found = re.fullmatch(r"([\d. ]+) with seed \d+ \((.+?)\), in .+", labeled(path, "Measured"))
        run = json.loads((ROOT / found[2]).read_text())
        assert found[1] == " ".join(f"{100 * row['accuracy']:.2f}" for row in run["rows"])


def test_every_published_figure_has_a_flagfile():
    assert set(figures()) <= {row for path in FLAGFILES for row in rows(config_of(path))}


def test_times_are_written_as_words():
    words = script("flagfile_times").time_line
    assert words(None) == "not measured on 2 cores; one GPU: not measured."
    assert words(3).startswith("about 1 min on 2 cores (estimated from step times); one GPU")
    assert words(47.2 * 60).startswith("about 47 min on")
    assert words(3.14 * 3600).startswith("about 3.1 h on")
    assert words(1234 * 3600).startswith("about 1,200 h on")


TEXT = '--steps=5\r\n# a comment\r\n  // another\r\n\r\n  --data_dir="my pictures"  \r\n--way 7\r\n"--seed = 3"\r\n'
ARGUMENTS = ["--steps=5", "--data_dir=my pictures", "--way=7", "--seed=3"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_flagfile_of_any_editor_gives_the_same_arguments(tmp_path, encoding):
    (tmp_path / "f.txt").write_bytes(TEXT.encode(encoding))
    assert with_flagfiles(["--quiet", f"--flagfile={tmp_path / 'f.txt'}", "x"]) == ["--quiet", *ARGUMENTS, "x"]


def test_a_nested_flagfile_may_lie_beside_the_one_that_includes_it(tmp_path):
    (tmp_path / "inner.txt").write_text("--way=3\n")
    (tmp_path / "outer.txt").write_text("--flagfile=inner.txt\n--shot=2\n")
    assert with_flagfiles(["--flagfile", str(tmp_path / "outer.txt")]) == ["--way=3", "--shot=2"]


def test_a_flagfile_may_lie_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "f.txt").write_text("--way=3")
    assert with_flagfiles(["--flagfile=~/f.txt"]) == ["--way=3"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"--way=3\n--data_dir=f\xfcnf\n", r"f.txt is not UTF-8 text \(line 2\): save it as UTF-8"),
        ("--way=3".encode("utf-16-le"), "f.txt is not UTF-8 text"),
        (b"--flagfile=nowhere.txt", r"--flagfile=nowhere.txt, which .*f.txt includes: there is no such file"),
        (b"--flagfile=f.txt", "--flagfile=f.txt: this flagfile includes itself"),
    ],
)
def test_a_flagfile_that_cannot_be_read_is_named(tmp_path, content, words):
    (tmp_path / "f.txt").write_bytes(content)
    with pytest.raises(InputError, match=words):
        with_flagfiles([f"--flagfile={tmp_path / 'f.txt'}"])


@pytest.mark.parametrize("argument", ["--flagfile=nowhere.txt", "--flagfile=."])
def test_a_flagfile_that_is_not_there_is_named(argument):
    with pytest.raises(InputError, match=f"^{argument}: (there is no such file|not a file)$"):
        with_flagfiles([argument])
