"""Results of one or more runs in the layout of the paper's tables, beside its figures."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cactus_tf import plugins
from cactus_tf.config.schema import from_saved, option
from cactus_tf.errors import InputError
from cactus_tf.report.published import RECALLED, PublishedRow, figures
from cactus_tf.types import Task
from cactus_tf.utils import sealed

_REMEDY = "rerun the run's command, which writes it again"
_BY_SEED = ("seed", "accuracy", "ci95", "unanswered")


class Cell(NamedTuple):
    """Our accuracy at one task, in %.

    Attributes:
      mean: over the seeds.
      ci95: half width of its 95% interval: over tasks for one run, over seeds (Student's t) for several.
      seeds: number of runs.
      paper: the published figure, or None.
    """

    mean: float
    ci95: float
    seeds: int
    paper: float | None


@dataclasses.dataclass(frozen=True)
class _Row:
    """What a table reads of a row of results.json."""

    dataset: str
    split: str
    embedder: str
    partitioner: str
    algo: str
    way: int = option(dataclasses.MISSING, "N", low=1)
    shot: int = option(dataclasses.MISSING, "K", low=1)
    accuracy: float = option(dataclasses.MISSING, "mean, a fraction", low=0, high=1)
    ci95: float = option(dataclasses.MISSING, "half width of its interval", low=0)
    seed: int = option(dataclasses.MISSING, "of the run")
    options: Mapping[str, Any] = option(dataclasses.MISSING, "settings of the learner")


Comparison = dict[PublishedRow, dict[Task, Cell]]
"""Rows in the paper's order, then the others."""


def read_rows(run: Path) -> list[dict[str, Any]]:
    """The rows of a run's results.json.

    Args:
      run: the run's folder, or the file itself.
    """
    path = run if run.is_file() else run / "results.json"
    if not path.is_file():
        raise InputError(f"{run} has no results.json: name the folder of a run that was evaluated")
    rows = sealed.read(path, _REMEDY).get("rows")
    if not isinstance(rows, list):
        raise InputError(f"{path} is not the results.json of a run: it has no rows")
    for row in rows:
        _check_row(row, path)
    return rows


def _check_row(row: Any, path: Path) -> None:
    names = {field.name for field in dataclasses.fields(_Row)}
    try:
        from_saved(_Row, {n: v for n, v in row.items() if n in names} if isinstance(row, Mapping) else row)
    except InputError as error:
        raise InputError(f"{path} has a damaged row ({error}): {_REMEDY}") from error


def compare(rows: Sequence[Mapping[str, Any]]) -> Comparison:
    """Accuracies by row and task, averaged over seeds."""
    _check_alike(rows)
    published = figures()
    gathered: dict[PublishedRow, dict[Task, dict[int, Mapping]]] = {}
    for row in rows:
        seeds = gathered.setdefault(row_of(row), {}).setdefault((row["way"], row["shot"]), {})
        if _settled(seeds.setdefault(row["seed"], row)) != _settled(row):
            raise InputError(
                f"two runs of {label(row_of(row))} with seed {row['seed']} differ in length or settings: compare them "
                "one at a time"
            )
        if _settings(next(iter(seeds.values()))) != _settings(row):
            raise InputError(
                f"runs of {label(row_of(row))} differ in more than the seed, so they have no common mean: compare them "
                "one at a time"
            )
    order = [row for row in published if row in gathered] + [row for row in gathered if row not in published]
    return {
        row: {
            task: _cell(list(seeds.values()), published.get(row, {}).get(task)) for task, seeds in gathered[row].items()
        }
        for row in order
    }


def row_of(row: Mapping[str, Any]) -> PublishedRow:
    """The row of the paper's tables that a row of results.json belongs to.

    results.json has the embedder and partitioner of the whole run. A learner without outer steps uses no tasks;
    training from scratch, true labels and random labels use no embeddings. Hyperplanes without a margin (the paper's
    have one) and meta-learners of 0 steps get rows of their own.
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
    if options.get("rounds", 1) > 1 and tasks not in ("none", "untrained"):
        tasks = f"{tasks}, {options['rounds']} rounds"
        tasks += ", true labels in the first" if options.get("first_partitioner") == "labels" else ""
    return PublishedRow(row["dataset"], embedder, tasks, row["algo"])


def label(row: PublishedRow) -> str:
    """Its name in the paper."""
    known = row.algo in plugins.names("learners")
    name = plugins.info("learners", row.algo).title if known else row.algo.replace("_", " ")
    if row.tasks == "none":
        return name
    if row.tasks == "untrained":
        return f"{name} (untrained)"
    tasks, _, more = row.tasks.partition(", ")
    if tasks == "random":
        return f"{name} (random labels{', ' * bool(more)}{more})"
    if tasks == "labels":
        return f"Oracle-{name}" + (f" ({more})" if more else "")
    return f"CACTUs-{name}" + ("" if row.tasks == "kmeans" else f" ({row.tasks})")


def markdown(comparison: Comparison) -> str:
    """A Markdown table: our accuracy with its interval, the paper's, and the difference."""
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


STYLES: Mapping[str, Callable[[Comparison], str]] = {"markdown": markdown, "csv": as_csv, "latex": latex}


def lines_of(comparison: Comparison) -> list[list[str]]:
    """Per row: ours and, if the paper has the row, the paper's and the difference."""
    tasks, lines = tasks_of(comparison), []
    for row, cells in comparison.items():
        own = [cells.get(task) for task in tasks]
        seeds = max(cell.seeds for cell in cells.values())
        ours = "ours" if seeds == 1 else f"ours, {seeds} seeds"
        lines.append([row.embedder, label(row), ours, *[f"{c.mean:.2f} ± {c.ci95:.2f}" if c else "" for c in own]])
        if any(c and c.paper is not None for c in own):
            theirs = "paper, recalled" if row in RECALLED else "paper"
            lines.append(["", "", theirs, *[f"{c.paper:.2f}" if c and c.paper is not None else "" for c in own]])
            differences = [f"{c.mean - c.paper:+.2f}" if c and c.paper is not None else "" for c in own]
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
    """What determines a row's result; for a baseline, without the tasks of the run's meta-learners."""
    own = {name: value for name, value in row.items() if name != "against"}
    if "steps" in row["options"]:
        return own
    others = ("clusters", "partitions", f"{row['partitioner']}_")
    options = {name: value for name, value in row["options"].items() if not name.startswith(others)}
    return {**own, "partitioner": "none", "options": options}


def _settings(row: Mapping[str, Any]) -> dict[str, Any]:
    """What rows of several seeds must share."""
    return {name: value for name, value in _settled(row).items() if name not in _BY_SEED}


def _check_alike(rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        raise InputError("these runs have no results: evaluate them first")
    for field in ("dataset", "split"):
        values = sorted({row[field] for row in rows})
        if len(values) > 1:
            raise InputError(
                f"these runs have several {field}s, {', '.join(values)}: a table shows one, so name runs of one"
            )


def _escaped(text: str) -> str:
    return text.replace("±", r"$\pm$").replace("_", r"\_").replace("%", r"\%")
