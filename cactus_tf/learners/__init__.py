"""The learners, one module each, found by its file name. Modules above import `build` and `make`."""

from __future__ import annotations

import dataclasses
from typing import Any

from cactus_tf import plugins
from cactus_tf.contracts import Learner, LearnerContext, Recipe
from cactus_tf.utils.keras_defaults import keras_defaults


def make(name: str, context: LearnerContext, options: Any = None) -> Learner:
    """Builds a learner by name, untrained, with its `recipe`."""
    with keras_defaults():
        learner = plugins.load("learners", name).build(context, options)
    learner.recipe = Recipe(name, context, options)
    return learner


def build(name: str, *, image_shape: tuple[int, ...] = (), way: int = 5, seed: int = 0, **settings: Any) -> Learner:
    """Builds a learner by name, untrained.

    Args:
      name: a module of this folder, such as "protonets".
      image_shape: (height, width, channels); not needed by learners that consume embeddings.
      way: N of the training episodes.
      seed: of its initial weights.
      **settings: further fields of `LearnerContext`, such as `filters`, and the learner's own `Options`.

    Raises:
      InputError: unknown learner, or a setting that it does not have.
    """
    shared = {field.name for field in dataclasses.fields(LearnerContext)} & settings.keys()
    context = LearnerContext(
        image_shape=tuple(image_shape), way=way, seed=seed, **{key: settings[key] for key in shared}
    )
    own = {key: value for key, value in settings.items() if key not in shared}
    return make(name, context, plugins.options("learners", name, **own))
