"""Logs a run for TensorBoard, besides the curves: its configuration, tasks, embeddings and final accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.plan import LearnerPlan, RunPlan
from cactus_tf.fewshot.episodes import Episodes, gather
from cactus_tf.report import tiles
from cactus_tf.runs import results, tensorboard
from cactus_tf.types import Partitions, Splits

_TASKS, _ROWS = 3, 20  # tasks that are drawn, and rows of each
_PROJECTED, _PARTITIONS = 1000, 3  # images in the projector, and partitions whose clusters it shows


def before_training(
    plan: RunPlan,
    data: Splits,
    embeddings: np.ndarray | None,
    partitions: Partitions,
    tasks: Episodes | None,
    events: Path,
) -> None:
    """Writes the configuration, some training tasks, and some embeddings with their clusters, below events/run.

    Args:
      plan: of the run.
      data: images, or features.
      embeddings: [n, dim] of the training images; None if nothing is embedded.
      partitions: empty if no learner is meta-trained.
      tasks: training tasks on images to draw, or None.
      events: the run's folder of events.
    """
    pictures = {} if tasks is None else {"tasks/training": drawn(tasks)}
    tensorboard.replace(events / "run", "start", texts={"configuration": configuration(plan)}, pictures=pictures)
    if embeddings is not None:
        project(data, embeddings, partitions, events / "run")


def after_evaluation(plan: RunPlan, data: Splits, rows: Sequence[Mapping[str, Any]], events: Path) -> None:
    """Writes some evaluation tasks to events/run, and each learner's final accuracies and settings beside its curves.

    Args:
      plan, data, events: as in `before_training`.
      rows: of results.json.
    """
    if not rows:
        return
    for name in dict.fromkeys(row["algo"] for row in rows):
        own = [row for row in rows if row["algo"] == name]
        learner = next(learner for learner in plan.learners if learner.name == name)
        step = learner.training.steps if learner.training else 0
        tensorboard.replace(
            events / name, "result", step=step, scalars=scalars(own), hparams=hparams(plan.evaluation.columns, learner)
        )
    images = data[plan.evaluation.split]
    if images.partitions is not None and not plan.data.features:
        task = (rows[0]["way"], rows[0]["shot"])
        tasks = plan.evaluation.tasks(images.images, images.partitions, *task)
        tensorboard.replace(events / "run", "tasks", pictures={"tasks/evaluation": drawn(tasks)})


def drawn(tasks: Episodes) -> list[np.ndarray]:
    """The first tasks, [h, w, 3] uint8 each."""
    invert = tiles.drawings(tasks.rows)
    episodes = [tasks[i] for i in range(_TASKS)]
    return [tiles.task(e.support[:_ROWS], e.query[:_ROWS], invert=invert) for e in episodes]


def configuration(plan: RunPlan) -> str:
    """The resolved configuration as a Markdown table."""
    lines = [
        f"| {section} | {name} | {results.plain(value)} |"
        for section, values in plan.sections.items()
        for name, value in values.items()
    ]
    return "\n".join(["| section | setting | value |", "|---|---|---|", *lines, f"| run | seed | {plan.run.seed} |"])


def scalars(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """A learner's final accuracies by tag."""
    return {
        f"{row['split']}/{name}-{row['way']}way-{row['shot']}shot": row[name]
        for row in rows
        for name in ("accuracy", "ci95")
    }


def hparams(columns: Mapping[str, Any], learner: LearnerPlan) -> dict[str, Any]:
    """The settings that affect a learner's result, for TensorBoard's HPARAMS."""
    members = {
        **{name: columns[name] for name in ("dataset", "embedder", "partitioner")},
        "algo": learner.name,
        "seed": columns["seed"],
    }
    used = {**members, **learner.reported}
    return {k: v if isinstance(v, bool | int | float | str) else results.plain(v) for k, v in used.items()}


def project(data: Splits, embeddings: np.ndarray, partitions: Partitions, folder: Path) -> None:
    """Writes up to a thousand embeddings, spread over all, with images and clusters, for TensorBoard's PROJECTOR."""
    number = len(embeddings)
    chosen = np.unique(np.linspace(0, number - 1, min(number, _PROJECTED)).astype(int))
    columns: dict[str, np.ndarray] = {"image": chosen}
    for p in range(min(_PARTITIONS, len(partitions))):
        columns[f"cluster of partition {p}"] = partitions[p].assignments(number)[chosen]
    pictures = None
    if len(data.image_shape) == 3:
        images = data.train.images
        pictures = tiles.tiles(gather(images, chosen), tiles.drawings(images))
    tensorboard.write_projector(folder, gather(embeddings, chosen), columns, pictures)
