"""Which pictures are of none of the classes: those whose features are far from every class mean, by cosine."""

from __future__ import annotations

import numpy as np
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import normalize

from cactus_tf.errors import InputError

_TASKS, _QUERIES = 50, 15  # pseudo-tasks, and queries of each of their classes
_DOUBLINGS = 5  # of the number of clusters, which are tried
_SCORED = 2000  # training pictures whose silhouette is computed
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
    known = normalize(known)
    means = np.stack([known[labels == name].mean(axis=0) for name in names])
    return nearest(asked, means) < threshold(training, len(names), int(np.median(counts)), share)


def nearest(rows: np.ndarray, means: np.ndarray) -> np.ndarray:
    """[m] the largest cosine of each row [m, dim] and any of the means [way, dim]."""
    return (normalize(rows) @ normalize(means).T).max(axis=1)


def threshold(training: np.ndarray, way: int, shot: int, share: float, seed: int = 0) -> float:
    """The cosine below which a share of the queries of pseudo-tasks lies.

    The classes of a pseudo-task are clusters of the training pictures, made anew. Those that the learner has trained on
    are many and small, tighter than classes, so they would refuse too much.

    Args:
      training: [t, dim].
      way, shot: of the pseudo-tasks.
      share: 0..1.
      seed: of clusters and tasks.

    Raises:
      InputError: too few pictures for two clusters of two.
    """
    rng = np.random.default_rng(seed)
    rows = normalize(training) if len(training) else training
    clusters = _clusters(rows, way, seed)
    if len(clusters) < 2:
        raise InputError(f"--reject needs clusters of training pictures, and {len(training)} are too few: leave it out")
    return float(np.quantile(np.concatenate([_task(rows, clusters, way, shot, rng) for _ in range(_TASKS)]), share))


def _clusters(rows: np.ndarray, way: int, seed: int) -> list[np.ndarray]:
    """The numbers of the rows of each cluster that has two or more.

    Of way, 2 way, 4 way ... clusters, the number of the highest silhouette is taken, because nobody knows how many
    kinds of pictures there are besides the classes. No label is used.
    """
    most = len(np.unique(rows, axis=0)) // 2
    if most < 2:
        return []
    numbers = sorted({min(way * 2**i, most) for i in range(_DOUBLINGS)})
    assigned = [KMeans(number, n_init=1, random_state=seed).fit_predict(rows) for number in numbers]
    best = max(
        assigned, key=lambda own: silhouette_score(rows, own, sample_size=min(_SCORED, len(rows)), random_state=seed)
    )
    clusters = [np.flatnonzero(best == c) for c in np.unique(best)]
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
