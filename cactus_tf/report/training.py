"""The sections of the page on training: tasks, clusters, embedder, learning curves, adaptation."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf import plugins
from cactus_tf.config import rounds
from cactus_tf.contracts import TrainedNetwork
from cactus_tf.fewshot.evaluation import TRACED_EPISODES
from cactus_tf.report import browsing, figures, sheets, tiles
from cactus_tf.report.page import Link, Picture, Section, Table, capital
from cactus_tf.report.run import Run, pictured
from cactus_tf.runs import tensorboard
from cactus_tf.types import InstancePartition

_TASKS = 2
_PARTITIONS = 10  # whose cluster sizes are shown


def tasks_of(run: Run) -> Section | None:
    """The first training tasks, drawn."""
    if run.tasks is None:
        return None
    invert, name = tiles.drawings(run.tasks.rows), run.plan.meta_learners[0].name
    pictures = []
    for i in range(_TASKS):
        episode = run.tasks[i]
        drawn = tiles.task(episode.support, episode.query, invert=invert)
        caption = f"Training task {i} of {name}, made from partition {episode.partition}."
        pictures.append(tiles.picture(drawn, f"{caption} A row per label.", caption))
    partitioner = run.plan.partition.partitioner if run.plan.partition else ""
    of = {"labels": "a class", "instances": "copies of one image"}.get(partitioner, "a cluster")
    text = (
        f"Tasks that {name} was trained on. A row per label, which stands for {of}: support images "
        f"({run.tasks.shot} per label) framed in blue, then queries ({run.tasks.query} per label) in gray."
    )
    if max(run.tasks.shot, run.tasks.query) > tiles.MOST:
        text += f" At most {tiles.MOST} of either are drawn."
    training = run.plan.meta_learners[0].training
    if training is not None and (training.augmentation != "none" or training.rotate_classes):
        text += " Images are augmented as in training (--augmentation, --rotate_classes)."
    return Section("Training tasks", [text], pictures=pictures)


def rounds_of(run: Run) -> Section | None:
    """The clusters of each round, of a run of several."""
    path = run.folder / rounds.CLUSTERS
    if not path.exists():
        return None
    with open(path, newline="", encoding="utf-8") as file:
        head, *lines = csv.reader(file)
    text = (
        "Each round after the first partitioned the images by the features learned in the round before, and trained a "
        "new learner. "
        "A line describes the first partition of a round: sizes of its clusters, share of the images in a cluster, and "
        "agreement with the round before (adjusted mutual information; 1: the same clusters, 0: chance)."
    )
    if "purity" in head and lines[0][head.index("purity")]:
        text += " Purity, the share of images of the most frequent class in their cluster, was measured only."
    return Section("Rounds", [text], [Table(head, lines)])


def clusters_of(run: Run) -> Section | None:
    """Sizes of the clusters, and images of some."""
    if not len(run.partitions) or isinstance(run.partitions[0], InstancePartition):
        return None
    shown = range(min(_PARTITIONS, len(run.partitions)))
    sizes = np.concatenate([run.partitions[p].sizes for p in shown])
    number = len(run.partitions)
    whole = f"{number} partition{'s' if number > 1 else ''}"
    which = f"the first {len(shown)} of {number:,} partitions" if len(shown) < number else whole
    text = (
        f"{len(sizes):,} clusters in {which}: {sizes.min():,} to {sizes.max():,} images each, {sizes.mean():.1f} on "
        "average. Tasks use only clusters with enough images."
    )
    pictures = [figures.chart(figures.size_figure(sizes), f"Histogram: {text}", "Images per cluster.")]
    if run.images is not None:
        chosen, rows = sheets.cluster_rows(run.images, run.partitions[0])
        numbers = ", ".join(f"{run.partitions[0].sizes[c]}" for c in chosen)
        caption = f"Images of some clusters of the first partition. A row per cluster; their sizes are {numbers}."
        pictures.append(tiles.picture(tiles.sheet(rows), caption, caption))
    links = [Link("Browse the clusters of the first partition.", browsing.NAME)] if browsing.can_browse(run) else []
    return Section("Clusters", [text], pictures=pictures, links=links)


def embedder_of(run: Run) -> Section | None:
    """Learning curves of an embedder that was trained, and the pictures that its network makes."""
    if run.images is None or not isinstance(run.embedder, TrainedNetwork) or not run.embedder.curve:
        return None
    assert run.plan.embedding is not None
    name, curve = run.plan.embedding.embedder, run.embedder.curve
    info = plugins.info("embedders", name)
    metrics = [(scalar, meaning) for scalar, meaning in info.metrics.items() if scalar in curve[-1]]
    charts = [_embedder_chart(name, curve, scalar, meaning) for scalar, meaning in metrics]
    pictures = _embedder_pictures(run.embedder, pictured(run.images), info.pictures)
    text = f"{name} after {curve[-1]['step']:,} steps. It saw no labels."
    return Section("Embedder", [text], pictures=[*charts, *pictures])


def _embedder_chart(name: str, curve: list[dict[str, float]], scalar: str, meaning: str) -> Picture:
    unit = scalar.replace("_", " ")
    figure = figures.line_figure({name: curve}, scalar, unit, "step of the embedder")
    return figures.chart(figure, f"Line chart: {unit} of {name} over its training.", f"{capital(meaning)}.")


def _embedder_pictures(embedder: TrainedNetwork, images: np.ndarray, meanings: Mapping[str, str]) -> list[Picture]:
    pictures = []
    for name, drawn in embedder.pictures(images).items():
        caption = f"{capital(name)}: {meanings[name]}."
        pixels = np.round(255 * np.clip(tensorboard.tiled(drawn), 0, 1)).astype(np.uint8)
        pictures.append(tiles.picture(pixels, caption, caption))
    return pictures


def training_of(run: Run) -> Section | None:
    """Learning curves of the meta-learners."""
    histories = run.histories
    if not histories:
        return None
    panels = {"loss": ("query loss in nats", 1), "accuracy": ("accuracy on training tasks in %", 100)}
    pictures = [
        figures.chart(
            figures.line_figure(histories, scalar, unit, "outer step", factor),
            f"Line chart: {unit} over the outer steps of {', '.join(histories)}.",
            f"{capital(tensorboard.TAGS[f'train/{scalar}'])}.",
        )
        for scalar, (unit, factor) in panels.items()
    ]
    evaluated = {name: _evaluated(rows) for name, rows in histories.items() if _evaluated(rows)}
    if evaluated:
        unit = "accuracy on held-out pseudo-tasks in %"
        figure = figures.line_figure(evaluated, "pseudo_accuracy", unit, "outer step", 100)
        alt = f"Line chart: {unit} over the outer steps of {', '.join(evaluated)}."
        pictures.append(figures.chart(figure, alt, f"{capital(tensorboard.TAGS['pseudo/accuracy'])}."))
    return Section("Meta-training", pictures=pictures)


def _evaluated(rows: Sequence[Mapping[str, float]]) -> list[Mapping[str, float]]:
    """The rows of a learning curve with an accuracy on pseudo-tasks."""
    return [row for row in rows if np.isfinite(row.get("pseudo_accuracy", np.nan))]


def adaptation_of(run: Run) -> Section | None:
    """Accuracy during adaptation."""
    evaluated = {(row["algo"], row["way"], row["shot"]) for row in run.rows}
    rows = _read_adaptation(run.folder / "adaptation.csv")
    rows = [row for row in rows if (row["algo"], row["way"], row["shot"]) in evaluated]
    if not rows:
        return None
    pictures = []
    for way, shot in dict.fromkeys((row["way"], row["shot"]) for row in rows):
        own = [row for row in rows if (row["way"], row["shot"]) == (way, shot)]
        task = f"{way}-way {shot}-shot"
        alt = f"Line chart: accuracy before and after every step of adaptation, {task}."
        pictures.append(figures.chart(figures.adaptation_figure(own), alt, f"{task}; the band is the 95% interval."))
    text = (
        f"Mean accuracy before adaptation (step 0) and after each of its steps, on the first {TRACED_EPISODES} "
        "evaluation tasks."
    )
    return Section("Adaptation", [text], pictures=pictures)


def _read_adaptation(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    whole = ("way", "shot", "step")
    return [{k: v if k == "algo" else int(v) if k in whole else float(v) for k, v in row.items()} for row in rows]
