"""What scikit-learn asks of a transformer, for embedders that were built by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cactus_tf.contracts import EmbedderContext
from cactus_tf.errors import InputError


class Recipe(NamedTuple):
    """What an embedder was built from; those that `make` and `build` of the family give carry it as `recipe`.

    Attributes:
      name: of the embedder.
      context, options: what its module's `build` got.
      build: that function.
    """

    name: str
    context: EmbedderContext
    options: Any
    build: Callable[..., Any]


class Transformer:
    """Makes an embedder a step of a scikit-learn `Pipeline` on [n, h, w, c] uint8 images; its settings are parameters.

    Parameters are the fields of its options, and `dataset` and `steps`; to set one makes the embedder unfitted.
    """

    recipe: Recipe | None = None

    def fit_transform(self, images: np.ndarray, y: Any = None, **settings: Any) -> np.ndarray:
        """[n, dim] float32 embeddings of the images that are fitted; y, which are labels, is not looked at.

        Args:
          images: [n, h, w, c] uint8.
          y: anything.
          **settings: further arguments of `fit`, such as `seed`.
        """
        return self.fit(images, **settings).transform(images)  # type: ignore[attr-defined]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name.

        Raises:
          InputError: it was not made by `cactus_tf.embedders.build`.
        """
        made = self._made()
        return {**dataclasses.asdict(made.context), **(dataclasses.asdict(made.options) if made.options else {})}

    def set_params(self, **settings: Any):
        """Changes settings and returns itself, unfitted.

        Raises:
          InputError: a setting that it does not have.
        """
        made, known = self._made(), self.get_params()
        unknown = sorted(settings.keys() - known.keys())
        if unknown:
            raise InputError(f"{made.name} has no setting {', '.join(unknown)}; it has {', '.join(known)}")
        if settings:
            of_context = {field.name for field in dataclasses.fields(made.context)}
            context = dataclasses.replace(made.context, **{k: v for k, v in settings.items() if k in of_context})
            own = {k: v for k, v in settings.items() if k not in of_context}
            options = dataclasses.replace(made.options, **own) if own else made.options
            self.__dict__ = rebuilt(made._replace(context=context, options=options)).__dict__
        return self

    def _made(self) -> Recipe:
        if self.recipe is None:
            raise InputError("this embedder does not know its settings: take one from cactus_tf.embedders.build")
        return self.recipe

    def __sklearn_clone__(self):
        return rebuilt(self._made())

    def __sklearn_is_fitted__(self) -> bool:
        try:
            self._fitted()  # type: ignore[attr-defined]
        except InputError:
            return False
        return True

    def __sklearn_tags__(self):
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
            input_tags=InputTags(two_d_array=False, three_d_array=True),
        )


def rebuilt(recipe: Recipe) -> Any:
    """A new embedder, not fitted, that carries its recipe."""
    embedder = recipe.build(recipe.context, recipe.options)
    embedder.recipe = recipe
    return embedder
