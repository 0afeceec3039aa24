"""What TensorBoard shows of a run beside the curves: its configuration, tasks, embeddings and final accuracies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config import keys
from cactus_tf.config.schema import Config
from cactus_tf.fewshot.episodes import Episodes, gather
from cactus_tf.report import tiles
from cactus_tf.runs import evaluation, results, tensorboard
from cactus_tf.types import Partitions, Splits

_TASKS, _ROWS = 3, 20  # tasks that are drawn, and labels of each
_PROJECTED, _PARTITIONS = 1000, 3  # images of the projector, and partitions that name their clusters


def before_training(
    config: Config,
    data: Splits,
    embeddings: np.ndarray | None,
    partitions: Partitions,
    tasks: Episodes | None,
    events: Path,
) -> None:
    """Writes the configuration, some training tasks, and some embeddings with their clusters, below events/run.

    Args:
      config: resolved and sized.
      data: images, or features.
      embeddings: [n, dim] of the training images, None where nothing is embedded.
      partitions: none where nobody learns from tasks.
      tasks: the training tasks to draw, over images; None where there are none.
      events: WORKDIR/events.
    """
    pictures = {} if tasks is None else {"tasks/training": drawn(tasks)}
    tensorboard.replace(events / "run", "start", texts={"configuration": configuration(config)}, pictures=pictures)
    if embeddings is not None:
        project(config, data, embeddings, partitions, events / "run")


def after_evaluation(config: Config, data: Splits, rows: Sequence[Mapping[str, Any]], events: Path) -> None:
    """Writes some evaluation tasks below events/run, and each learner's final accuracies and settings with its curves.

    Args:
      config, data, events: as of `before_training`.
      rows: of results.json.
    """
    if not rows:
        return
    for name in dict.fromkeys(row["algo"] for row in rows):
        own = [row for row in rows if row["algo"] == name]
        step = config.learners[name].steps if name in config.learners else 0
        tensorboard.replace(events / name, "result", step=step, scalars=scalars(own), hparams=hparams(config, name))
    images = evaluation.evaluation_set(config, data)
    if images.partitions is not None and not keys.has_features(config):
        task = (rows[0]["way"], rows[0]["shot"])
        split = config.evaluation.eval_split
        tasks = evaluation.evaluation_episodes(config, split, images.images, images.partitions, *task)
        tensorboard.replace(events / "run", "tasks", pictures={"tasks/evaluation": drawn(tasks)})


def drawn(tasks: Episodes) -> list[np.ndarray]:
    """The first tasks, [h, w, 3] uint8 each."""
    paper = tiles.drawings(tasks.rows)
    episodes = [tasks[i] for i in range(_TASKS)]
    return [tiles.task(e.support[:_ROWS], e.query[:_ROWS], paper=paper) for e in episodes]


def configuration(config: Config) -> str:
    """The resolved configuration as a Markdown table."""
    lines = [
        f"| {section} | {name} | {results.plain(value)} |"
        for section, said in results.sections(config).items()
        for name, value in said.items()
    ]
    return "\n".join(["| section | setting | value |", "|---|---|---|", *lines, f"| run | seed | {config.run.seed} |"])


def scalars(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Final accuracies of one learner by tag."""
    return {
        f"{row['split']}/{name}-{row['way']}way-{row['shot']}shot": row[name]
        for row in rows
        for name in ("accuracy", "ci95")
    }


def hparams(config: Config, name: str) -> dict[str, Any]:
    """What runs are compared by: the settings that had a part in a learner's result."""
    members = {
        "dataset": config.data.dataset,
        "embedder": keys.embedder_name(config),
        "partitioner": keys.partitioner_name(config),
        "algo": name,
        "seed": config.run.seed,
    }
    used = {**members, **results.options(config, name)}
    return {k: v if isinstance(v, bool | int | float | str) else results.plain(v) for k, v in used.items()}


def project(config: Config, data: Splits, embeddings: np.ndarray, partitions: Partitions, folder: Path) -> None:
    """Writes a thousand embeddings, spread over all, with their images and clusters for the projector."""
    number = len(embeddings)
    chosen = np.unique(np.linspace(0, number - 1, min(number, _PROJECTED)).astype(int))
    columns: dict[str, np.ndarray] = {"image": chosen}
    for p in range(min(_PARTITIONS, len(partitions))):
        columns[f"cluster of partition {p}"] = partitions[p].assignments(number)[chosen]
    pictures = None
    if not keys.has_features(config):
        images = data.train.images
        pictures = tiles.tiles(gather(images, chosen), tiles.drawings(images))
    tensorboard.write_projector(folder, gather(embeddings, chosen), columns, pictures)
