"""Which pictures are of none of the classes: those whose features are far from every class mean, by cosine."""

from __future__ import annotations

import numpy as np
from sklearn.preprocessing import normalize

from cactus_tf.errors import InputError
from cactus_tf.inference import pseudo_tasks

_TASKS = 50


def refused(known: np.ndarray, labels: np.ndarray, asked: np.ndarray, training: np.ndarray, share: float) -> np.ndarray:
    """[m] bool: which queries are less similar to every class mean than all but a share of true members are.

    Args:
      known, labels: [n, dim] features of the labeled pictures, and their classes.
      asked: [m, dim] features of the queries.
      training: [t, dim] features of the pictures that the run learned from; no labels are needed.
      share: of true members that are refused.
    """
    way, shot = pseudo_tasks.size(labels)
    return similarity(known, labels, asked) < threshold(training, way, shot, share)


def similarity(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """[m] the cosine of each query and the nearest class mean; arguments as of `refused`."""
    known = normalize(known)
    return nearest(asked, np.stack([known[labels == name].mean(axis=0) for name in np.unique(labels)]))


def nearest(rows: np.ndarray, means: np.ndarray) -> np.ndarray:
    """[m] the largest cosine of each row [m, dim] and any of the means [way, dim]."""
    return (normalize(rows) @ normalize(means).T).max(axis=1)


def threshold(training: np.ndarray, way: int, shot: int, share: float, seed: int = 0) -> float:
    """The cosine below which a share of the queries of pseudo-tasks lies.

    Args:
      training: [t, dim].
      way, shot: of the pseudo-tasks.
      share: 0..1.
      seed: of clusters and tasks.

    Raises:
      InputError: too few pictures for two clusters of two.
    """
    rows = normalize(training) if len(training) else training
    groups = pseudo_tasks.clusters(rows, way, seed)
    if len(groups) < 2:
        raise InputError(f"--reject needs clusters of training pictures, and {len(training)} are too few: leave it out")
    similarities = []
    for examples, queries in pseudo_tasks.draw(groups, way, shot, _TASKS, seed):
        means = np.stack([rows[members].mean(axis=0) for members in examples])
        similarities.append(nearest(rows[np.concatenate(queries)], means))
    return float(np.quantile(np.concatenate(similarities), share))
