"""Which pictures are of none of the classes: those whose features are far from every class mean, by cosine."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans

from cactus_tf.errors import InputError

# Clusters at least: many small ones are tighter than classes, and the threshold would refuse too much. Ten was chosen
# among 10, 20, 38 and 76 by the shares refused of labeled photographs of ten kinds, so it is not proven elsewhere.
_COARSE = 10
_TASKS, _QUERIES = 50, 15  # pseudo-tasks, and queries of each of their classes
_LARGEST = 5000  # training pictures that are clustered


def sample(rows: np.ndarray, seed: int = 0) -> np.ndarray:
    """[at most 5000, ...] of the training pictures, which are enough."""
    if len(rows) <= _LARGEST:
        return np.asarray(rows)
    return np.asarray(rows[np.sort(np.random.default_rng(seed).choice(len(rows), _LARGEST, replace=False))])


def refused(known: np.ndarray, labels: np.ndarray, asked: np.ndarray, training: np.ndarray, share: float) -> np.ndarray:
    """[m] bool: which queries are less similar to every class mean than all but a share of true members are.

    Args:
      known, labels: [n, dim] features of the labeled pictures, and their classes.
      asked: [m, dim] features of the queries.
      training: [t, dim] features of the pictures that the run learned from; no labels are needed.
      share: of true members that are refused.
    """
    names, counts = np.unique(labels, return_counts=True)
    known = _unit(known)
    means = np.stack([known[labels == name].mean(axis=0) for name in names])
    return nearest(asked, means) < threshold(training, len(names), int(np.median(counts)), share)


def nearest(rows: np.ndarray, means: np.ndarray) -> np.ndarray:
    """[m] the largest cosine of each row [m, dim] and any of the means [way, dim]."""
    return (_unit(rows) @ _unit(means).T).max(axis=1)


def threshold(training: np.ndarray, way: int, shot: int, share: float, seed: int = 0) -> float:
    """The cosine below which a share of the queries of pseudo-tasks lies.

    The classes of a pseudo-task are clusters of the training pictures, made anew as coarse as classes are: as many as
    there are classes, and ten at least. The learner has trained on other, smaller ones.

    Args:
      training: [t, dim].
      way, shot: of the pseudo-tasks.
      share: 0..1.
      seed: of clusters and tasks.

    Raises:
      InputError: too few pictures for two clusters of two.
    """
    rng = np.random.default_rng(seed)
    rows = _unit(training)
    clusters = _clusters(rows, max(way, _COARSE), seed)
    if len(clusters) < 2:
        raise InputError(f"--reject needs clusters of training pictures, and {len(training)} are too few: leave it out")
    return float(np.quantile(np.concatenate([_task(rows, clusters, way, shot, rng) for _ in range(_TASKS)]), share))


def _clusters(rows: np.ndarray, number: int, seed: int) -> list[np.ndarray]:
    """The numbers of the rows of each cluster that has two or more."""
    number = min(number, len(np.unique(rows, axis=0)) // 2)
    if number < 2:
        return []
    assigned = KMeans(number, n_init=1, random_state=seed).fit_predict(rows)
    clusters = [np.flatnonzero(assigned == c) for c in range(number)]
    return [members for members in clusters if len(members) > 1]


def _task(rows: np.ndarray, clusters: list[np.ndarray], way: int, shot: int, rng: np.random.Generator) -> np.ndarray:
    """The cosine of each query of a pseudo-task and its nearest class mean."""
    means, queries = [], []
    for c in rng.choice(len(clusters), min(way, len(clusters)), replace=False):
        drawn = rng.permutation(clusters[c])
        examples = min(shot, len(drawn) - 1)
        means.append(rows[drawn[:examples]].mean(axis=0))
        queries.append(rows[drawn[examples : examples + _QUERIES]])
    return nearest(np.concatenate(queries), np.stack(means))


def _unit(rows: np.ndarray) -> np.ndarray:
    """The rows with length 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
