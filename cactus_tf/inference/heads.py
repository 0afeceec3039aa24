"""What turns feature vectors into classes: the learner itself, class means, or logistic regression."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression

from cactus_tf.contracts import FeatureLearner, Learner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.losses import labeled_prototypes
from cactus_tf.inference.classifier import FewShotClassifier
from cactus_tf.learners import protonets

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
        raise InputError(f"--head={head} needs a feature vector of each picture, and {name} has none: leave it out")
    if transductive:
        raise InputError(f"--head={head} classifies each picture alone: leave out --transductive or --head")


def chosen(head: str, learner: Learner, labels: np.ndarray, pretrained: bool) -> str:
    """The head that "auto" stands for, or the given one, which `check` has passed.

    It is "logistic" if the features are those of a pretrained network and every class has five examples, else
    "learner".

    Args:
      head: one of `HEADS`.
      learner: whose features it takes.
      labels: [n] of the examples.
      pretrained: whether the run's embedder is a pretrained network.
    """
    if head != "auto":
        return head
    enough = np.unique(labels, return_counts=True)[1].min() >= _ENOUGH
    return "logistic" if has_features(learner) and pretrained and enough else "learner"


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
        return logistic(known, labels, asked)
    if isinstance(learner, FeatureLearner):  # its features and its metric belong together
        return FewShotClassifier(learner).fit(support, labels).predict_proba(query)
    return _by_cosine(known, labels, asked)


def logistic(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Probabilities [m, way] by logistic regression on features.

    The weights lie in the span of the examples, so with fewer examples than dimensions its coordinates do.
    """
    if known.shape[1] > len(known):
        basis, coordinates = np.linalg.qr(known.T)
        known, asked = coordinates.T, asked @ basis
    return np.asarray(LogisticRegression(C=_C, max_iter=_PASSES).fit(known, labels).predict_proba(asked))


def features(learner: Learner, rows: np.ndarray) -> np.ndarray:
    """[n, dim] of the learner, or the embeddings that it takes."""
    return np.asarray(learner.features(rows) if isinstance(learner, FeatureLearner) else rows, np.float32)


def _by_cosine(known: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """As ProtoNets by cosine, on the embeddings themselves."""
    names, numbers = np.unique(labels, return_inverse=True)
    means = labeled_prototypes(tf.convert_to_tensor(known), numbers, len(names))
    logits = protonets.similarity(protonets.Options(metric="cosine"))(asked, means)
    return np.asarray(tf.nn.softmax(logits))
