"""The parts of the page that say what came out, of which settings, and how to do it again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cactus_tf.report import comparison, figures
from cactus_tf.report.page import Section, Table
from cactus_tf.report.published import RECALLED
from cactus_tf.report.run import Run
from cactus_tf.runs import results
from cactus_tf.utils import files


def results_of(run: Run) -> Section:
    """The result in a sentence, a table and a chart."""
    if not run.rows:
        return Section("Result", [f"Nothing was judged: the split to judge on has no labels; {results.JUDGED_WITH}."])
    compared = comparison.compare(run.rows)
    paragraphs = [sentence(run.rows[0]), *_remarks(run.rows, compared)]
    picture = figures.chart(
        figures.accuracy_figure(run.rows),
        "Bar chart of the accuracies in the table above, with 95% intervals and the level of chance.",
        "Mean accuracy with its 95% interval; dotted: chance.",
    )
    return Section("Result", paragraphs, [result_table(run.rows, compared)], [picture])


def sentence(row: Mapping[str, Any]) -> str:
    """One row of results.json in words."""
    learnt = {"labels": "true labels", "none": "no tasks"}.get(row["partitioner"], f"{row['partitioner']} clusters")
    source = "" if row["embedder"] == "none" else f" of {row['embedder']} embeddings"
    how = f", meta-trained on tasks from {learnt}{source if learnt.endswith('clusters') else ''},"
    return (
        f"{row['algo']}{how if 'steps' in row['options'] else ''} gives {100 * row['accuracy']:.2f} ± "
        f"{100 * row['ci95']:.2f} % of the queries their right class in {row['way']}-way {row['shot']}-shot tasks "
        f"of the {row['split']} split of {row['dataset']}, where chance gives {100 / row['way']:.2f} %."
    )


def _remarks(rows: Sequence[Mapping[str, Any]], compared: comparison.Comparison) -> list[str]:
    first = rows[0]
    said = [
        f"Accuracy in %: the mean over {first['episodes']:,} tasks of {first['query']} queries per class, ± half of "
        "its 95% interval. Learners are judged on the same tasks."
    ]
    if any("against" in row for row in rows):
        said.append("A difference from the first learner is taken task by task, so its interval is narrower.")
    if any(cell.paper is not None for cells in compared.values() for cell in cells.values()):
        said.append("Paper: Hsu, Levine, Finn, Unsupervised Learning via Meta-Learning, ICLR 2019.")
    leaking = sorted({row["algo"] for row in rows if row.get("leak")})
    if leaking:
        said.append(f"{', '.join(leaking)} saw the labels of the queries: no accuracy on unseen images.")
    return said


def result_table(rows: Sequence[Mapping[str, Any]], compared: comparison.Comparison) -> Table:
    """Ours with its interval and difference from the first learner; below it the paper's figure and the difference."""
    tasks = comparison.tasks_of(compared)
    lines: list[list[str]] = []

    def add(name: str, text: Callable, found: Mapping[comparison.Task, Any]) -> None:
        if any(value is not None for value in found.values()):
            lines.append([name, *(text(found[t]) if found.get(t) is not None else "" for t in tasks)])

    for row, cells in compared.items():
        own = {(r["way"], r["shot"]): r for r in rows if comparison.row_of(r) == row}
        pairs = {task: r.get("against") for task, r in own.items()}
        add(comparison.label(row), lambda c: f"{c.mean:.2f} ± {c.ci95:.2f}", cells)
        first = next((pair["algo"] for pair in pairs.values() if pair), "")
        add(f"less {first}, by task", lambda p: f"{100 * p['difference']:+.2f} ± {100 * p['ci95']:.2f}", pairs)
        paper = {task: cell if cell.paper is not None else None for task, cell in cells.items()}
        add("the paper" + (", recalled" if row in RECALLED else ""), lambda c: f"{c.paper:.2f}", paper)
        add("less the paper", lambda c: f"{c.mean - c.paper:+.2f}", paper)
    return Table(["accuracy in %", *(f"{way}-way {shot}-shot" for way, shot in tasks)], lines)


def settings_of(run: Run) -> Section:
    """The resolved configuration."""
    lines = [
        [section, name, results.plain(value)]
        for section, said in results.sections(run.plan.settings).items()
        for name, value in said.items()
    ]
    return Section("Configuration", tables=[Table(["section", "setting", "value"], lines, (0, 1, 2))])


def reproduction_of(run: Run) -> Section:
    """The command, versions and times."""
    kept = files.read_json(run.folder / "config.json")
    seconds = files.read_json(run.folder / "seconds.json")
    tables = [
        Table(["stage", "seconds"], [[name, f"{value:.1f}"] for name, value in seconds.items() if name != "report"]),
        Table(["package", "version"], [[name, version] for name, version in kept["package_versions"].items()]),
    ]
    text = (
        f"Seed {run.plan.run.seed}. The command goes on from what is in the run's folder; in another one it begins "
        "anew. Numbers are in results.json and results.csv, every answer to the tasks in the learners' folders."
    )
    return Section("To do it again", [text], tables, typed=kept["command"])
