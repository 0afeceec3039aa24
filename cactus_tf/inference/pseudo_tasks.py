"""Tasks whose classes are clusters of the training pictures: they show, without labels, how a head does on new ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score

_QUERIES = 15  # of each class of a task
_DOUBLINGS = 5  # of the number of clusters, which are tried
_SCORED = 2000  # training pictures whose silhouette is computed
EMBEDDINGS, IMAGES = 5000, 2000  # training pictures that are clustered; a learner on images has to embed them first


class PseudoTask(NamedTuple):
    """One task: for each class, the numbers of the rows that are its examples, and of those that are its queries."""

    examples: list[np.ndarray]
    queries: list[np.ndarray]


def sample(rows: np.ndarray, most: int, seed: int = 0) -> np.ndarray:
    """[at most `most`, ...] of the training pictures, which are enough."""
    if len(rows) <= most:
        return np.asarray(rows)
    return np.asarray(rows[np.sort(np.random.default_rng(seed).choice(len(rows), most, replace=False))])


def size(labels: np.ndarray) -> tuple[int, int]:
    """Classes of the labeled pictures, and examples of each (the median): those of pseudo-tasks like them."""
    counts = np.unique(labels, return_counts=True)[1]
    return len(counts), int(np.median(counts))


def clusters(rows: np.ndarray, way: int, seed: int = 0) -> list[np.ndarray]:
    """The numbers of the rows of each cluster that has two or more.

    Clusters are made anew: those that the learner has trained on are many and small, tighter than classes. Of way,
    2 way, 4 way ... clusters, the number of the highest silhouette is taken, because nobody knows how many kinds of
    pictures there are besides the classes. No label is used.

    Args:
      rows: [n, dim] features of unit length.
      way: classes of a task.
      seed: of the clusters.
    """
    most = len(np.unique(rows, axis=0)) // 2
    if most < 2:
        return []
    numbers = sorted({min(way * 2**i, most) for i in range(_DOUBLINGS)})
    assigned = [KMeans(number, n_init=1, random_state=seed).fit_predict(rows) for number in numbers]
    best = max(
        assigned, key=lambda own: silhouette_score(rows, own, sample_size=min(_SCORED, len(rows)), random_state=seed)
    )
    found = [np.flatnonzero(best == c) for c in np.unique(best)]
    return [members for members in found if len(members) > 1]


def draw(groups: list[np.ndarray], way: int, shot: int, tasks: int, seed: int = 0) -> Iterator[PseudoTask]:
    """Tasks of at most `way` of the clusters, with up to `shot` examples and 15 queries of each."""
    rng = np.random.default_rng(seed)
    for _ in range(tasks):
        task = PseudoTask([], [])
        for c in rng.choice(len(groups), min(way, len(groups)), replace=False):
            drawn = rng.permutation(groups[c])
            examples = min(shot, len(drawn) - 1)
            task.examples.append(drawn[:examples])
            task.queries.append(drawn[examples : examples + _QUERIES])
        yield task
