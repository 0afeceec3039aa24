"""The sections of the page on the result, the settings and how to reproduce it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cactus_tf.report import comparison, figures
from cactus_tf.report.page import Section, Table
from cactus_tf.report.published import RECALLED
from cactus_tf.report.run import Run
from cactus_tf.runs import results
from cactus_tf.types import Task
from cactus_tf.utils import files


def results_of(run: Run) -> Section:
    """The result in a sentence, a table and a chart."""
    if not run.rows:
        text = f"No accuracy, because the evaluation split has no labels; {results.EVAL_DIR_HINT}."
        return Section("Result", [text])
    compared = comparison.compare(run.rows)
    paragraphs = [sentence(run.rows[0]), *_remarks(run.rows, compared)]
    picture = figures.chart(
        figures.accuracy_figure(run.rows),
        "Bar chart of the accuracies in the table above, with 95% intervals and chance level.",
        "Mean accuracy with its 95% interval; dotted: chance.",
    )
    return Section("Result", paragraphs, [result_table(run.rows, compared)], [picture])


def sentence(row: Mapping[str, Any]) -> str:
    """One row of results.json in words."""
    sources = {"labels": "true labels", "random": "random labels", "instances": "copies of single images"}
    source = sources.get(row["partitioner"])
    if source is None:
        embeddings = "" if row["embedder"] == "none" else f" of {row['embedder']} embeddings"
        source = f"{row['partitioner']} clusters{embeddings}"
    of = "" if row["dataset"] == "folder" else f" of {row['dataset']}"
    how = f", meta-trained on tasks from {source}," if "steps" in row["options"] else ""
    return (
        f"{row['algo']}{how} classifies {100 * row['accuracy']:.2f} ± {100 * row['ci95']:.2f}% of the queries "
        f"correctly in {row['way']}-way {row['shot']}-shot tasks of the {row['split']} split{of}; "
        f"chance is {100 / row['way']:.2f}%."
    )


def _remarks(rows: Sequence[Mapping[str, Any]], compared: comparison.Comparison) -> list[str]:
    first = rows[0]
    remarks = [
        f"Accuracy in %: mean over {first['episodes']:,} tasks of {first['query']} queries per class, ± half width of "
        "its 95% interval. All learners are evaluated on the same tasks."
    ]
    if any("against" in row for row in rows):
        remarks.append("Differences from the first learner are taken task by task, so their intervals are narrower.")
    if any(cell.paper is not None for cells in compared.values() for cell in cells.values()):
        remarks.append("Paper: Hsu, Levine, Finn, Unsupervised Learning via Meta-Learning, ICLR 2019.")
    leaking = sorted({row["algo"] for row in rows if row.get("leak")})
    if leaking:
        remarks.append(f"{', '.join(leaking)} used the labels of the queries: not an accuracy on unseen images.")
    return remarks


def result_table(rows: Sequence[Mapping[str, Any]], compared: comparison.Comparison) -> Table:
    """Per learner: its accuracy, the difference from the first learner, the paper's figure, the difference from it."""
    tasks = comparison.tasks_of(compared)
    lines: list[list[str]] = []

    def add(name: str, text: Callable, values: Mapping[Task, Any]) -> None:
        if any(value is not None for value in values.values()):
            lines.append([name, *(text(values[t]) if values.get(t) is not None else "" for t in tasks)])

    for row, cells in compared.items():
        own = {(r["way"], r["shot"]): r for r in rows if comparison.row_of(r) == row}
        pairs = {task: r.get("against") for task, r in own.items()}
        add(comparison.label(row), lambda c: f"{c.mean:.2f} ± {c.ci95:.2f}", cells)
        first = next((pair["algo"] for pair in pairs.values() if pair), "")
        add(f"against {first}", lambda p: f"{100 * p['difference']:+.2f} ± {100 * p['ci95']:.2f}", pairs)
        paper = {task: cell if cell.paper is not None else None for task, cell in cells.items()}
        add("the paper" + (", recalled" if row in RECALLED else ""), lambda c: f"{c.paper:.2f}", paper)
        add("against the paper", lambda c: f"{c.mean - c.paper:+.2f}", paper)
    return Table(["accuracy in %", *(f"{way}-way {shot}-shot" for way, shot in tasks)], lines)


def settings_of(run: Run) -> Section:
    """The resolved configuration."""
    lines = [
        [section, name, results.plain(value)]
        for section, values in run.plan.sections.items()
        for name, value in values.items()
    ]
    return Section("Configuration", tables=[Table(["section", "setting", "value"], lines, (0, 1, 2))])


def reproduction_of(run: Run) -> Section:
    """The command, versions and times."""
    config = files.read_json(run.folder / "config.json")
    seconds = files.read_json(run.folder / "seconds.json")
    tables = [
        Table(["stage", "seconds"], [[name, f"{value:.1f}"] for name, value in seconds.items() if name != "report"]),
        Table(["package", "version"], [[name, version] for name, version in config["package_versions"].items()]),
    ]
    text = (
        f"Seed {run.plan.run.seed}. The command below resumes this run; with another --workdir it trains again, from "
        "the same artifacts. Accuracies are in results.json and results.csv, the predictions for every query in the "
        "learners' folders."
    )
    return Section("Reproduce this run", [text], tables, preformatted=config["command"])
