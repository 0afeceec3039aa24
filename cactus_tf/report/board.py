"""What TensorBoard shows of a run beside the curves: its configuration, tasks, embeddings and final accuracies."""

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

_TASKS, _ROWS = 3, 20  # tasks that are drawn, and labels of each
_PROJECTED, _PARTITIONS = 1000, 3  # images of the projector, and partitions that name their clusters


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
      embeddings: [n, dim] of the training images, None where nothing is embedded.
      partitions: none where nobody learns from tasks.
      tasks: the training tasks to draw, over images; None where there are none.
      events: WORKDIR/events.
    """
    pictures = {} if tasks is None else {"tasks/training": drawn(tasks)}
    tensorboard.replace(events / "run", "start", texts={"configuration": configuration(plan)}, pictures=pictures)
    if embeddings is not None:
        project(plan, data, embeddings, partitions, events / "run")


def after_evaluation(plan: RunPlan, data: Splits, rows: Sequence[Mapping[str, Any]], events: Path) -> None:
    """Writes some evaluation tasks below events/run, and each learner's final accuracies and settings with its curves.

    Args:
      plan, data, events: as of `before_training`.
      rows: of results.json.
    """
    if not rows:
        return
    for name in dict.fromkeys(row["algo"] for row in rows):
        own = [row for row in rows if row["algo"] == name]
        learner = next(learner for learner in plan.learners if learner.name == name)
        step = learner.training.steps if learner.training else 0
        tensorboard.replace(events / name, "result", step=step, scalars=scalars(own), hparams=hparams(plan, learner))
    images = data[plan.evaluation.split]
    if images.partitions is not None and not plan.data.features:
        task = (rows[0]["way"], rows[0]["shot"])
        tasks = plan.evaluation.tasks(images.images, images.partitions, *task)
        tensorboard.replace(events / "run", "tasks", pictures={"tasks/evaluation": drawn(tasks)})


def drawn(tasks: Episodes) -> list[np.ndarray]:
    """The first tasks, [h, w, 3] uint8 each."""
    paper = tiles.drawings(tasks.rows)
    episodes = [tasks[i] for i in range(_TASKS)]
    return [tiles.task(e.support[:_ROWS], e.query[:_ROWS], paper=paper) for e in episodes]


def configuration(plan: RunPlan) -> str:
    """The resolved configuration as a Markdown table."""
    lines = [
        f"| {section} | {name} | {results.plain(value)} |"
        for section, said in results.sections(plan.settings).items()
        for name, value in said.items()
    ]
    return "\n".join(["| section | setting | value |", "|---|---|---|", *lines, f"| run | seed | {plan.run.seed} |"])


def scalars(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Final accuracies of one learner by tag."""
    return {
        f"{row['split']}/{name}-{row['way']}way-{row['shot']}shot": row[name]
        for row in rows
        for name in ("accuracy", "ci95")
    }


def hparams(plan: RunPlan, learner: LearnerPlan) -> dict[str, Any]:
    """What runs are compared by: the settings that had a part in a learner's result."""
    members = {
        **{name: plan.evaluation.columns[name] for name in ("dataset", "embedder", "partitioner")},
        "algo": learner.name,
        "seed": plan.run.seed,
    }
    used = {**members, **learner.reported}
    return {k: v if isinstance(v, bool | int | float | str) else results.plain(v) for k, v in used.items()}


def project(plan: RunPlan, data: Splits, embeddings: np.ndarray, partitions: Partitions, folder: Path) -> None:
    """Writes a thousand embeddings, spread over all, with their images and clusters for the projector."""
    number = len(embeddings)
    chosen = np.unique(np.linspace(0, number - 1, min(number, _PROJECTED)).astype(int))
    columns: dict[str, np.ndarray] = {"image": chosen}
    for p in range(min(_PARTITIONS, len(partitions))):
        columns[f"cluster of partition {p}"] = partitions[p].assignments(number)[chosen]
    pictures = None
    if not plan.data.features:
        images = data.train.images
        pictures = tiles.tiles(gather(images, chosen), tiles.drawings(images))
    tensorboard.write_projector(folder, gather(embeddings, chosen), columns, pictures)
