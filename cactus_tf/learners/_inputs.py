"""What a learner takes: images or embeddings, and a support set in any order."""

from __future__ import annotations

from typing import Literal

import numpy as np
import tensorflow as tf

from cactus_tf.config.schema import TrainingSettings
from cactus_tf.contracts import LearnerContext
from cactus_tf.errors import InputError
from cactus_tf.types import Array


def network_input(context: LearnerContext) -> tuple[Literal["images", "embeddings"], tuple[int, ...]]:
    """What a meta-learner consumes, and the shape of one row.

    Raises:
      InputError: it wants embeddings and there are none.
    """
    if not context.on_embeddings:
        return "images", context.image_shape
    if context.embeddings is None:
        raise InputError("--on_embeddings needs embeddings, and there are none: choose an --embedder")
    return "embeddings", (context.embeddings.shape[-1],)


def network_name(context: LearnerContext, usual: TrainingSettings) -> str:
    """The backbone that was said, or the usual one for images, or the one for embeddings."""
    return context.backbone or ("mlp" if context.on_embeddings else usual.backbone)


def flat_rows(rows: tf.Tensor) -> tf.Tensor:
    """[way, per_class, ...] -> [way * per_class, ...]."""
    return tf.reshape(rows, (-1, *rows.shape[2:]))


def canonical_order(support: Array, labels: Array) -> tuple[np.ndarray, np.ndarray]:
    """A support set of embeddings in an order that follows from its rows alone: [n, dim] float32 and [n] int32.

    What draws random numbers per row then gives the same answer for every order.
    """
    support, labels = np.asarray(support, np.float32), np.asarray(labels, np.int32)
    order = sorted(range(len(labels)), key=lambda i: (labels[i], support[i].tobytes()))
    return support[order], labels[order]
