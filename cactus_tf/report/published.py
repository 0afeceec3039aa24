"""The figures of Hsu et al. 2019: accuracy in % on 1000 test tasks of 5 queries per class.

Copied from the authors' tables, except those of RECALLED, which are from memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class PublishedRow(NamedTuple):
    """A row of the paper's tables.

    Attributes:
      dataset: value of the flag.
      embedder: value of the flag, "none" if nothing is embedded.
      tasks: what training tasks are made from: a partitioner, "kmeans, P = 1", or "none" for baselines.
      algo: the learner.
    """

    dataset: str
    embedder: str
    tasks: str
    algo: str


_OMNIGLOT = ((5, 1), (5, 5), (20, 1), (20, 5))
_MINI = ((5, 1), (5, 5), (5, 20), (5, 50))
_BOTH = {"omniglot": _OMNIGLOT, "miniimagenet": _MINI}
_BEST = {"omniglot": "acai", "miniimagenet": "deepcluster"}  # the better embedding of each data set

# Tables 1 and 2: embedding, tasks, learner, then Omniglot and miniImageNet.
_MAIN: tuple[tuple, ...] = (
    ("none", "none", "scratch", 52.50, 74.78, 24.91, 47.62, 27.59, 38.48, 51.53, 59.63),
    ("bigan", "none", "nearest_neighbours", 49.55, 68.06, 27.37, 46.70, 25.56, 31.10, 37.31, 43.60),
    ("bigan", "none", "logistic_regression", 48.28, 68.72, 27.80, 45.82, 27.08, 33.91, 44.00, 50.41),
    ("bigan", "none", "mlp_dropout", 40.54, 62.56, 19.92, 40.71, 22.91, 29.06, 40.06, 48.36),
    ("bigan", "none", "cluster_matching", 43.96, 58.62, 21.54, 31.06, 24.63, 29.49, 33.89, 36.13),
    ("bigan", "kmeans", "maml", 58.18, 78.66, 35.56, 58.62, 36.24, 51.28, 61.33, 66.91),
    ("bigan", "kmeans", "protonets", 54.74, 71.69, 33.40, 50.62, 36.62, 50.16, 59.56, 63.27),
    ("best", "none", "nearest_neighbours", 57.46, 81.16, 39.73, 66.38, 28.90, 42.25, 56.44, 63.90),
    ("best", "none", "logistic_regression", 61.08, 81.82, 43.20, 66.33, 29.44, 39.79, 56.19, 65.28),
    ("best", "none", "mlp_dropout", 51.95, 77.20, 30.65, 58.62, 29.03, 39.67, 52.71, 60.95),
    ("best", "none", "cluster_matching", 54.94, 71.09, 32.19, 45.93, 22.20, 23.50, 24.97, 26.87),
    ("best", "kmeans", "maml", 68.84, 87.78, 48.09, 73.36, 39.90, 53.97, 63.84, 69.64),
    ("best", "kmeans", "protonets", 68.12, 83.58, 47.75, 66.27, 39.18, 53.36, 61.54, 63.55),
    ("none", "labels", "maml", 94.46, 98.83, 84.60, 96.29, 46.81, 62.13, 71.03, 75.54),
    ("none", "labels", "protonets", 98.35, 99.58, 95.31, 98.81, 46.56, 62.29, 70.05, 72.04),
)
# The ablations of MAML's tasks: embedding, tasks, then Omniglot (20, 1), (5, 5) and miniImageNet (5, 1), (5, 50).
_ABLATIONS: tuple[tuple, ...] = (
    ("none", "random", 6.51, 25.74, None, None),
    ("pixels", "kmeans", 12.05, 40.19, None, None),
    ("best", "hyperplanes", 41.86, 83.20, 35.85, 65.55),
    ("best", "kmeans, P = 1", 45.04, 85.60, 38.75, 67.77),
)
# CelebA, 2-way 5-shot: embedding, tasks, learner.
_CELEBA = (
    ("none", "none", "scratch", 63.19),
    ("deepcluster", "none", "nearest_neighbours", 61.47),
    ("deepcluster", "kmeans", "maml", 73.79),
    ("none", "labels", "maml", 87.10),
)
_CELEBA_RECALLED = (
    ("bigan", "none", "nearest_neighbours", 56.15),
    ("bigan", "none", "logistic_regression", 58.44),
    ("bigan", "none", "mlp_dropout", 56.26),
    ("bigan", "none", "cluster_matching", 56.20),
    ("bigan", "kmeans", "maml", 74.98),
    ("bigan", "kmeans", "protonets", 65.58),
    ("deepcluster", "none", "logistic_regression", 59.57),
    ("deepcluster", "none", "mlp_dropout", 60.65),
    ("deepcluster", "none", "cluster_matching", 51.51),
    ("deepcluster", "kmeans", "protonets", 74.15),
    ("none", "labels", "protonets", 85.13),
)
RECALLED = frozenset(PublishedRow("celeba", *row[:3]) for row in _CELEBA_RECALLED)
"""Rows that were not checked against a source."""


def figures() -> Mapping[PublishedRow, Mapping[tuple[int, int], float]]:
    """The paper's rows in its order: accuracy in % by (way, shot)."""
    table: dict[PublishedRow, dict[tuple[int, int], float]] = {}
    for dataset, tasks in _BOTH.items():
        offset = 3 + list(_BOTH).index(dataset) * len(tasks)
        for row in _MAIN:
            key = PublishedRow(dataset, row[0].replace("best", _BEST[dataset]), row[1], row[2])
            table[key] = dict(zip(tasks, row[offset : offset + len(tasks)], strict=True))
        table |= _ablations(dataset)
    table |= {PublishedRow("celeba", *row[:3]): {(2, 5): row[3]} for row in (*_CELEBA, *_CELEBA_RECALLED)}
    return table


def _ablations(dataset: str) -> dict[PublishedRow, dict[tuple[int, int], float]]:
    tasks = ((20, 1), (5, 5)) if dataset == "omniglot" else ((5, 1), (5, 50))
    rows = {
        PublishedRow(dataset, row[0].replace("best", _BEST[dataset]), row[1], "maml"): row[2:4]
        if dataset == "omniglot"
        else row[4:]
        for row in _ABLATIONS
    }
    return {row: dict(zip(tasks, values, strict=True)) for row, values in rows.items() if None not in values}
