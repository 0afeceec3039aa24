"""The embedders: a module each, found by its file name."""

from __future__ import annotations

from typing import Any

from cactus_tf import plugins
from cactus_tf.contracts import Embedder, EmbedderContext
from cactus_tf.embedders._base.transformer import Recipe, rebuilt
from cactus_tf.embedders._base.untrained import Untrained

__all__ = ["Untrained", "build", "make"]


def make(name: str, context: EmbedderContext, options: Any = None) -> Embedder:
    """An embedder by its name, not fitted yet, that knows its recipe.

    Raises:
      InputError: no such embedder, or a setting that it cannot have.
    """
    return rebuilt(Recipe(name, context, options, plugins.load("embedders", name).build))


def build(name: str, dataset: str | None = None, steps: int | None = None, **options) -> Embedder:
    """An embedder by its name, not fitted yet.

    Args:
      name: a module of this folder, such as "acai" or "pixels".
      dataset: the data set's name, where a paper chose settings per data set.
      steps: number of training steps; None takes the paper's.
      **options: the embedder's own settings.

    Raises:
      InputError: no such embedder, or it has no such setting.

    Example:
      >>> import cactus_tf as ct
      >>> images = ct.datasets.load("digits").train.images
      >>> ct.embedders.build("pixels", dims=16).fit(images).transform(images[:2]).shape
      (2, 16)
    """
    chosen = plugins.options("embedders", name, **options)
    return make(name, EmbedderContext(dataset=dataset, steps=steps), chosen)
