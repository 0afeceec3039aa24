"""A classifier in a folder: classifier.json, the learner's weights in Keras' format, the support set, the embedder."""

from __future__ import annotations

import dataclasses
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cactus_tf
from cactus_tf import embedders, learners, plugins
from cactus_tf.contracts import Embedder, EmbedderContext, LearnerContext
from cactus_tf.errors import InputError
from cactus_tf.utils import files

if TYPE_CHECKING:
    from cactus_tf.inference.classifier import FewShotClassifier

_FORMAT = 1
_DESCRIPTION, _WEIGHTS, _SUPPORT, _EMBEDDER = "classifier.json", "learner.weights.h5", "support.npz", "embedder"
_KEPT = ("image_shape", "way", "seed", "backbone", "filters", "norm", "on_embeddings", "clusters")  # of the context
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, zipfile.BadZipFile)


def save(classifier: FewShotClassifier, folder: Path) -> None:
    """Writes the classifier; classifier.json is the last file, so that a stopped save is none.

    Raises:
      InputError: see `FewShotClassifier.save`.
    """
    learner = classifier.learner or learners.build("nearest_neighbours")
    recipe = getattr(learner, "recipe", None)
    if recipe is None:
        raise InputError("this learner does not say how it was built: take one from cactus_tf.learners.build or a run")
    if plugins.info("learners", recipe.name).uses_clusters:
        raise InputError(f"{recipe.name} learns from all training images and cannot be saved: keep its run instead")
    description = {
        "format": _FORMAT,
        "version": cactus_tf.__version__,
        "learner": recipe.name,
        "context": _context(recipe.context),
        "options": dataclasses.asdict(recipe.options) if recipe.options else {},
        **_embedder_settings(classifier.embedder),
        "transductive": classifier.transductive,
        "fitted": _fitted(classifier) if hasattr(classifier, "classes_") else None,
    }
    files.make_folder(folder, "save")
    (folder / _DESCRIPTION).unlink(missing_ok=True)
    if hasattr(learner, "variables"):
        _weights(learner.variables).save_weights(folder / _WEIGHTS)
    if classifier.embedder is not None:
        classifier.embedder.save(folder / _EMBEDDER)
    if description["fitted"]:
        support, labels = classifier.support_, classifier.support_labels_
        files.write_atomic(folder / _SUPPORT, lambda file: np.savez_compressed(file, support=support, labels=labels))
    files.write_json(folder / _DESCRIPTION, description)


def load(kind: type[FewShotClassifier], folder: Path) -> FewShotClassifier:
    """What `save` wrote; adapts to the support set anew.

    Raises:
      InputError: see `FewShotClassifier.load`.
    """
    if not (folder / _DESCRIPTION).is_file():
        raise InputError(f"{folder} holds no classifier, it has no {_DESCRIPTION}: name a folder that save wrote")
    there = files.read_json(folder / _DESCRIPTION)
    if not isinstance(there, dict) or there.get("format") != _FORMAT:
        raise InputError(f"{folder} was saved by another version, cactus_tf {cactus_tf.__version__} cannot read it")
    try:
        return _restored(kind, folder, there)
    except _DAMAGE as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{folder} holds no whole classifier ({reason}): save it again") from error


def _restored(kind: type[FewShotClassifier], folder: Path, there: dict[str, Any]) -> FewShotClassifier:
    embedder, context = None, there["context"]
    if there["embedder"]:
        embedder = _unfitted(there).load(folder / _EMBEDDER)
    dim = context.pop("dim")
    context = LearnerContext(
        **context | {"image_shape": tuple(context["image_shape"])},
        embedder=embedder,
        embeddings=np.zeros((1, dim), np.float32) if dim else None,
    )
    learner = learners.make(
        there["learner"], context, plugins.options("learners", there["learner"], **there["options"])
    )
    if hasattr(learner, "variables"):
        _weights(learner.variables).load_weights(folder / _WEIGHTS)
    classifier = kind(learner, embedder, there["transductive"])
    return _refitted(classifier, folder, there["fitted"]) if there["fitted"] else classifier


def _unfitted(there: dict[str, Any]) -> Embedder:
    """The embedder as it was built; folders of earlier versions say only its name."""
    name = there["embedder"]
    options = plugins.options("embedders", name, **there.get("embedder_options", {}))
    return embedders.make(name, EmbedderContext(**there.get("embedder_context", {})), options)


def _refitted(classifier: FewShotClassifier, folder: Path, fitted: dict[str, Any]) -> FewShotClassifier:
    with np.load(folder / _SUPPORT, allow_pickle=False) as arrays:
        support, labels = arrays["support"], arrays["labels"]
    assert classifier.learner is not None
    classifier.learner_ = classifier.learner
    classifier.image_shape_ = tuple(fitted["image_shape"]) if fitted["image_shape"] else None
    classifier.pixel_scale_ = fitted["pixel_scale"]
    if classifier.image_shape_ is None:
        classifier.n_features_in_ = support.shape[1]
    return classifier._learn(support, labels, np.array(fitted["classes"], fitted["type"]))


def _fitted(classifier: FewShotClassifier) -> dict[str, Any]:
    classes = classifier.classes_
    shape, values = classifier.image_shape_, classes.tolist()
    if not all(isinstance(label, str | int | float | bool) for label in values):
        raise InputError(f"labels such as {values[0]!r} cannot be saved: give strings or numbers to fit")
    return {
        "classes": values,
        "type": classes.dtype.str,
        "image_shape": list(shape) if shape else None,
        "pixel_scale": classifier.pixel_scale_,
    }


def _context(context: LearnerContext) -> dict[str, Any]:
    kept = {name: getattr(context, name) for name in _KEPT}
    dim = context.embeddings.shape[-1] if context.embeddings is not None else None
    return {**kept, "image_shape": list(context.image_shape), "dim": dim}


def _embedder_settings(embedder: Any) -> dict[str, Any]:
    """The embedder's name among the family, and what it was built from."""
    if embedder is None:
        return {"embedder": None}
    recipe = getattr(embedder, "recipe", None)
    if recipe is None:
        raise InputError("this embedder does not know its settings: take one from cactus_tf.embedders.build or a run")
    return {
        "embedder": recipe.name,
        "embedder_context": dataclasses.asdict(recipe.context),
        "embedder_options": dataclasses.asdict(recipe.options) if recipe.options else {},
    }


def _weights(variables: Sequence[Any]) -> Any:
    """A Keras model that is these variables, by number: Keras knows how to write and read it."""
    import keras

    class Weights(keras.Model):
        def save_own_variables(self, store):
            for i, variable in enumerate(variables):
                store[str(i)] = variable.numpy()

        def load_own_variables(self, store):
            for i, variable in enumerate(variables):
                variable.assign(store[str(i)])

    model = Weights()
    model.built = True
    return model
