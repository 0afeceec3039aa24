"""Several rounds of embedding, partitioning and training, each from the features that the one before has learned."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
from collections.abc import Callable
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

_FROM = "last_round.json"
"""In the folder of a run: the clusters that its last round is trained on."""
_COMPARED = 10_000  # images whose clusters are compared; time grows with the square of the number of clusters


def last(plan: RunPlan, folder: Path, train: Callable[[RunPlan, Path], None], checked: bool = True) -> RunPlan:
    """The plan of the last round, once the rounds before it are trained.

    Args:
      plan: of a run of several rounds.
      folder: of the run.
      train: (plan, folder) trains an earlier round, or what is missing of it.
      checked: whether to check that the last round goes on from the earlier rounds that it began with, and to store
        what these are; one of several workers does.
    """
    number = plan.settings.partition.rounds
    for i in range(1, number):
        _announce(plan, i)
        settings = rounds.settings_of(plan.settings, i, folder)
        train(build_plan.of(settings, plan.data), rounds.folder_of(folder, i))
    _announce(plan, number)
    own = build_plan.of(rounds.settings_of(plan.settings, number, folder), plan.data)
    if checked:
        _check_same(own, folder)
    about = rounds.reported(plan.settings)
    learners = tuple(dataclasses.replace(one, reported={**one.reported, **about}) for one in own.learners)
    kept = {name: getattr(plan, name) for name in ("name", "identity", "record", "sections")}
    return dataclasses.replace(own, learners=learners, **kept)


def _announce(plan: RunPlan, number: int) -> None:
    settings = plan.settings
    name, steps = rounds.partitioner_of(settings, number), rounds.steps_of(settings, number)
    log.info("round %d of %d: %s, %s steps", number, settings.partition.rounds, name, f"{steps:,}")


def _check_same(own: RunPlan, folder: Path) -> None:
    """Checks that the last round goes on from the earlier rounds that it began with, and stores what these are.

    Raises:
      InputError: the last one's training has begun, and the earlier rounds were trained again since, or what they were
        is not known.
    """
    path = folder / _FROM
    now = json.loads(json.dumps({name: own.identity.get(name) for name in ("read", "partition")}))
    before = files.read_json_if_whole(path, dict, {})
    begun = any(any((folder / learner.name / "checkpoints").glob("*.index")) for learner in own.meta_learners)
    if begun and not before:
        raise InputError(
            f"--workdir: {path} is missing or damaged, so it is not known which clusters the last round in {folder} "
            "was trained on: choose another --workdir"
        )
    if begun and before != now:
        raise InputError(
            f"--workdir: the last round in {folder} was trained on clusters of earlier rounds that have changed since: "
            "choose another --workdir"
        )
    files.write_json(path, now)


class Clusters:
    """RUN/rounds.csv: a line for each round's first partition, written before the round trains, and kept in a rerun.

    Args:
      train: the training images; their labels, if there are any, only measure purity.
      folder: of the run.
    """

    def __init__(self, train: ImageSet, folder: Path):
        self._train, self._path = train, folder / rounds.CLUSTERS
        self._rows: list[dict[str, Any]] = _read(self._path)
        self._added = 0
        self._before: Partition | None = None

    def add(self, partitions: Partitions) -> None:
        """Describes the partitions of the next round in the log and in the file."""
        row = {"round": self._added + 1, **described(partitions[0], self._before, self._train)}
        log.info("%s", ", ".join(f"{name} {value}" for name, value in row.items() if value != ""))
        written = {name: str(value) for name, value in row.items()}
        if self._rows[self._added : self._added + 1] != [written]:
            self._rows[self._added :] = [written]
            files.write_csv(self._path, self._rows, list(written))
        self._added, self._before = self._added + 1, partitions[0]


def _read(path: Path) -> list[dict[str, Any]]:
    """The lines of rounds.csv; none, with a warning, if it is damaged: the rounds write it again.

    Raises:
      InputError: a folder that is not empty is in its place.
    """
    files.make_way(path)
    if not path.exists():
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        log.warning("%s is damaged; writing it again", path)
        return []


def described(partition: Partition, before: Partition | None, train: ImageSet) -> dict[str, Any]:
    """Sizes of the clusters, agreement with the partition before, and purity if there are labels.

    Args:
      partition: to describe.
      before: that of the round before, or None.
      train: the training images.

    Returns:
      clusters: number of clusters with an image; smallest, median, largest: images of a cluster; clustered: share of
      the images in a cluster; agreement: adjusted mutual information (Vinh et al. 2010, 0..1) over the images that both
      partitions cluster; purity: share of the clustered images whose class is the most frequent in their cluster, if
      each image has one class. "" where a number means nothing.
    """
    sizes = partition.sizes[partition.sizes > 0] if partition.sizes.any() else np.zeros(1, np.int64)
    own = partition.assignments(len(train))
    instances = isinstance(partition, InstancePartition)
    compared = before is not None and not instances and not isinstance(before, InstancePartition)
    classes = train.partitions[0] if train.partitions and len(train.partitions) == 1 else None
    return {
        "clusters": int(np.count_nonzero(sizes)),
        "smallest": int(sizes.min()),
        "median": float(np.median(sizes)),
        "largest": int(sizes.max()),
        "clustered": round(float(np.mean(own >= 0)), 4),
        "agreement": round(agreement(own, before.assignments(len(train))), 4) if compared and before else "",
        "purity": round(purity(own, classes.assignments(len(train))), 4) if classes else "",
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
