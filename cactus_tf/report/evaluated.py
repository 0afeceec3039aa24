"""The parts of the page that show where a learner goes wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.fewshot.episodes import Episodes, gather
from cactus_tf.report import figures, tiles
from cactus_tf.report.mistakes import Confusion, confusion, hardest, right
from cactus_tf.report.page import Picture, Section, Table
from cactus_tf.report.run import Run
from cactus_tf.runs import predictions
from cactus_tf.types import ImageSet

_HARDEST, _CLASSES, _EXAMPLES = 3, 8, 5
_COUNTED = 2000  # episodes whose answers are counted by class
_MATRIX = 30  # classes of a confusion matrix that can be read
_COUNTABLE = 2000  # classes whose pairs are counted


def mistakes_of(run: Run, name: str) -> Section | None:
    """Which true classes the learner of this name mistakes for which, at the first way and shot."""
    judged = first_judged(run, name)
    if judged is None:
        return None
    row, episodes, given = judged
    if len(episodes.partitions[0].sizes) > _COUNTABLE:
        return None
    found = confusion(episodes, given[:_COUNTED])
    if found is None:
        return None
    images = run.data[run.plan.evaluation.split]
    names = class_names(images)
    text = (
        f"{row['way']}-way {row['shot']}-shot: the answers to {min(len(given), _COUNTED):,} tasks by "
        "true class. A class can be the answer only where it is in the task."
    )
    pictures = []
    if len(names) <= _MATRIX:
        figure = figures.confusion_figure(found.rates, names)
        alt = "Confusion matrix: answers in % of the queries of each true class; the table has the worst."
        caption = "Answers by true class, in % of its queries that could have had the answer."
        pictures = [figures.chart(figure, alt, caption)]
    tables = [confusion_table(found, names, images, run.images is not None)]
    return Section(f"Mistakes of {name}", [text], tables, pictures)


def confusion_table(found: Confusion, names: Sequence[str], images: ImageSet, drawn: bool) -> Table:
    """The classes that are hardest, and what each is most often taken for."""
    wrong = found.counts - np.diag(np.diag(found.counts))
    met = np.flatnonzero(np.diag(found.together) > 0)
    worst = met[np.argsort(found.accuracy[met], kind="stable")][:_CLASSES]

    def cells(c: int) -> list[str | Picture]:
        return [names[c], *([_examples(images, c, names[c])] if drawn else [])]

    lines = []
    for c in worst:
        other = int(np.argmax(wrong[c]))
        share = f"{wrong[c, other]:,} of {found.together[c, other]:,} queries"
        taken = cells(other) if wrong[c, other] else [""] * (1 + drawn)
        lines.append([*cells(c), f"{100 * found.accuracy[c]:.1f}", *taken, share if wrong[c, other] else ""])
    look = [""] if drawn else []
    head = ["hardest class", *look, "right in %", "most often taken for", *look, ""]
    return Table(head, lines, (0, 1, 3, 4) if drawn else (0, 2))


def class_names(images: ImageSet) -> list[str]:
    """What the classes of the first partition by labels are called: folders of the images' files, else numbers."""
    assert images.partitions is not None
    classes = images.partitions[0]
    if images.names is None:
        return [str(c) for c in range(len(classes.sizes))]
    names = images.names
    return [Path(names[classes.cluster(c)[0]].decode()).parent.name or str(c) for c in range(len(classes.sizes))]


def _examples(images: ImageSet, c: int, name: str) -> Picture:
    assert images.partitions is not None
    numbers = images.partitions[0].cluster(c)[:_EXAMPLES]
    shown = tiles.sheet([tiles.tiles(gather(images.images, numbers), tiles.drawings(images.images))], gap=1)
    return tiles.picture(shown, f"images of class {name}", "")


def hardest_of(run: Run, name: str) -> Section | None:
    """The evaluation tasks that the learner of this name answers worst, drawn."""
    judged = first_judged(run, name)
    if judged is None or run.images is None:
        return None
    row, episodes, given = judged
    correct, pictures = right(given), []
    for i in hardest(given, _HARDEST):
        episode, mean = episodes[int(i)], 100 * correct[i].mean()
        drawn = tiles.task(episode.support, episode.query, ~correct[i], tiles.drawings(episodes.rows))
        what = f"Task {i}: {mean:.1f} % right."
        pictures.append(tiles.picture(drawn, f"{what} A row per true class; wrong answers are marked.", what))
    text = (
        f"The {len(pictures)} of {len(given):,} {row['way']}-way {row['shot']}-shot tasks with the fewest right "
        f"answers: a row per true class, support images framed in blue, then queries, in grey where "
        "they were right, in orange with a marked corner where they were wrong."
    )
    return Section(f"Hardest tasks of {name}", [text], pictures=pictures)


def first_judged(run: Run, name: str) -> tuple[Mapping[str, Any], Episodes, np.ndarray] | None:
    """First row of the results of a learner, its episodes and the answers [episodes, way, query]; None if not kept."""
    row, split = next(row for row in run.rows if row["algo"] == name), run.plan.evaluation.split
    task = (row["way"], row["shot"])
    given = predictions.of_queries(run.folder / name, split, task, row["query"])
    images = run.data[run.plan.evaluation.split]
    if given is None or images.partitions is None:
        return None
    return row, run.plan.evaluation.tasks(images.images, images.partitions, *task), given
