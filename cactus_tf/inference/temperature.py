"""The temperature that makes probabilities of a head on features mean what they say. Guo et al. 2017, section 4.2."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.preprocessing import normalize

from cactus_tf.inference import pseudo_tasks
from cactus_tf.utils import progress

Probabilities = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""([n, dim] examples, [n] labels, [m, dim] queries) -> [m, way]."""

_TASKS = 20
_RANGE = (-3.0, 3.0)  # of the logarithm of the temperature
_SMALLEST = 1e-12  # probability


def fitted(
    probabilities: Probabilities, training: np.ndarray, way: int, shot: int, seed: int = 0, *, sharpen: bool = True
) -> float:
    """T of the smallest mean cross-entropy of `rescaled` probabilities on pseudo-tasks; 1 with too few clusters.

    Args:
      probabilities: of a head on features.
      training: [t, dim] features of the pictures that the run learned from; no labels are needed.
      way, shot: of the pseudo-tasks: those of the labeled pictures.
      seed: of clusters and tasks.
      sharpen: whether T may be below 1, which makes the head more certain. Clusters are tighter than classes, so
        their tasks are easier: only a head that is far too uncertain there is so on classes.
    """
    groups = pseudo_tasks.clusters(normalize(training), way, seed) if len(training) else []
    if len(groups) < 2:
        return 1.0
    answers = []
    tasks = pseudo_tasks.draw(groups, way, shot, _TASKS, seed)
    for examples, queries in progress.Bar(tasks, "calibrate", _TASKS, unit="task", delay=progress.DELAY):
        known, asked = np.concatenate(examples), np.concatenate(queries)
        labels, truth = (np.repeat(np.arange(len(part)), list(map(len, part))) for part in (examples, queries))
        answers.append((_logarithms(probabilities(training[known], labels, training[asked])), truth))

    def loss(logarithm: float) -> float:
        chosen = [
            log_softmax(logits * np.exp(-logarithm), axis=1)[np.arange(len(truth)), truth] for logits, truth in answers
        ]
        return -float(np.mean(np.concatenate(chosen)))

    return float(np.exp(minimize_scalar(loss, bounds=(_RANGE[0] if sharpen else 0.0, _RANGE[1]), method="bounded").x))


def rescaled(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """[m, way]: p^(1/T), normalized; the order of the classes stays the same."""
    return np.exp(log_softmax(_logarithms(probabilities) / temperature, axis=1))


def _logarithms(probabilities: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(probabilities, _SMALLEST))
