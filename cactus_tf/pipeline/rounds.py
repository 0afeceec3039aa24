"""Several rounds of embedding, partitioning and training, each from the features that the one before has learned."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_mutual_info_score

from cactus_tf.config import build_plan, rounds
from cactus_tf.config.plan import RunPlan
from cactus_tf.errors import InputError
from cactus_tf.types import ImageSet, InstancePartition, Partition, Partitions
from cactus_tf.utils import files

log = logging.getLogger(__name__)

_LAST = "last.json"
_COMPARED = 10_000  # images whose clusters are compared; time grows with the square of the number of clusters


def last(plan: RunPlan, folder: Path, train: Callable[[RunPlan, Path], Partitions]) -> tuple[RunPlan, list[Partitions]]:
    """The plan of the last round, and the partitions of the rounds before it, once these are trained.

    Args:
      plan: of a run of several rounds.
      folder: of the run.
      train: (plan, folder) -> the partitions of an earlier round, which it trains, or what is missing of it.
    """
    number = plan.settings.partition.rounds
    earlier = []
    for i in range(1, number):
        log.info("round %d of %d", i, number)
        settings = rounds.settings_of(plan.settings, i, folder)
        earlier.append(train(build_plan.of(settings, plan.data), rounds.folder_of(folder, i)))
    log.info("round %d of %d", number, number)
    own = build_plan.of(rounds.settings_of(plan.settings, number, folder), plan.data)
    _check_same(own, folder)
    kept = {name: getattr(plan, name) for name in ("name", "identity", "record", "sections")}
    return dataclasses.replace(own, **kept), earlier


def _check_same(own: RunPlan, folder: Path) -> None:
    """Checks that the last round goes on from the earlier rounds that it began with, and stores what these are.

    Raises:
      InputError: the earlier rounds were trained again since, and the last one's training has begun.
    """
    path = folder / "rounds" / _LAST
    now = json.loads(json.dumps({name: own.identity.get(name) for name in ("read", "partition")}))
    before = files.read_json_if_whole(path, dict, now)
    begun = any((folder / learner.name / "checkpoints").glob("*.index") for learner in own.meta_learners)
    if before != now and begun:
        raise InputError(
            f"--workdir: {folder} was trained on clusters of earlier rounds that have changed since: choose another "
            "--workdir"
        )
    files.write_json(path, now)


def write(partitions: Sequence[Partitions], train: ImageSet, folder: Path) -> None:
    """Writes FOLDER/rounds.csv, a line for each round's first partition; labels are only measured with.

    Args:
      partitions: of each round.
      train: the training images, with their labels, if there are any.
      folder: of the run.
    """
    rows, before = [], None
    for i, own in enumerate(partitions, 1):
        rows.append({"round": i, **described(own[0], before, train)})
        before = own[0]
    files.write_csv(folder / rounds.CLUSTERS, rows, list(rows[0]))
    for row in rows:
        log.info("%s", ", ".join(f"{name} {value}" for name, value in row.items() if value != ""))


def described(partition: Partition, before: Partition | None, train: ImageSet) -> dict[str, Any]:
    """Sizes of the clusters, agreement with the partition before, and purity if there are labels.

    Args:
      partition: to describe.
      before: that of the round before, or None.
      train: the training images.

    Returns:
      clusters: number of clusters with an image; smallest, median, largest: images of a cluster; clustered: share of
      the images in a cluster; agreement: adjusted mutual information (Vinh et al. 2010, 0..1) over the images that both
      partitions cluster; purity: share of the clustered images whose class is the most frequent in their cluster. ""
      where a number means nothing.
    """
    sizes = partition.sizes[partition.sizes > 0] if partition.sizes.any() else np.zeros(1, np.int64)
    own = partition.assignments(len(train))
    instances = isinstance(partition, InstancePartition)
    compared = before is not None and not instances and not isinstance(before, InstancePartition)
    return {
        "clusters": int(np.count_nonzero(sizes)),
        "smallest": int(sizes.min()),
        "median": float(np.median(sizes)),
        "largest": int(sizes.max()),
        "clustered": round(float(np.mean(own >= 0)), 4),
        "agreement": round(agreement(own, before.assignments(len(train))), 4) if compared and before else "",
        "purity": round(purity(own, train.partitions[0].assignments(len(train))), 4) if train.partitions else "",
    }


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Adjusted mutual information of two assignments [n], over the images that both have in a cluster.

    Of more than 30,000 images, a fixed sample of 10,000 is compared.
    """
    both = np.flatnonzero((one >= 0) & (other >= 0))
    if len(both) > 3 * _COMPARED:
        both = np.random.default_rng(0).choice(both, _COMPARED, replace=False)
    return float(adjusted_mutual_info_score(one[both], other[both]))


def purity(clusters: np.ndarray, classes: np.ndarray) -> float:
    """Share of the clustered images [n] whose class is the most frequent one in their cluster."""
    both = (clusters >= 0) & (classes >= 0)
    pairs, counts = np.unique(np.stack([clusters[both], classes[both]]), axis=1, return_counts=True)
    most = np.zeros(clusters.max() + 1, np.int64)
    np.maximum.at(most, pairs[0], counts)
    return float(most.sum() / max(both.sum(), 1))
