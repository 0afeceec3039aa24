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
    if head == "logistic":
        logits = _regression(features(learner, support), labels)
        return lambda query: logits(features(learner, query))
    if head == "prototype" and not isinstance(learner, FeatureLearner):  # otherwise features and metric belong together
        return functools.partial(_by_cosine, _means(features(learner, support), labels, way))
    if isinstance(learner, PreparedLearner):
        return learner.answerer(support, labels, way, transductive)
    if isinstance(learner, FeatureLearner):
        return functools.partial(_by_features, learner, np.asarray(learner.features(support)), labels, way)
    return functools.partial(_classify, learner, support, labels, way)


def _by_features(learner: FeatureLearner, support: Array, labels: Array, way: int, query: Array) -> Array:
    return learner.classify_features(support, labels, learner.features(query), way)


def _classify(learner: Learner, support: Array, labels: Array, way: int, query: Array) -> Array:
    return learner.classify(support, labels, query, way)


def logistic(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Probabilities [m, way] by logistic regression on features."""
    return softmax(_regression(known, labels)(asked), axis=1)


def _regression(known: np.ndarray, labels: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """The function from features to logits [m, way] of logistic regression.

    The weights lie in the span of the examples, so with fewer examples than dimensions it works in coordinates there.
    """
    basis = np.linalg.qr(known.T)[0] if known.shape[1] > len(known) else np.eye(known.shape[1], dtype=known.dtype)
    model = LogisticRegression(C=_C, max_iter=_PASSES).fit(known @ basis, labels)

    def logits(asked: np.ndarray) -> np.ndarray:
        scores = np.asarray(model.decision_function(asked @ basis))  # of two classes, one number
        return scores if scores.ndim == 2 else np.stack([-scores / 2, scores / 2], axis=1)

    return logits


def features(learner: Learner, rows: np.ndarray) -> np.ndarray:
    """[n, dim] of the learner, or the embeddings that it takes."""
    return np.asarray(learner.features(rows) if isinstance(learner, FeatureLearner) else rows, np.float32)


def _means(known: np.ndarray, labels: np.ndarray, way: int) -> tf.Tensor:
    return labeled_prototypes(tf.convert_to_tensor(known), labels, way)


def _by_cosine(means: tf.Tensor, query: Array) -> Array:
    """[m, way] logits as of ProtoNets by cosine, on the embeddings themselves."""
    return protonets.similarity(protonets.Options(metric="cosine"))(np.asarray(query, np.float32), means)
