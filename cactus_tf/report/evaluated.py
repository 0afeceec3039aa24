"""The sections of the page on evaluation: which classes a learner confuses, and the tasks that it solves worst."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.fewshot.episodes import Episodes, gather
from cactus_tf.report import figures, tiles
from cactus_tf.report.mistakes import Confusion, confusion, correct, hardest
from cactus_tf.report.page import Picture, Section, Table
from cactus_tf.report.run import Run
from cactus_tf.runs import predictions
from cactus_tf.types import ImageSet

_HARDEST, _CLASSES, _EXAMPLES = 3, 8, 5
_COUNTED = 2000  # episodes whose predictions are counted by class
_MATRIX = 30  # classes of a legible confusion matrix
_COUNTABLE = 2000  # classes whose pairs are counted


def mistakes_of(run: Run, name: str) -> Section | None:
    """Which true classes the learner of this name confuses, at the first way and shot."""
    evaluated = first_evaluated(run, name)
    if evaluated is None:
        return None
    row, episodes, predicted = evaluated
    if len(episodes.partitions[0].sizes) > _COUNTABLE:
        return None
    counted = confusion(episodes, predicted[:_COUNTED])
    if counted is None:
        return None
    images = run.data[run.plan.evaluation.split]
    names = class_names(images)
    text = (
        f"Predictions by true class in {min(len(predicted), _COUNTED):,} {row['way']}-way {row['shot']}-shot tasks. "
        "Shares are of the queries whose task had both classes, so those of one true class may add up to more than "
        "100%."
    )
    pictures = []
    if len(names) <= _MATRIX:
        caption = "Predicted class by true class, in % of the queries whose task had both."
        alt = "Confusion matrix: predictions in % of the queries of each true class; the table has the worst."
        pictures = [figures.chart(figures.confusion_figure(counted.rates, names), alt, caption)]
    tables = [confusion_table(counted, names, images, run.images is not None)]
    return Section(f"Mistakes of {name}", [text], tables, pictures)


def confusion_table(counted: Confusion, names: Sequence[str], images: ImageSet, drawn: bool) -> Table:
    """The hardest classes, and what each is most often mistaken for."""
    wrong = counted.counts - np.diag(np.diag(counted.counts))
    met = np.flatnonzero(np.diag(counted.together) > 0)
    worst = met[np.argsort(counted.accuracy[met], kind="stable")][:_CLASSES]

    def cells(c: int) -> list[str | Picture]:
        return [names[c], *([_examples(images, c, names[c])] if drawn else [])]

    lines = []
    for c in worst:
        other = int(np.argmax(wrong[c]))
        share = f"{wrong[c, other]:,} of {counted.together[c, other]:,} queries"
        mistaken = cells(other) if wrong[c, other] else [""] * (1 + drawn)
        lines.append([*cells(c), f"{100 * counted.accuracy[c]:.1f}", *mistaken, share if wrong[c, other] else ""])
    examples = [""] if drawn else []
    head = ["hardest class", *examples, "accuracy in %", "most often mistaken for", *examples, ""]
    return Table(head, lines, (0, 1, 3, 4) if drawn else (0, 2))


def class_names(images: ImageSet) -> list[str]:
    """Names of the classes of the first true partition: the folders of the images' files, else numbers."""
    assert images.partitions is not None
    classes = images.partitions[0]
    if images.names is None:
        return [str(c) for c in range(len(classes.sizes))]
    names = images.names
    return [Path(names[classes.cluster(c)[0]].decode()).parent.name or str(c) for c in range(len(classes.sizes))]


def _examples(images: ImageSet, c: int, name: str) -> Picture:
    assert images.partitions is not None
    numbers = images.partitions[0].cluster(c)[:_EXAMPLES]
    row = tiles.tiles(gather(images.images, numbers), tiles.drawings(images.images))
    return tiles.picture(tiles.sheet([row], gap=1), f"images of class {name}", "")


def hardest_of(run: Run, name: str) -> Section | None:
    """The evaluation tasks of least accuracy, drawn."""
    evaluated = first_evaluated(run, name)
    if evaluated is None or run.images is None:
        return None
    row, episodes, predicted = evaluated
    right, pictures = correct(predicted), []
    for i in hardest(predicted, _HARDEST):
        episode, mean = episodes[int(i)], 100 * right[i].mean()
        drawn = tiles.task(episode.support, episode.query, ~right[i], tiles.drawings(episodes.rows))
        caption = f"Task {i}: accuracy {mean:.1f}%."
        pictures.append(tiles.picture(drawn, f"{caption} A row per true class; wrong predictions are marked.", caption))
    text = (
        f"The {len(pictures)} of {len(predicted):,} {row['way']}-way {row['shot']}-shot tasks with the lowest "
        "accuracy. A row per true class: support images framed in blue, then queries, in gray if the prediction is "
        "correct, in orange with a marked corner if it is wrong."
    )
    return Section(f"Hardest tasks of {name}", [text], pictures=pictures)


def first_evaluated(run: Run, name: str) -> tuple[Mapping[str, Any], Episodes, np.ndarray] | None:
    """A learner's first row of the results, its episodes and predictions [episodes, way, query]; None if not stored."""
    row, split = next(row for row in run.rows if row["algo"] == name), run.plan.evaluation.split
    task = (row["way"], row["shot"])
    predicted = predictions.of_queries(run.folder / name, split, task, row["query"])
    images = run.data[split]
    if predicted is None or images.partitions is None:
        return None
    return row, run.plan.evaluation.tasks(images.images, images.partitions, *task), predicted
