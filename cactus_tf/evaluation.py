"""Accuracy of any learner on evaluation episodes."""

from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from cactus_tf import progress
from cactus_tf.sampling import Episodes
from cactus_tf.types import Accuracy, Array, FeatureLearner, Learner

Classify = Callable[[Array, Array, Array, int], Array]


def evaluate(learner: Learner, tasks: Episodes, episodes: int = 1000) -> Accuracy:
    """Mean accuracy on the first so many episodes, and its 95% interval.

    Args:
      learner: classifies what the tasks hold (its `consumes`).
      tasks: made from true labels of unseen images; the same stream for every learner gives paired results.
      episodes: how many of them.

    Returns:
      Fractions: the mean over episodes and ci95 (Hsu et al. 2019: 1.96 sigma / sqrt(n)), and each episode's accuracy.
    """
    classify, rows = with_features(learner, tasks.rows)
    return accuracy(classify, tasks.with_rows(rows), episodes)


def with_features(learner: Learner, rows: np.ndarray) -> tuple[Classify, np.ndarray]:
    """What to call and on what: features are computed once where the learner's answers allow it."""
    if isinstance(learner, FeatureLearner):
        return learner.classify_features, np.asarray(learner.features(rows))
    return learner.classify, rows


def accuracy(classify: Classify, episodes: Episodes, number: int) -> Accuracy:
    """Mean, 95% interval and per-episode accuracy of one classifying function."""
    title = f"evaluate {episodes.way}-way {episodes.shot}-shot"
    with threadpool_limits(1):  # an episode is too small to share among threads
        numbers = progress.bar(range(number), title)
        per_episode = np.array([_episode_accuracy(classify, episodes, i) for i in numbers])
    return Accuracy(float(per_episode.mean()), confidence_interval(per_episode), per_episode)


def confidence_interval(per_episode: np.ndarray) -> float:
    """Half width of the 95% interval of the mean: 1.96 sigma / sqrt(n), sigma with ddof 0 as in the authors' code."""
    return float(1.96 * np.std(per_episode) / np.sqrt(len(per_episode)))


def _episode_accuracy(classify: Classify, episodes: Episodes, i: int) -> float:
    episode = episodes[i]
    labels = np.arange(episodes.way)
    logits = classify(
        episode.support.reshape(-1, *episode.support.shape[2:]),
        np.repeat(labels, episodes.shot),
        episode.query.reshape(-1, *episode.query.shape[2:]),
        episodes.way,
    )
    return float(np.mean(np.argmax(logits, axis=-1) == np.repeat(labels, episodes.query)))
