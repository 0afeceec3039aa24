"""What a run found, as one page: report.html, and some of its pictures as files of their own."""

from __future__ import annotations

from cactus_tf.report import evaluated, figures, result, tiles, training
from cactus_tf.report.page import Section, render
from cactus_tf.report.run import Run, pictured
from cactus_tf.utils import files

__all__ = ["Run", "pictured", "sections", "write", "write_pictures"]

_LEARNT = (
    result.results_of,
    training.tasks_of,
    training.clusters_of,
    training.embedder_of,
    training.training_of,
    training.adaptation_of,
)
_JUDGED = (evaluated.mistakes_of, evaluated.hardest_of)  # of each learner
_SAID = (result.settings_of, result.reproduction_of)


def write(run: Run) -> None:
    """Writes report.html and, of what there is, accuracy.png, learning_curve.png, clusters.png and tasks.png."""
    write_pictures(run)
    title = f"{', '.join(run.plan.run.algo)} on {run.plan.data.dataset}"
    page = render(title, f"cactus_tf, {run.folder.name}", sections(run))
    files.write_text(run.folder / "report.html", page)


def sections(run: Run) -> list[Section]:
    """The parts of the page that there is something to show of."""
    made = [part(run) for part in _LEARNT]
    made += [part(run, name) for name in dict.fromkeys(row["algo"] for row in run.rows) for part in _JUDGED]
    made += [part(run) for part in _SAID]
    return [section for section in made if section]


def write_pictures(run: Run) -> None:
    """Writes the pictures that are files of their own; where there are only features, none of clusters and tasks."""
    if run.rows:
        figures.save(figures.accuracy_figure(run.rows), run.folder / "accuracy.png")
    if run.histories:
        figures.save(figures.curve_figure(run.histories), run.folder / "learning_curve.png")
    if run.images is not None and len(run.partitions):
        figures.save(figures.cluster_figure(run.images, run.partitions[0]), run.folder / "clusters.png")
    if run.tasks is not None:
        paper = tiles.drawings(run.tasks.rows)
        figures.save(figures.task_figure(run.tasks, paper), run.folder / "tasks.png")
