"""Multinomial logistic regression on a support set: what logistic_regression and cluster_colour fit."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

_TOLERANCE, _MOST_STEPS = 1e-5, 1000


def logistic_logits(support: np.ndarray, labels: np.ndarray, query: np.ndarray, way: int, c: float) -> np.ndarray:
    """Logits of the queries by the W, b that minimise (1/2) |W|^2 + C sum_i -log softmax(W x_i + b)[y_i].

    The bias is free. Two classes have two columns here as more have, which is the ordinary binary form with twice C.
    The minimising rows of W lie in the span of the support embeddings, so where these are fewer than their dimensions
    the search is in coordinates of the span: the same answer, sooner.

    Args:
      support: [n, dim].
      labels: [n] integers in 0..way-1.
      query: [m, dim].
      way: number of classes.
      c: C, weight of the data against |W|^2.

    Returns:
      [m, way] float64; -infinity for a class without a support embedding.
    """
    present = np.unique(labels)
    logits = np.full((len(query), way), -np.inf)
    if len(present) == 1:
        logits[:, present] = 0.0
        return logits
    support, query = in_span(np.asarray(support, np.float64), np.asarray(query, np.float64))
    c = 2 * c if len(present) == 2 else c
    model = LogisticRegression(C=c, solver="lbfgs", tol=_TOLERANCE, max_iter=_MOST_STEPS).fit(support, labels)
    values = model.decision_function(query)
    logits[:, present] = np.stack([-values / 2, values / 2], axis=1) if len(present) == 2 else values
    return logits


def in_span(support: np.ndarray, query: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both in orthonormal coordinates of the span of the support rows, where that has fewer dimensions.

    Args:
      support: [n, dim].
      query: [m, dim]; what is orthogonal to the span is dropped.

    Returns:
      [n, min(n, dim)] and [m, min(n, dim)].
    """
    if len(support) >= support.shape[1]:
        return support, query
    basis = np.linalg.qr(support.T).Q  # [dim, n]
    return support @ basis, query @ basis
