"""What turns feature vectors into classes: the learner itself, class means, or logistic regression."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression

from cactus_tf.contracts import Answer, FeatureLearner, Learner, PreparedLearner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.losses import labeled_prototypes
from cactus_tf.learners import protonets
from cactus_tf.types import Array

HEADS = ("auto", "learner", "prototype", "logistic")
"""See `chosen`; prototype: the nearest class mean; logistic: logistic regression."""

Fit = Callable[[np.ndarray, np.ndarray], Answer]
"""([n, dim] features, [n] labels in 0..way-1) -> the function from features [m, dim] to logits [m, way]."""

_ENOUGH = 5  # examples of every class from which logistic regression is better than class means on pretrained features
_C, _PASSES = 10.0, 2000  # inverse strength of its penalty, not tuned; iterations of its solver


def check(head: str, learner: Learner, name: str, transductive: bool = False) -> None:
    """Refuses a head that this learner cannot have.

    Args:
      head: one of `HEADS`.
      learner, name: whose features it takes.
      transductive: whether queries share batch statistics, which only the learner itself can do.

    Raises:
      InputError: no such head, the learner has no feature vectors, or a head beside `transductive`.
    """
    if head not in HEADS:
        raise InputError(f"head is {head!r}: choose from {', '.join(HEADS)}")
    if head in ("auto", "learner"):
        return
    if not has_features(learner):
        raise InputError(f"head={head} needs a feature vector of each picture, and {name} has none: leave it out")
    if transductive:
        raise InputError(f"head={head} classifies each picture alone: leave out transductive or head")


def chosen(head: str, learner: Learner, labels: np.ndarray, pretrained: bool, transductive: bool = False) -> str:
    """The head that "auto" stands for, or the given one, which `check` has passed.

    It is "logistic" if the features are those of a pretrained network, every class has five examples, and queries are
    classified alone; else "learner".

    Args:
      head: one of `HEADS`.
      learner: whose features it takes.
      labels: [n] of the examples.
      pretrained: whether the run's embedder is a pretrained network.
      transductive: whether queries share batch statistics.
    """
    if head != "auto":
        return head
    enough = np.unique(labels, return_counts=True)[1].min() >= _ENOUGH
    return "logistic" if has_features(learner) and pretrained and enough and not transductive else "learner"


def has_features(learner: Learner) -> bool:
    """Whether a learner has a feature vector of each picture."""
    return isinstance(learner, FeatureLearner) or learner.consumes == "embeddings"


def answerer(
    learner: Learner,
    support: np.ndarray,
    labels: np.ndarray,
    way: int,
    transductive: bool = False,
    head: str = "learner",
) -> Answer:
    """The function from queries to logits [m, way]; whatever depends on the support set alone is computed here, once.

    Args:
      learner: that answers, or whose features the head takes.
      support: [n, ...] of what the learner consumes.
      labels: [n] integers in 0..way-1.
      way: number of classes.
      transductive: whether queries share batch statistics; for the learner itself.
      head: "learner", "prototype" or "logistic"; see `chosen`.
    """
    if head == "learner" and isinstance(learner, PreparedLearner):
        return learner.answerer(support, labels, way, transductive)
    fit = on_features(learner, head)
    if fit is None:
        return functools.partial(_classify, learner, support, labels, way)
    logits = fit(features(learner, support), labels)
    return lambda query: logits(features(learner, query))


def on_features(learner: Learner, head: str) -> Fit | None:
    """The head as a function of features alone; None if it is a learner that has none.

    Args:
      learner: whose features it takes.
      head: "learner", "prototype" or "logistic"; see `chosen`.
    """
    if head == "logistic":
        return regression
    if isinstance(learner, FeatureLearner):  # features and metric belong together
        return functools.partial(_by_learner, learner)
    return _by_cosine if head == "prototype" else None


def _classify(learner: Learner, support: Array, labels: Array, way: int, query: Array) -> Array:
    return learner.classify(support, labels, query, way)


def _by_learner(learner: FeatureLearner, known: np.ndarray, labels: np.ndarray) -> Answer:
    way = int(labels.max()) + 1
    return lambda asked: learner.classify_features(known, labels, asked, way)


def _by_cosine(known: np.ndarray, labels: np.ndarray) -> Answer:
    """Class means, compared as by ProtoNets by cosine, on the embeddings themselves."""
    means = labeled_prototypes(tf.convert_to_tensor(known), labels, int(labels.max()) + 1)
    compare = protonets.similarity(protonets.Options(metric="cosine"))
    return lambda asked: compare(np.asarray(asked, np.float32), means)


def probabilities(fit: Fit, known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """[m, way] float64 of a head on features."""
    return softmax(np.asarray(fit(known, labels)(asked), np.float64), axis=1)


def regression(known: np.ndarray, labels: np.ndarray) -> Answer:
    """Logistic regression.

    The weights lie in the span of the examples, so with fewer examples than dimensions it works in coordinates there.
    """
    basis = np.linalg.qr(known.T)[0] if known.shape[1] > len(known) else np.eye(known.shape[1], dtype=known.dtype)
    model = LogisticRegression(C=_C, max_iter=_PASSES).fit(known @ basis, labels)

    def logits(asked: Array) -> Array:
        scores = np.asarray(model.decision_function(asked @ basis))  # of two classes, one number
        return scores if scores.ndim == 2 else np.stack([-scores / 2, scores / 2], axis=1)

    return logits


def features(learner: Learner, rows: np.ndarray) -> np.ndarray:
    """[n, dim] of the learner, or the embeddings that it takes."""
    return np.asarray(learner.features(rows) if isinstance(learner, FeatureLearner) else rows, np.float32)
