"""The parts of the page that show what was learnt from, and how the learning went."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cactus_tf import plugins
from cactus_tf.report import figures, tiles
from cactus_tf.report.page import Section, capital
from cactus_tf.report.run import Run, pictured
from cactus_tf.runs import tensorboard

_TASKS = 2
_PARTITIONS = 10  # whose cluster sizes are shown


def tasks_of(run: Run) -> Section | None:
    """Some of the training tasks, drawn."""
    if run.tasks is None:
        return None
    paper, name = tiles.drawings(run.tasks.rows), run.plan.meta_learners[0].name
    pictures = []
    for i in range(_TASKS):
        episode = run.tasks[i]
        picture = tiles.task(episode.support, episode.query, paper=paper)
        what = f"Task {i} that {name} was trained on, made from partition {episode.partition}."
        pictures.append(tiles.picture(picture, f"{what} A row per label.", what))
    of = "class" if run.plan.partition and run.plan.partition.partitioner == "labels" else "cluster"
    text = (
        f"Tasks as {name} met them: a row per label, which stands for a {of}; support images ({run.tasks.shot} per "
        f"label) framed in blue, then queries ({run.tasks.query} per label) in grey. At most 10 of either are drawn."
    )
    return Section("Training tasks", [text], pictures=pictures)


def clusters_of(run: Run) -> Section | None:
    """Sizes of the clusters, and images of some."""
    if not len(run.partitions):
        return None
    shown = range(min(_PARTITIONS, len(run.partitions)))
    sizes = np.concatenate([run.partitions[p].sizes for p in shown])
    number = len(run.partitions)
    which = f"the first {len(shown)} of {number:,} partitions" if len(shown) < number else f"all of {number} partitions"
    text = (
        f"{len(sizes):,} clusters in {which}: {sizes.min():,} to {sizes.max():,} images each, {sizes.mean():.1f} in "
        "the mean. Clusters with fewer images than a task takes are not drawn from."
    )
    pictures = [figures.chart(figures.size_figure(sizes), f"Histogram: {text}", "Images per cluster.")]
    if run.images is not None:
        chosen, rows = figures.cluster_rows(run.images, run.partitions[0])
        named = "; ".join(f"{run.partitions[0].sizes[c]}" for c in chosen)
        caption = f"Images of some clusters of the first partition, a row each, which have {named} images."
        pictures.append(tiles.picture(tiles.sheet(rows), caption, caption))
    return Section("Clusters", [text], pictures=pictures)


def embedder_of(run: Run) -> Section | None:
    """Learning curves of the embedder and what it makes of some images, where it has a network."""
    curve = getattr(run.embedder, "curve", [])
    if run.embedder is None or run.images is None or not curve:
        return None
    name = run.plan.embedding.embedder
    module = plugins.load("embedders", name)
    pictures = []
    metrics = getattr(module, "METRICS", {})
    for scalar, meaning in ((s, m) for s, m in metrics.items() if s in curve[-1]):
        unit = scalar.replace("_", " ")
        figure = figures.line_figure({name: curve}, scalar, unit, "step of the embedder")
        alt = f"Line chart: {unit} of {name} over its training."
        pictures.append(figures.chart(figure, alt, f"{capital(meaning)}."))
    made, meanings = _embedder_pictures(run), getattr(module, "PICTURES", {})
    for what, picture in made.items():
        caption = f"{capital(what)}: {meanings[what]}."
        pictures.append(tiles.picture(picture, caption, caption))
    return Section("Embedder", [f"{name}, after {curve[-1]['step']:,} steps, which saw no labels."], pictures=pictures)


def _embedder_pictures(run: Run) -> dict[str, np.ndarray]:
    """[h, w, c] uint8 by name."""
    if not hasattr(getattr(run.embedder, "model", None), "pictures"):
        return {}
    assert run.images is not None
    made = run.embedder.model.pictures(tf.constant(pictured(run.images)))
    whole = {name: tensorboard.tiled(picture) for name, picture in made.items()}
    return {name: np.round(255 * np.clip(picture, 0, 1)).astype(np.uint8) for name, picture in whole.items()}


def training_of(run: Run) -> Section | None:
    """Learning curves of the meta-learners."""
    found = run.histories
    if not found:
        return None
    panels = {"loss": ("query loss in nats", 1), "accuracy": ("accuracy on training tasks in %", 100)}
    pictures = [
        figures.chart(
            figures.line_figure(found, scalar, unit, "outer step", factor),
            f"Line chart: {unit} over the outer steps of {', '.join(found)}.",
            f"{capital(tensorboard.TAGS[f'train/{scalar}'])}.",
        )
        for scalar, (unit, factor) in panels.items()
    ]
    return Section("Meta-training", pictures=pictures)


def adaptation_of(run: Run) -> Section | None:
    """Accuracy while learners adapt."""
    path = run.folder / "adaptation.csv"
    judged = {(row["algo"], row["way"], row["shot"]) for row in run.rows}
    rows = [row for row in _read_adaptation(path) if (row["algo"], row["way"], row["shot"]) in judged]
    if not rows:
        return None
    pictures = []
    for way, shot in dict.fromkeys((row["way"], row["shot"]) for row in rows):
        own = [row for row in rows if (row["way"], row["shot"]) == (way, shot)]
        what = f"{way}-way {shot}-shot"
        alt = f"Line chart: accuracy before and after every step of adaptation, {what}."
        pictures.append(figures.chart(figures.adaptation_figure(own), alt, f"{what}; the band is the 95% interval."))
    text = "Mean accuracy on the evaluation tasks before adaptation (step 0) and after every step of it."
    return Section("Adaptation", [text], pictures=pictures)


def _read_adaptation(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    whole = ("way", "shot", "step")
    return [{k: v if k == "algo" else int(v) if k in whole else float(v) for k, v in row.items()} for row in rows]
