"""Embedders: each member maps images to vectors without labels. Import `build`, `make` and `Untrained` from here."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cactus_tf import plugins
from cactus_tf.config.schema import EMBEDDING_NORMS
from cactus_tf.contracts import BuiltByName, Embedder, EmbedderContext, Recipe
from cactus_tf.embedders._base.estimator import built, wrapped
from cactus_tf.embedders._base.normalizing import center, normalized_pieces
from cactus_tf.embedders._base.untrained import Untrained
from cactus_tf.errors import InputError

__all__ = ["Untrained", "build", "center", "make", "normalized", "normalized_pieces", "plain"]


def make(name: str, context: EmbedderContext, options: Any = None) -> Embedder:
    """An unfitted embedder by name that carries its recipe."""
    return built(Recipe(name, context, options))


def plain(name: str, context: EmbedderContext, options: Any = None) -> Embedder:
    """As `make`, but its embeddings are never normalized."""
    return make(name, dataclasses.replace(context, norm="none"), options)


def normalized(embedder: Embedder, context: EmbedderContext, center: np.ndarray) -> Embedder:
    """A fitted embedder, normalized as the context says.

    Args:
      embedder: of `plain`.
      context: with its norm.
      center: [dim] what is subtracted from each embedding; see `center`.
    """
    assert isinstance(embedder, BuiltByName)
    recipe = embedder.recipe._replace(context=context)
    result: Any = wrapped(embedder, context.norm or "none", context.center, center)
    result.recipe = recipe
    return result


def build(
    name: str,
    dataset: str | None = None,
    steps: int | None = None,
    norm: str | None = None,
    center: float = 1.0,
    **options: Any,
) -> Embedder:
    """An unfitted embedder by name.

    Args:
      name: a module of this folder, such as "acai" or "pixels".
      dataset: name of the data set, for settings that a paper chose per data set.
      steps: number of training steps; None takes the default.
      norm: "none", "unit" (embeddings of length 1) or "centered" (minus the mean training embedding, then of length 1);
        None takes the embedder's default.
      center: share of the mean that "centered" subtracts, 0..1.
      **options: the embedder's own settings.

    Raises:
      InputError: no such embedder or norm, or it has no such setting.

    Example:
      >>> import cactus_tf as ct
      >>> images = ct.datasets.load("digits").train.images
      >>> ct.embedders.build("pixels", dims=16).fit(images).transform(images[:2]).shape
      (2, 16)
    """
    own = plugins.options("embedders", name, **options)
    if norm not in (None, *EMBEDDING_NORMS):
        raise InputError(f"norm {norm!r}: choose from {', '.join(EMBEDDING_NORMS)}")
    return make(name, EmbedderContext(dataset, steps, norm, center), own)
