"""The learners: a module each, found by its file name."""

from __future__ import annotations

import dataclasses

from cactus_tf import plugins
from cactus_tf.types import Learner, LearnerContext


def build(name: str, *, image_shape: tuple[int, ...] = (), way: int = 5, seed: int = 0, **settings) -> Learner:
    """A learner by its name, untrained.

    Args:
      name: a module of this folder, such as "protonets".
      image_shape: (height, width, channels); learners that consume embeddings need none.
      way: N of the training episodes.
      seed: of its initial weights.
      **settings: further fields of `LearnerContext`, such as `filters`, and the learner's own `Options`.

    Raises:
      InputError: no such learner, or a setting that it does not have.
    """
    module = plugins.load("learners", name)
    shared = {field.name for field in dataclasses.fields(LearnerContext)} & settings.keys()
    context = LearnerContext(
        image_shape=tuple(image_shape), way=way, seed=seed, **{key: settings[key] for key in shared}
    )
    own = {key: value for key, value in settings.items() if key not in shared}
    return module.build(context, plugins.options("learners", name, **own))
