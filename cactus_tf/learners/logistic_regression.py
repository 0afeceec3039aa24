"""Logistic regression on the embeddings: the paper's "linear classifier". Hsu et al. 2019, section 4.

Solver and stopping rule are the authors': SAGA, at most 1000 passes. It stops before the minimum, whose classifier is
up to three points worse (docs/algorithm.md).
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import LearnerContext, LearnerInfo
from cactus_tf.learners._logistic import logistic_logits
from cactus_tf.types import Array

INFO = LearnerInfo(title="linear classifier", uses_embeddings=True)


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of logistic regression."""

    c: float = option(
        1.0, "weight of the support set against |W|^2 / 2", low=1e-6, symbol="C", source="Hsu et al. 2019, scripts",
        evaluation_only=True,
    )  # fmt: skip


def build(context: LearnerContext, options: Options | None = None) -> LogisticRegression:
    """Multinomial logistic regression with an L2 penalty on the weights alone; uses only the context's seed."""
    return LogisticRegression((options or Options()).c, context.seed)


class LogisticRegression:
    """A linear classifier fitted to the unscaled embeddings of each support set.

    Args:
      c: C, weight of the data against the penalty.
      seed: of the order in which the solver visits the support set.
    """

    consumes: Literal["images", "embeddings"] = "embeddings"

    def __init__(self, c: float, seed: int):
        self._c, self._seed = c, seed

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> np.ndarray:
        """Logits [m, way] of the queries; -infinity for a class without a support embedding."""
        return logistic_logits(support, support_labels, query, way, c=self._c, seed=self._seed)
