"""What turns feature vectors into classes: the learner itself, class means, or logistic regression."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from cactus_tf.contracts import FeatureLearner, Learner
from cactus_tf.errors import InputError
from cactus_tf.inference.classifier import FewShotClassifier

HEADS = ("auto", "learner", "prototype", "logistic")
"""See `chosen`; prototype: the nearest class mean; logistic: logistic regression."""

_ENOUGH = 5  # examples of every class from which logistic regression is better than class means on pretrained features
_C, _PASSES = 10.0, 2000  # inverse strength of its penalty, not tuned; iterations of its solver


def chosen(head: str, learner: Learner, name: str, labels: np.ndarray, pretrained: bool) -> str:
    """The head that "auto" stands for, or the given one.

    It is "logistic" if the features are those of a pretrained network and every class has five examples, else
    "learner".

    Args:
      head: one of `HEADS`.
      learner, name: whose features it takes.
      labels: [n] of the examples.
      pretrained: whether the run's embedder is a pretrained network.

    Raises:
      InputError: no such head, or the learner has no feature vectors.
    """
    if head not in HEADS:
        raise InputError(f"head is {head!r}: choose from {', '.join(HEADS)}")
    able = has_features(learner)
    if head == "auto":
        enough = np.unique(labels, return_counts=True)[1].min() >= _ENOUGH
        return "logistic" if able and pretrained and enough else "learner"
    if head != "learner" and not able:
        raise InputError(f"--head={head} needs a feature vector of each picture, and {name} has none: leave it out")
    return head


def has_features(learner: Learner) -> bool:
    """Whether a learner has a feature vector of each picture."""
    return isinstance(learner, FeatureLearner) or learner.consumes == "embeddings"


def class_probabilities(
    head: str, learner: Learner, support: np.ndarray, labels: np.ndarray, query: np.ndarray
) -> np.ndarray:
    """Probabilities [m, way] of the queries, classes in sorted order.

    Args:
      head: "prototype" or "logistic".
      learner: whose features it takes.
      support, query: [n, ...] and [m, ...] of what the learner consumes.
      labels: [n].
    """
    known, asked = (features(learner, rows) for rows in (support, query))
    if head == "logistic":
        return np.asarray(LogisticRegression(C=_C, max_iter=_PASSES).fit(known, labels).predict_proba(asked))
    if isinstance(learner, FeatureLearner):  # its features and its metric belong together
        return FewShotClassifier(learner).fit(support, labels).predict_proba(query)
    return _by_cosine(known, labels, asked)


def features(learner: Learner, rows: np.ndarray) -> np.ndarray:
    """[n, dim] of the learner, or the embeddings that it takes."""
    return np.asarray(learner.features(rows) if isinstance(learner, FeatureLearner) else rows, np.float32)


def _by_cosine(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Softmax of ten times the cosine to each class mean, as ProtoNets by cosine have it."""
    means = np.stack([known[labels == name].mean(axis=0) for name in np.unique(labels)])
    asked, means = (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (asked, means))
    odds = np.exp(10 * (asked @ means.T - 1))
    return odds / odds.sum(axis=1, keepdims=True)
