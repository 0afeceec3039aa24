"""Embedders: each member maps images to vectors without labels. Import `build`, `make` and `Untrained` from here."""

from __future__ import annotations

from typing import Any

from cactus_tf import plugins
from cactus_tf.contracts import Embedder, EmbedderContext, Recipe
from cactus_tf.embedders._base.estimator import built
from cactus_tf.embedders._base.untrained import Untrained

__all__ = ["Untrained", "build", "make"]


def make(name: str, context: EmbedderContext, options: Any = None) -> Embedder:
    """An unfitted embedder by name that carries its recipe."""
    return built(Recipe(name, context, options))


def build(name: str, dataset: str | None = None, steps: int | None = None, **options: Any) -> Embedder:
    """An unfitted embedder by name.

    Args:
      name: a module of this folder, such as "acai" or "pixels".
      dataset: name of the data set, for settings that a paper chose per data set.
      steps: number of training steps; None takes the default.
      **options: the embedder's own settings.

    Raises:
      InputError: no such embedder, or it has no such setting.

    Example:
      >>> import cactus_tf as ct
      >>> images = ct.datasets.load("digits").train.images
      >>> ct.embedders.build("pixels", dims=16).fit(images).transform(images[:2]).shape
      (2, 16)
    """
    own = plugins.options("embedders", name, **options)
    return make(name, EmbedderContext(dataset=dataset, steps=steps), own)
