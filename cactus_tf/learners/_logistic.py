"""Multinomial logistic regression by the authors' solver, for logistic_regression and cluster_colour."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from cactus_tf.learners._inputs import canonical_order
from cactus_tf.types import Array


def logistic_logits(
    support: Array,
    labels: Array,
    query: Array,
    way: int,
    *,
    c: float = 1.0,
    passes: int = 1000,
    tolerance: float = 1e-4,
    seed: int = 0,
) -> np.ndarray:
    """Logits W x + b of the queries, near the minimum of (1/2) |W|^2 + C sum_i -log softmax(W x_i + b)[y_i].

    Solver and stopping rule are the authors': SAGA, stopped before the minimum. The bias b, which has no penalty, is
    furthest from its optimum. The paper's figures depend on that, and accuracy is higher (docs/algorithm.md). Two
    classes have two columns of W like any other number: the binary form with twice C.

    With more dimensions than support embeddings, SAGA works in coordinates of their span, which it never leaves: the
    iterates are the same and cost less. The stopping rule depends on the coordinates and would stop earlier there,
    so the tolerance is halved (docs/benchmarks.md).

    Args:
      support: [n, dim], in any order.
      labels: [n] integers in 0..way-1.
      query: [m, dim].
      way: number of classes.
      c: C, weight of the data against |W|^2.
      passes: maximum number of passes over the data.
      tolerance: SAGA stops when no weight changes by more than this fraction of the largest weight in one pass.
      seed: of the order in which SAGA visits the data.

    Returns:
      [m, way] float64; -infinity for a class without a support embedding.
    """
    support, labels = canonical_order(support, labels)
    present = np.unique(labels)
    logits = np.full((len(query), way), -np.inf)
    if len(present) == 1:
        logits[:, present] = 0.0
        return logits
    support, query = np.asarray(support, np.float64), np.asarray(query, np.float64)
    if support.shape[1] > len(support):
        basis, coordinates = np.linalg.qr(support.T)
        support, query, tolerance = coordinates.T, query @ basis, tolerance / 2
    c = 2 * c if len(present) == 2 else c
    model = LogisticRegression(C=c, solver="saga", max_iter=passes, tol=tolerance, random_state=seed % 2**32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the limit on passes is part of the rule
        values = model.fit(support, labels).decision_function(query)
    logits[:, present] = np.stack([-values / 2, values / 2], axis=1) if len(present) == 2 else values
    return logits
