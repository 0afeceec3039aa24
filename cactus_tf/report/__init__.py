"""The report of a run: report.html, clusters.html to browse, and some of its pictures as PNG files.

The pipeline imports the names in `__all__`, `run_events`, `inspection` and `sheets`; the table command imports
`comparison`.
"""

from __future__ import annotations

from cactus_tf.report import browsing, embedding_map, evaluated, figures, result, sheets, tiles, training
from cactus_tf.report.page import Section, render
from cactus_tf.report.run import Run, pictured
from cactus_tf.utils import files

__all__ = ["Run", "pictured", "sections", "write", "write_pictures"]

_TRAINING = (
    result.results_of,
    training.rounds_of,
    training.tasks_of,
    training.clusters_of,
    embedding_map.map_of,
    training.embedder_of,
    training.training_of,
    training.adaptation_of,
)
_EACH_LEARNER = (evaluated.mistakes_of, evaluated.hardest_of)
_LAST = (result.settings_of, result.reproduction_of)


def write(run: Run) -> None:
    """Writes report.html and, if the run has what they show, clusters.html and PNG files.

    The PNG files are accuracy, learning_curve, clusters and tasks.
    """
    write_pictures(run)
    browsing.write(run)
    title = f"{', '.join(run.plan.run.algo)} on {run.subject}"
    page = render(title, f"cactus_tf, {run.folder.name}", sections(run))
    files.write_text(run.folder / "report.html", page)


def sections(run: Run) -> list[Section]:
    """The sections of the page, without those that the run has nothing for."""
    made = [section(run) for section in _TRAINING]
    made += [section(run, name) for name in dict.fromkeys(row["algo"] for row in run.rows) for section in _EACH_LEARNER]
    made += [section(run) for section in _LAST]
    return [section for section in made if section]


def write_pictures(run: Run) -> None:
    """Writes the PNG files; clusters and tasks only for images, not for features."""
    if run.rows:
        figures.save(figures.accuracy_figure(run.rows), run.folder / "accuracy.png")
    if run.histories:
        figures.save(figures.curve_figure(run.histories), run.folder / "learning_curve.png")
    if run.images is not None and len(run.partitions):
        figures.save(sheets.cluster_figure(run.images, run.partitions[0]), run.folder / "clusters.png")
    if run.tasks is not None:
        figures.save(sheets.task_figure(run.tasks, tiles.drawings(run.tasks.rows)), run.folder / "tasks.png")
