"""Accuracy of any learner on evaluation episodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from cactus_tf.contracts import AdaptingLearner, FeatureLearner, LeakingLearner, Learner
from cactus_tf.errors import RunError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.types import Accuracy, Array, Difference, Trace
from cactus_tf.utils import progress
from cactus_tf.utils.threads import cores

Classify = Callable[..., Array]
"""(support, support_labels, query, way) -> logits."""


def evaluate(learner: Learner, tasks: Episodes, episodes: int = 1000) -> Accuracy:
    """Mean accuracy on the first episodes of a stream, with its 95% interval.

    Args:
      learner: classifies what the tasks hold (its `consumes`).
      tasks: made from true labels of unseen images; the same stream for every learner gives paired results.
      episodes: number of episodes.

    Returns:
      Fractions: the mean over episodes and ci95 (Hsu et al. 2019: 1.96 sigma / sqrt(n)), each episode's accuracy, and
      every answer.

    Example:
      >>> import cactus_tf as ct
      >>> data = ct.datasets.load("digits")
      >>> pixels = data.test.images.reshape(len(data.test), -1) / 255
      >>> tasks = ct.episodes(pixels, data.test.partitions, way=5, shot=5, query=5, seed=0)
      >>> result = ct.evaluate(ct.learners.build("nearest_neighbours"), tasks, episodes=50)
      >>> 0.8 < result.mean < 1, result.per_episode.shape
      (True, (50,))
    """
    if isinstance(learner, AdaptingLearner):
        return adaptation_accuracies(learner, tasks, episodes, traced=0).final
    if tasks.augment is not None:
        return episode_accuracies(learner.classify, tasks, episodes, leaks(learner))
    classify, rows = with_features(learner, tasks.rows)
    return episode_accuracies(classify, tasks.with_rows(rows), episodes, leaks(learner))


TRACED_EPISODES = 100
"""Episodes whose queries are classified after every step of adaptation, which costs two to three times as much as once
at the end. The curve of these steps needs no more."""


class AdaptationAccuracy(NamedTuple):
    """Accuracies of a learner that adapts.

    Attributes:
      final: after the last step, of all episodes.
      support, query: of the first `TRACED_EPISODES` before adaptation (entry 0) and after each of its steps.
    """

    final: Accuracy
    support: list[Accuracy]
    query: list[Accuracy]


def adaptation_accuracies(
    learner: AdaptingLearner, tasks: Episodes, episodes: int, traced: int = TRACED_EPISODES, name: str = ""
) -> AdaptationAccuracy:
    """Accuracy after adaptation, and along the way in the first episodes.

    One episode per core runs at a time.

    Args:
      learner, tasks, episodes: as of `evaluate`.
      traced: number of episodes of the curves; 0 for none.
      name: of the learner, on the progress bar.

    Raises:
      RunError: adaptation diverged in an episode.
    """

    def one(i: int) -> tuple[np.ndarray, list[np.ndarray]]:
        support, query, (support_labels, query_labels) = _flat(tasks, i)
        if i >= traced:
            logits = np.asarray(learner.classify(support, support_labels, query, tasks.way))
            if np.isfinite(logits).all():
                return np.argmax(logits, axis=-1), []
        trace = learner.trace(support, support_labels, query, tasks.way)
        _check_finite(trace, learner, tasks, i)
        pairs = ((trace.support, support_labels), (trace.query, query_labels))
        right = [np.mean(np.argmax(logits, axis=-1) == labels, axis=1) for logits, labels in pairs]
        return np.argmax(trace.query[-1], axis=-1), right

    results = []
    with _bar(tasks, episodes, name) as bar, ThreadPoolExecutor(cores()) as threads:
        compiled = {i: one(i) for i in {0, min(traced, episodes - 1)}}  # each of the two functions once
        for result in threads.map(lambda i: compiled.get(i) or one(i), range(episodes)):
            results.append(result)
            bar.update()
    answers = np.array([answers for answers, _ in results])
    right = answers == np.repeat(np.arange(tasks.way), tasks.query)
    final = over_episodes(right.mean(axis=1))._replace(answers=answers)
    curves = np.array([right for _, right in results[:traced]])  # [traced, 2, steps + 1]
    support, query = ([over_episodes(step) for step in curves[:, i].T] for i in range(2)) if traced else ([], [])
    return AdaptationAccuracy(final, support, query)


def _check_finite(trace: Trace, learner: AdaptingLearner, tasks: Episodes, i: int) -> None:
    step = trace.diverged()
    if step is not None:
        raise RunError(
            f"{_title(tasks)}: the logits of episode {i} are not finite after step {step} of adaptation; "
            f"{learner.remedy}"
        )


def _title(tasks: Episodes, name: str = "") -> str:
    return f"evaluate{' ' * bool(name)}{name} {tasks.way}-way {tasks.shot}-shot"


def _bar(tasks: Episodes, number: int, name: str, numbers: Iterable[int] | None = None) -> progress.Bar:
    shorter = "--eval_episodes shortens it"
    return progress.Bar(numbers, _title(tasks, name), number, unit="episode", shorter=shorter)


def with_features(learner: Learner, rows: np.ndarray) -> tuple[Classify, np.ndarray]:
    """The function to call and its rows: features are computed once if the learner's answers allow it."""
    if isinstance(learner, LeakingLearner) and learner.leak:
        return learner.classify_leaking, rows
    if isinstance(learner, FeatureLearner):
        return learner.classify_features, np.asarray(learner.features(rows))
    return learner.classify, rows


