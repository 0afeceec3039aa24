"""What a learner was built from, as JSON values and back: for learners that are stored without a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cactus_tf import plugins
from cactus_tf.config.schema import from_saved, option
from cactus_tf.contracts import BuiltByName, Embedder, Learner, LearnerContext, Recipe
from cactus_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class _Context:
    """What the learner was built from: fields of `LearnerContext`, and the length of its embeddings."""

    image_shape: tuple[int, ...] = option(dataclasses.MISSING, "of an image; () if unknown", low=1, high=1 << 20)
    way: int = option(5, "N", low=1, high=1 << 20)
    seed: int = option(0, "of the initial weights", low=0)
    backbone: str | None = None
    filters: int | None = option(None, "channels", low=1, high=1 << 16)
    norm: str | None = None
    precision: str = "float32"
    on_embeddings: bool = False
    clusters: int | None = option(None, "k", low=1)
    dim: int | None = option(None, "of the embeddings", low=1, high=1 << 24)


def of(learner: Learner) -> Recipe:
    """How the learner was built by name.

    Raises:
      InputError: it was not.
    """
    if not isinstance(learner, BuiltByName):
        raise InputError(
            "only a learner that was built by name can be saved: take one from cactus_tf.learners.build or a run"
        )
    return learner.recipe


def described(recipe: Recipe) -> dict[str, Any]:
    """A learner's recipe as JSON values: name, context and options."""
    context = recipe.context
    names = [field.name for field in dataclasses.fields(_Context) if field.name != "dim"]
    saved = {name: getattr(context, name) for name in names}
    if saved["precision"] == _Context.precision:  # not in what the first release wrote
        del saved["precision"]
    dim = context.embeddings.shape[-1] if context.embeddings is not None else None
    return {
        "learner": recipe.name,
        "context": {**saved, "image_shape": list(context.image_shape), "dim": dim},
        "options": dataclasses.asdict(recipe.options) if recipe.options else {},
    }


def read(name: str, context: Mapping[str, Any], options: Mapping[str, Any], embedder: Embedder | None = None) -> Recipe:
    """The recipe of what `described` returned, for a learner whose weights are loaded afterwards.

    Args:
      name, context, options: the three values.
      embedder: in front of the learner, or None.

    Raises:
      InputError: values that no release has written, or an unknown learner.
    """
    fields = dataclasses.asdict(from_saved(_Context, context))
    dim, shape = fields.pop("dim"), fields.pop("image_shape")
    blank = np.zeros((1, dim), np.float32) if dim else None
    built_from = LearnerContext(shape, **fields, embedder=embedder, embeddings=blank, restored=True)
    return Recipe(name, built_from, member_options("learners", name, options))


def member_options(family: str, name: str, saved: Mapping[str, Any]) -> Any:
    """A member's own settings from a saved mapping; None if it has none."""
    kind = plugins.options_type(family, name)
    return plugins.options(family, name, **saved) if kind is None else from_saved(kind, saved)
