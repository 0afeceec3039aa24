"""Embedders as scikit-learn transformers."""

from __future__ import annotations

import dataclasses
from typing import Any

from sklearn.base import BaseEstimator, TransformerMixin

from cactus_tf import plugins
from cactus_tf.contracts import BuiltByName, Recipe


class ImageTransformer(TransformerMixin, BaseEstimator):
    """A step of a scikit-learn `Pipeline` on [n, h, w, c] uint8 images.

    The parameters of an embedder that was built by name are its settings: the fields of its options and of
    `EmbedderContext`. Setting one makes the embedder unfitted.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The settings by name."""
        if not isinstance(self, BuiltByName):
            return super().get_params(deep)
        _, context, options = self.recipe
        return {**dataclasses.asdict(context), **(dataclasses.asdict(options) if options else {})}

    def set_params(self, **settings: Any) -> ImageTransformer:
        """Changes settings and returns itself, unfitted.

        Raises:
          InputError: the embedder has no such setting.
        """
        if not isinstance(self, BuiltByName):
            return super().set_params(**settings)
        if settings:
            changed = built(_changed(self.recipe, settings))
            self.__class__, self.__dict__ = changed.__class__, changed.__dict__  # with another norm, another class
        return self

    def __sklearn_clone__(self) -> Any:
        return built(self.recipe) if isinstance(self, BuiltByName) else super().__sklearn_clone__()

    def __sklearn_is_fitted__(self) -> bool:
        return True  # overridden by embedders that learn


def built(recipe: Recipe) -> Any:
    """An unfitted embedder that carries its recipe."""
    from cactus_tf.embedders._base import normalizing  # its classes are estimators

    module, context = plugins.load("embedders", recipe.name), recipe.context
    plain = module.build(context, recipe.options)
    embedder: Any = normalizing.wrapped(plain, context.norm or module.INFO.norm, context.center)
    embedder.recipe = recipe
    return embedder


def _changed(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    name, context, options = recipe
    shared = {field.name for field in dataclasses.fields(context)} & settings.keys()
    own = {key: value for key, value in settings.items() if key not in shared}
    if own:
        options = plugins.options("embedders", name, **{**(dataclasses.asdict(options) if options else {}), **own})
    return Recipe(name, dataclasses.replace(context, **{key: settings[key] for key in shared}), options)
