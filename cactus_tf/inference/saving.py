"""A classifier in a folder: classifier.json, the learner's weights in Keras' format, the support set, the embedder."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cactus_tf
from cactus_tf import embedders, learners, plugins
from cactus_tf.contracts import BuiltByName, Embedder, EmbedderContext, Learner, LearnerContext, MetaLearner, Recipe
from cactus_tf.errors import InputError
from cactus_tf.utils import files

_FORMAT = 1
_DESCRIPTION, _WEIGHTS, _SUPPORT, _EMBEDDER = "classifier.json", "learner.weights.h5", "support.npz", "embedder"
_CONTEXT = ("image_shape", "way", "seed", "backbone", "filters", "norm", "on_embeddings", "clusters")  # saved fields
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


class Fitted(NamedTuple):
    """What `fit` learned.

    Attributes:
      support: [n, height, width, channels] uint8, or flat rows [n, dim].
      labels: [n] integers in 0..way-1.
      classes: [way] the label that each integer stands for.
      image_shape: (height, width, channels); None for flat rows.
      pixel_scale: the largest value that floats can have, 1 or 255; None if there were none.
    """

    support: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    image_shape: tuple[int, ...] | None
    pixel_scale: int | None


class State(NamedTuple):
    """What a classifier consists of; `fitted` is None before `fit`."""

    learner: Learner
    embedder: Embedder | None
    transductive: bool
    fitted: Fitted | None
    pixel_range: tuple[float, float] | None = None


def save(state: State, folder: Path) -> None:
    """Writes a classifier; classifier.json comes last, so that an interrupted save is not mistaken for a whole one."""
    recipe = _recipe(state.learner, "learner")
    if plugins.info("learners", recipe.name).uses_clusters:
        raise InputError(f"{recipe.name} learns from all training images and cannot be saved: keep its run instead")
    description = {
        "format": _FORMAT,
        "version": cactus_tf.__version__,
        "learner": recipe.name,
        "context": _describe_context(recipe.context),
        "options": dataclasses.asdict(recipe.options) if recipe.options else {},
        **_describe_embedder(state.embedder),
        "transductive": state.transductive,
        "fitted": _describe_fitted(state.fitted) if state.fitted else None,
        **({"pixel_range": list(state.pixel_range)} if state.pixel_range else {}),
    }
    files.make_folder(folder, "save")
    (folder / _DESCRIPTION).unlink(missing_ok=True)
    if isinstance(state.learner, MetaLearner):
        _weights(state.learner.variables).save_weights(folder / _WEIGHTS)
    if state.embedder is not None:
        state.embedder.save(folder / _EMBEDDER)
    if state.fitted:
        support, labels = state.fitted.support, state.fitted.labels
        files.write_atomic(folder / _SUPPORT, lambda file: np.savez_compressed(file, support=support, labels=labels))
    files.write_json(folder / _DESCRIPTION, description)


def load(folder: Path) -> State:
    """Reads what `save` wrote."""
    if not (folder / _DESCRIPTION).is_file():
        raise InputError(f"{folder} is not a saved classifier: it has no {_DESCRIPTION}")
    description = files.read_json(folder / _DESCRIPTION)
    if not isinstance(description, dict) or description.get("format") != _FORMAT:
        raise InputError(
            f"{folder} was saved by another version of cactus_tf; {cactus_tf.__version__} cannot read it: save it again"
        )
    try:
        return _read(folder, description)
    except _DAMAGE as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{folder} is incomplete or damaged ({reason}): save the classifier again") from error


def _read(folder: Path, description: dict[str, Any]) -> State:
    embedder = _unfitted_embedder(description).load(folder / _EMBEDDER) if description["embedder"] else None
    learner = _read_learner(folder, description, embedder)
    fitted = _read_fitted(folder, description["fitted"]) if description["fitted"] else None
    low_high = description.get("pixel_range")
    return State(learner, embedder, description["transductive"], fitted, tuple(low_high) if low_high else None)


def _read_learner(folder: Path, description: dict[str, Any], embedder: Embedder | None) -> Learner:
    fields = dict(description["context"])
    dim, shape = fields.pop("dim"), tuple(fields.pop("image_shape"))
    blank = np.zeros((1, dim), np.float32) if dim else None
    context = LearnerContext(shape, **fields, embedder=embedder, embeddings=blank)
    options = plugins.options("learners", description["learner"], **description["options"])
    learner = learners.make(description["learner"], context, options)
    if isinstance(learner, MetaLearner):
        _weights(learner.variables).load_weights(folder / _WEIGHTS)
    return learner


def _unfitted_embedder(description: dict[str, Any]) -> Embedder:
    """The embedder as it was built; the first folders of this format have only its name."""
    name = description["embedder"]
    options = plugins.options("embedders", name, **description.get("embedder_options", {}))
    return embedders.make(name, EmbedderContext(**description.get("embedder_context", {})), options)


def _read_fitted(folder: Path, fields: dict[str, Any]) -> Fitted:
    with np.load(folder / _SUPPORT, allow_pickle=False) as arrays:
        support, labels = arrays["support"], arrays["labels"]
    classes = np.array(fields["classes"], fields["type"])
    shape = tuple(fields["image_shape"]) if fields["image_shape"] else None
    return Fitted(support, labels, classes, shape, fields["pixel_scale"])


def _recipe(member: Any, family: str) -> Recipe:
    """How the member was built by name."""
    recipe = member.recipe if isinstance(member, BuiltByName) else None
    if recipe is None:
        raise InputError(
            f"only a {family} that was built by name can be saved: take one from cactus_tf.{family}s.build or a run"
        )
    return recipe


def _describe_context(context: LearnerContext) -> dict[str, Any]:
    saved = {name: getattr(context, name) for name in _CONTEXT}
    dim = context.embeddings.shape[-1] if context.embeddings is not None else None
    return {**saved, "image_shape": list(context.image_shape), "dim": dim}


def _describe_embedder(embedder: Embedder | None) -> dict[str, Any]:
    if embedder is None:
        return {"embedder": None}
    recipe = _recipe(embedder, "embedder")
    return {
        "embedder": recipe.name,
        "embedder_context": dataclasses.asdict(recipe.context),
        "embedder_options": dataclasses.asdict(recipe.options) if recipe.options else {},
    }


def _describe_fitted(fitted: Fitted) -> dict[str, Any]:
    values = fitted.classes.tolist()
    if not all(isinstance(label, str | int | float | bool) for label in values):
        raise InputError(f"labels such as {values[0]!r} cannot be saved: give strings or numbers to fit")
    return {
        "classes": values,
        "type": fitted.classes.dtype.str,
        "image_shape": list(fitted.image_shape) if fitted.image_shape else None,
        "pixel_scale": fitted.pixel_scale,
    }


def _weights(variables: Sequence[Any]) -> Any:
    """A Keras model that consists of these variables, so that Keras writes and reads the file."""
    import keras

    class Weights(keras.Model):
        def save_own_variables(self, store: Any) -> None:
            for i, variable in enumerate(variables):
                store[str(i)] = variable.numpy()

        def load_own_variables(self, store: Any) -> None:
            for i, variable in enumerate(variables):
                variable.assign(store[str(i)])

    model = Weights()
    model.built = True
    return model
