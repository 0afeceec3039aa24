"""What an embedder was built from, as JSON values and back: for embedders that are stored without a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from cactus_tf.config.saved_learners import member_options
from cactus_tf.config.schema import from_saved
from cactus_tf.contracts import EmbedderContext, Recipe


def described(recipe: Recipe) -> dict[str, Any]:
    """An embedder's recipe as JSON values: name, context and options."""
    return {
        "embedder": recipe.name,
        "embedder_context": dataclasses.asdict(recipe.context),
        "embedder_options": dataclasses.asdict(recipe.options) if recipe.options else {},
    }


def read(name: str, context: Mapping[str, Any], options: Mapping[str, Any]) -> Recipe:
    """The recipe of what `described` returned, for an embedder that is loaded afterwards.

    Args:
      name, context, options: the three values.

    Raises:
      InputError: values that no release has written, or an unknown embedder.
    """
    return Recipe(name, from_saved(EmbedderContext, context), member_options("embedders", name, options))
