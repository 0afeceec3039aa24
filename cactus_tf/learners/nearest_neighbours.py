"""Nearest neighbors on the embeddings: a baseline without meta-training. Hsu et al. 2019, section 4."""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np
import tensorflow as tf
from sklearn.neighbors import KNeighborsClassifier

from cactus_tf.config.schema import option
from cactus_tf.contracts import LearnerContext, LearnerInfo
from cactus_tf.errors import InputError
from cactus_tf.types import Array

INFO = LearnerInfo(title="nearest neighbors", uses_embeddings=True, exportable=True)

_NO_VOTE = 1e-6  # below any fraction of votes; its logarithm is finite


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of nearest neighbors."""

    k: int = option(1, "support embeddings that vote on a query", low=1, source="Hsu et al. 2019, scripts")


def build(context: LearnerContext, options: Options | None = None) -> NearestNeighbours:
    """Nearest neighbors by Euclidean distance; the context is not used."""
    return NearestNeighbours((options or Options()).k)


class NearestNeighbours:
    """The k nearest support embeddings vote for their labels with equal weights.

    Args:
      k: number of votes.
    """

    consumes: Literal["images", "embeddings"] = "embeddings"

    def __init__(self, k: int):
        self._k = k

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> np.ndarray:
        """Logarithms [m, way] float32 of the fractions of votes, log 1e-6 for none; ties go to the lowest label.

        Raises:
          InputError: k is larger than the support set.
        """
        if self._k > len(support):
            raise InputError(
                f"nearest_neighbours: k is {self._k} and the support set has {len(support)} embeddings: "
                "lower --nearest_neighbours_k or take more shots"
            )
        voters = KNeighborsClassifier(self._k, algorithm="brute").fit(support, support_labels)
        fractions = np.zeros((len(query), way), np.float32)
        fractions[:, voters.classes_] = voters.predict_proba(query)
        return np.log(np.maximum(fractions, _NO_VOTE))

    def classify_in_graph(self, support: Array, support_labels: Array, query: Array, way: Array) -> tf.Tensor:
        """As `classify`, by TensorFlow operations; fewer than k support embeddings raise a TensorFlow error."""
        message = f"{self._k} neighbors vote, and the support set has fewer"
        with tf.control_dependencies([tf.debugging.assert_less_equal(self._k, tf.shape(support)[0], message=message)]):
            x, y = (tf.cast(rows, tf.float64) for rows in (query, support))
        # |x|^2 is the same for every y, so it is left out; the rest is a small difference, so it needs 64 bits
        nearness = 2 * tf.matmul(x, y, transpose_b=True) - tf.reduce_sum(tf.square(y), axis=1)
        voters = tf.gather(support_labels, tf.math.top_k(nearness, self._k).indices)  # [m, k]
        fractions = tf.reduce_mean(tf.one_hot(voters, way), axis=1)
        return tf.math.log(tf.maximum(fractions, _NO_VOTE))
