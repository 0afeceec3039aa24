"""Results of several runs in the layout of the paper's tables, beside its figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cactus_tf.errors import InputError
from cactus_tf.report.published import RECALLED, Row, figures
from cactus_tf.utils import files

Task = tuple[int, int]
"""(way, shot)"""

_OF_THE_SEED = ("seed", "accuracy", "ci95", "unanswered")
_NAMES = {
    "maml": "MAML",
    "protonets": "ProtoNets",
    "nearest_neighbours": "nearest neighbours",
    "logistic_regression": "linear classifier",
    "mlp_dropout": "MLP with dropout",
    "cluster_matching": "cluster matching",
    "scratch": "training from scratch",
}


class Cell(NamedTuple):
    """Our accuracy at one task, in %.

    Attributes:
      mean: over the seeds.
      ci95: half width of its 95% interval: of the tasks of the only run, else of the mean over seeds (Student's t).
      seeds: number of runs.
      paper: the published figure, None where there is none.
    """

    mean: float
    ci95: float
    seeds: int
    paper: float | None


Comparison = dict[Row, dict[Task, Cell]]
"""Rows in the paper's order, then what it does not have."""


def read_rows(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's results.json.

    Args:
      run: the run's folder, or the file itself.

    Raises:
      InputError: there is none, or it is damaged.
    """
    path = run if run.is_file() else run / "results.json"
    if not path.is_file():
        raise InputError(f"{run} holds no results.json: name the folder of a run that was evaluated")
    rows = files.read_json(path)
    if not isinstance(rows, dict) or not isinstance(rows.get("rows"), list):
        raise InputError(f"{path} is no results.json of a run; name another")
    return rows["rows"]


def compare(rows: Sequence[Mapping[str, Any]]) -> Comparison:
    """Accuracies by row and task, seeds taken together.

    Raises:
      InputError: rows of several data sets or splits, runs of the same seed and row that differ, or no rows.
    """
    _check_alike(rows)
    published = figures()
    gathered: dict[Row, dict[Task, dict[int, Mapping]]] = {}
    for row in rows:
        seeds = gathered.setdefault(row_of(row), {}).setdefault((row["way"], row["shot"]), {})
        if _settled(seeds.setdefault(row["seed"], row)) != _settled(row):
            raise InputError(
                f"two runs of {label(row_of(row))} have seed {row['seed']} and differ in length or settings: "
                "compare them one at a time"
            )
        if _settings(next(iter(seeds.values()))) != _settings(row):
            raise InputError(
                f"runs of {label(row_of(row))} of several seeds differ in length or settings, too, so they have no "
                "common mean: compare them one at a time"
            )
    order = [row for row in published if row in gathered] + [row for row in gathered if row not in published]
    return {
        row: {
            task: _cell(list(seeds.values()), published.get(row, {}).get(task)) for task, seeds in gathered[row].items()
        }
        for row in order
    }


def row_of(row: Mapping[str, Any]) -> Row:
    """The row of the paper's tables that a row of results.json belongs to.

    Embedder and partitioner are the run's there: a learner without outer steps learns from no tasks, training from
    scratch reads no embeddings, nor do tasks from true or random labels. The paper's hyperplanes have a margin; those
    without one stand apart, as does a learner of no steps, which has not learned from any tasks.
    """
    options = row["options"]
    tasks = row["partitioner"] if "steps" in options else "none"
    if tasks == "kmeans" and options.get("partitions") == 1:
        tasks = "kmeans, P = 1"
    if tasks == "hyperplanes" and options.get("hyperplanes_margin") == 0:
        tasks = "hyperplanes, m = 0"
    if options.get("steps") == 0:
        tasks = "untrained"
    fraction = options.get("supervised_fraction")
    tasks = f"{tasks}, true labels {fraction:g}" if fraction else tasks
    embedder = "none" if row["algo"] == "scratch" or tasks in ("labels", "random", "untrained") else row["embedder"]
    return Row(row["dataset"], embedder, tasks, row["algo"])


def label(row: Row) -> str:
    """How the paper calls it."""
    name = _NAMES.get(row.algo, row.algo.replace("_", " "))
    if row.tasks == "none":
        return name
    if row.tasks == "labels":
        return f"Oracle-{name}"
    if row.tasks == "untrained":
        return f"{name} (untrained)"
    how = "" if row.tasks == "kmeans" else f" ({row.tasks})"
    return f"CACTUs-{name}{how}" if row.tasks != "random" else f"{name} (random labels)"


def markdown(comparison: Comparison) -> str:
    """A Markdown table: ours with its interval, the paper's figure, and the difference."""
    head = ["embedding", "method", "", *[f"{way}-way {shot}-shot" for way, shot in tasks_of(comparison)]]
    lines = [head, ["---"] * len(head), *lines_of(comparison)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def latex(comparison: Comparison) -> str:
    """The same as a LaTeX tabular."""
    tasks = tasks_of(comparison)
    head = ["embedding", "method", "", *[f"({way}, {shot})" for way, shot in tasks]]
    body = [" & ".join(map(_escaped, line)) + r" \\" for line in lines_of(comparison)]
    begin, rule = rf"\begin{{tabular}}{{lll{'r' * len(tasks)}}}", r"\hline"
    return "\n".join([begin, rule, " & ".join(head) + r" \\", rule, *body, rule, r"\end{tabular}", ""])


def as_csv(comparison: Comparison) -> str:
    """A line per row and task; accuracies in %."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["dataset", "embedder", "tasks", "algo", "way", "shot", "seeds", "accuracy", "ci95", "paper", "difference"]
    )
    for row, cells in comparison.items():
        for (way, shot), cell in sorted(cells.items()):
            ours = [cell.seeds, f"{cell.mean:.2f}", f"{cell.ci95:.2f}"]
            paper = ["", ""] if cell.paper is None else [f"{cell.paper:.2f}", f"{cell.mean - cell.paper:+.2f}"]
            writer.writerow([*row, way, shot, *ours, *paper])
    return text.getvalue()


FORMATS: Mapping[str, Callable[[Comparison], str]] = {"markdown": markdown, "csv": as_csv, "latex": latex}


def lines_of(comparison: Comparison) -> list[list[str]]:
    """Per row the texts of ours, the paper's and the difference, the latter two where there is any."""
    tasks, lines = tasks_of(comparison), []
    for row, cells in comparison.items():
        found = [cells.get(task) for task in tasks]
        seeds = max(cell.seeds for cell in cells.values())
        ours = "ours" if seeds == 1 else f"ours, {seeds} seeds"
        lines.append([row.embedder, label(row), ours, *[f"{c.mean:.2f} ± {c.ci95:.2f}" if c else "" for c in found]])
        if any(c and c.paper is not None for c in found):
            theirs = "paper, recalled" if row in RECALLED else "paper"
            lines.append(["", "", theirs, *[f"{c.paper:.2f}" if c and c.paper is not None else "" for c in found]])
            differences = [f"{c.mean - c.paper:+.2f}" if c and c.paper is not None else "" for c in found]
            lines.append(["", "", "difference", *differences])
    return lines


def tasks_of(comparison: Comparison) -> list[Task]:
    """Every (way, shot) that a row has, sorted."""
    return sorted({task for cells in comparison.values() for task in cells})


def _cell(rows: Sequence[Mapping[str, Any]], paper: float | None) -> Cell:
    from scipy.stats import t

    values, n = 100 * np.array([row["accuracy"] for row in rows]), len(rows)
    if n == 1:
        return Cell(float(values[0]), 100 * rows[0]["ci95"], 1, paper)
    half = t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return Cell(float(values.mean()), float(half), n, paper)


def _settled(row: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a row's result; of a baseline not the tasks that another learner of the same run learned from."""
    own = {name: value for name, value in row.items() if name != "against"}
    if "steps" in row["options"]:
        return own
    others = ("clusters", "partitions", f"{row['partitioner']}_")
    options = {name: value for name, value in row["options"].items() if not name.startswith(others)}
    return {**own, "partitioner": "none", "options": options}


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    """What rows of several seeds have in common."""
    return {name: value for name, value in _settled(row).items() if name not in _OF_THE_SEED}


def _check_alike(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        raise InputError("these runs have no results: evaluate one first")
    for field in ("dataset", "split"):
        found = sorted({row[field] for row in rows})
        if len(found) > 1:
            raise InputError(
                f"these runs are of the {field}s {', '.join(found)}: a table is of one, so name runs of one"
            )


def _escaped(text: str) -> str:
    return text.replace("±", r"$\pm$").replace("_", r"\_").replace("%", r"\%")