def leaks(learner: Learner) -> bool:
    """Whether the learner sees the labels of the queries, so that its accuracy says nothing about unseen images."""
    return isinstance(learner, LeakingLearner) and learner.leak


def episode_accuracies(
    classify: Classify, episodes: Episodes, number: int, leak: bool = False, name: str = ""
) -> Accuracy:
    """Mean, 95% interval, per-episode accuracy and answers of one classifying function.

    With `leak`, the function is a `classify_leaking` and gets the labels of the queries, too. `name` is the learner's,
    for the progress bar.
    """
    with threadpool_limits(1):  # an episode is too small to share among threads
        numbers = _bar(episodes, number, name, range(number))
        answers = np.array([_answers(classify, episodes, i, leak) for i in numbers])
    right = answers == np.repeat(np.arange(episodes.way), episodes.query)
    return over_episodes(right.mean(axis=1))._replace(answers=answers)


def over_episodes(per_episode: np.ndarray) -> Accuracy:
    """Mean and 95% interval of [episodes] accuracies, fractions."""
    return Accuracy(float(per_episode.mean()), confidence_interval(per_episode), per_episode)


def confidence_interval(per_episode: np.ndarray) -> float:
    """Half width of the 95% interval of the mean: 1.96 sigma / sqrt(n), sigma with ddof 0 as in the authors' code."""
    return float(1.96 * np.std(per_episode) / np.sqrt(len(per_episode)))


def paired_difference(accuracy: Accuracy, first: Accuracy) -> Difference:
    """How much better than the first a learner is on the same episodes, with the 95% interval of the difference.

    d_i = a_i - b_i, then mean(d) and 1.96 sigma(d) / sqrt(n), sigma with ddof 0. Easy and hard episodes cancel, so the
    interval is narrower than that of either accuracy if both learners find the same episodes hard.
    """
    differences = accuracy.per_episode - first.per_episode
    return Difference(float(differences.mean()), confidence_interval(differences))


def _answers(classify: Classify, episodes: Episodes, i: int, leak: bool = False) -> np.ndarray:
    """[way * query] the answer to each query of episode i."""
    support, query, (support_labels, query_labels) = _flat(episodes, i)
    leaked = [query_labels] if leak else []
    logits = classify(support, support_labels, query, *leaked, episodes.way)
    return np.argmax(logits, axis=-1)


def _flat(episodes: Episodes, i: int) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Support and query rows of episode i, one after the other, and the labels of both."""
    episode = episodes[i]
    support, query = (rows.reshape(-1, *rows.shape[2:]) for rows in (episode.support, episode.query))
    labels = np.arange(episodes.way)
    return support, query, (np.repeat(labels, episodes.shot), np.repeat(labels, episodes.query))
