"""Embedders as scikit-learn transformers, which normalize their embeddings if asked to."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin

from cactus_tf import plugins
from cactus_tf.contracts import BuiltByName, Embedder, GraphEncoder, Recipe, TrainedNetwork
from cactus_tf.embedders._base import normalizing
from cactus_tf.errors import InputError
from cactus_tf.types import Array
from cactus_tf.utils import files
from cactus_tf.utils.arrays import as_float32, read_array

if TYPE_CHECKING:
    import tensorflow as tf

_CENTER = "center.npy"
_REMEDY = "fit and save the embedder again"


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


class Normalized(ImageTransformer):
    """An embedder whose embeddings are centered and scaled to length 1.

    Args:
      embedder: that computes the embeddings.
      norm: "centered" or "unit".
      share: of the mean training embedding that "centered" subtracts, 0..1.
      center: [dim] what is subtracted, if the embedder is fitted; None: `fit` or `load` finds it.
    """

    def __init__(self, embedder: Embedder, norm: str, share: float, center: np.ndarray | None = None):
        self.embedder, self.norm, self.share, self.center = embedder, norm, share, center

    def fit(
        self,
        images: np.ndarray,
        y: Any = None,
        *,
        seed: int = 0,
        folder: Path | None = None,
        callbacks: Sequence = (),
        **names: np.ndarray,
    ) -> Normalized:
        """Fits the embedder, embeds the images if their mean is needed, and returns itself.

        `names` are the files of the images, for an embedder that takes them.
        """
        self.fit_transform(images, seed=seed, folder=folder, callbacks=callbacks, **names)
        return self

    def fit_transform(self, images: np.ndarray, y: Any = None, **fit: Any) -> np.ndarray:
        """As `fit` and then `transform` of the same images, which are embedded once."""
        names = {"names": fit["names"]} if "names" in fit else {}
        embeddings = self.embedder.fit(images, **fit).transform(images, **names)
        self.center = normalizing.center(embeddings, self.norm, self.share)
        return normalizing.normalized(embeddings, self.center)

    def transform(self, images: np.ndarray, **names: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32 of length 1; `names` as in `fit`."""
        center, embeddings = self._fitted_center(), self.embedder.transform(images, **names)
        if embeddings.shape[1:] != center.shape:
            raise InputError(
                f"the embedder gives {embeddings.shape[1]} numbers, and the mean that is subtracted has {len(center)}: "
                f"{_REMEDY}"
            )
        return normalizing.normalized(embeddings, center)

    def save(self, folder: Path) -> None:
        """Writes what `load` needs."""
        fitted, folder = self._fitted_center(), files.make_folder(Path(folder), "save")
        self.embedder.save(folder)
        files.write_atomic(folder / _CENTER, lambda file: np.save(file, fitted))

    def load(self, folder: Path) -> Normalized:
        """Restores what `save` wrote and returns itself.

        Raises:
          InputError: the folder holds no such embedder, or a damaged one.
        """
        self.embedder.load(folder)
        path = Path(folder) / _CENTER
        center = read_array(path, remedy=_REMEDY)
        if center.ndim != 1 or center.dtype.kind not in "fiu":
            raise InputError(f"{path} is {center.dtype} of shape {list(center.shape)}, not [dim] numbers: {_REMEDY}")
        self.center = as_float32(center[np.newaxis], str(path), _REMEDY)[0]
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return self.center is not None

    def _fitted_center(self) -> np.ndarray:
        if self.center is None:
            raise InputError("the embedder is not fitted yet; call fit or load first")
        return self.center


class NormalizedEncoder(Normalized):
    """A `Normalized` embedder that works in a TensorFlow graph."""

    embedder: Any  # a GraphEncoder

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """As `transform`, of a tensor, by TensorFlow."""
        import tensorflow as tf

        z = self.embedder.encode(images) - self._fitted_center()
        return z / tf.maximum(tf.norm(z, axis=1, keepdims=True), normalizing.SHORTEST)


class NormalizedNetwork(NormalizedEncoder):
    """A `NormalizedEncoder` around a network that was trained step by step."""

    @property
    def curve(self) -> list[dict[str, float]]:
        """The learning curve of the network."""
        return self.embedder.curve

    def pictures(self, images: Array) -> Mapping[str, Array]:
        """The pictures of the network."""
        return self.embedder.pictures(images)


def wrapped(embedder: Embedder, norm: str, share: float, center: np.ndarray | None = None) -> Embedder:
    """The embedder, normalized; it offers what the embedder offers."""
    if norm == "none":
        return embedder
    encodes = isinstance(embedder, GraphEncoder)
    kind = NormalizedNetwork if encodes and isinstance(embedder, TrainedNetwork) else NormalizedEncoder
    return (kind if encodes else Normalized)(embedder, norm, share, center)


def built(recipe: Recipe) -> Any:
    """An unfitted embedder that carries its recipe."""
    module, context = plugins.load("embedders", recipe.name), recipe.context
    plain = module.build(context, recipe.options)
    embedder: Any = wrapped(plain, context.norm or module.INFO.norm, context.center)
    embedder.recipe = recipe
    return embedder


def _changed(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    name, context, options = recipe
    shared = {field.name for field in dataclasses.fields(context)} & settings.keys()
    own = {key: value for key, value in settings.items() if key not in shared}
    if own:
        options = plugins.options("embedders", name, **{**(dataclasses.asdict(options) if options else {}), **own})
    return Recipe(name, dataclasses.replace(context, **{key: settings[key] for key in shared}), options)
