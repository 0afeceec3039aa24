"""The inputs of learners: images or embeddings, and support sets in any order."""

from __future__ import annotations

from typing import Literal

import numpy as np
import tensorflow as tf

from cactus_tf.config.schema import PRECISIONS, TrainingSettings
from cactus_tf.contracts import BackboneInfo, LearnerContext
from cactus_tf.errors import InputError
from cactus_tf.types import Array


def network_input(context: LearnerContext) -> tuple[Literal["images", "embeddings"], tuple[int, ...]]:
    """What a meta-learner consumes, and the shape of one row."""
    if not context.on_embeddings:
        return "images", context.image_shape
    if context.embeddings is None:
        raise InputError("--on_embeddings needs embeddings, but there are none: choose an --embedder")
    return "embeddings", (context.embeddings.shape[-1],)


def network_name(context: LearnerContext, defaults: TrainingSettings) -> str:
    """The backbone of the context; default: mlp on embeddings, the learner's own on images."""
    return context.backbone or ("mlp" if context.on_embeddings else defaults.backbone)


def network_width(context: LearnerContext, backbone: BackboneInfo, defaults: TrainingSettings) -> int | None:
    """The width of the context's network; default: the backbone's, or else the learner's. None: that of its input."""
    default = None if backbone.as_wide_as_input else backbone.filters or defaults.filters
    return context.filters or default


def network_dtype(context: LearnerContext, name: str, backbone: BackboneInfo) -> dict[str, str]:
    """The argument of the backbone for a precision other than float32.

    Raises:
      InputError: an unknown precision, or a network that has float32 only.
    """
    if context.precision == "float32":
        return {}
    if context.precision not in PRECISIONS:
        raise InputError(f"--precision={context.precision}: choose from {', '.join(PRECISIONS)}")
    if "dtype" not in backbone.arguments:
        raise InputError(f"--precision={context.precision}: {name} computes in float32 only: leave out --precision")
    return {"dtype": context.precision}


def flat_rows(rows: tf.Tensor) -> tf.Tensor:
    """[way, per_class, ...] -> [way * per_class, ...]."""
    return tf.reshape(rows, (-1, *rows.shape[2:]))


def canonical_order(support: Array, labels: Array) -> tuple[np.ndarray, np.ndarray]:
    """Sorts a support set of embeddings by label and content: [n, dim] float32 and [n] int32.

    A learner that draws random numbers per row then gives the same answer for every order.
    """
    support, labels = np.asarray(support, np.float32), np.asarray(labels, np.int32)
    order = sorted(range(len(labels)), key=lambda i: (labels[i], support[i].tobytes()))
    return support[order], labels[order]
