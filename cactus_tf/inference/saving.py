"""A classifier in a folder: classifier.json, the learner's weights in Keras' format, the support set, the embedder."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cactus_tf
from cactus_tf import embedders, learners, plugins
from cactus_tf.config import saved_embedders, saved_learners
from cactus_tf.config.schema import from_saved, option
from cactus_tf.contracts import BuiltByName, Embedder, Learner, MetaLearner, Recipe
from cactus_tf.errors import InputError
from cactus_tf.utils import files, sealed, weights
from cactus_tf.utils.arrays import read_archive
from cactus_tf.utils.paths import is_below
from cactus_tf.utils.text import first_line

_FORMAT = 1
_DESCRIPTION, _WEIGHTS, _SUPPORT, _EMBEDDER = "classifier.json", "learner.weights.h5", "support.npz", "embedder"
_REMEDY = "save the classifier again"
_LONGEST = 1 << 16  # bytes of a label


@dataclasses.dataclass(frozen=True)
class _Description:
    """The content of classifier.json.

    `files` has the checksums of all other files, which release 0.1 did not write; `own_embedder` is the class of an
    embedder that was not built by name, and `plugins` are the sources of those that were used.
    """

    format: int
    version: str
    learner: str
    context: Mapping[str, Any]
    options: Mapping[str, Any]
    transductive: bool
    embedder: str | None = None
    embedder_context: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    embedder_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    fitted: Mapping[str, Any] | None = None
    pixel_range: tuple[float, ...] | None = None
    head: str = "learner"
    own_embedder: str | None = None
    plugins: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    files: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class _Labels:
    """What classifier.json says of a fitted classifier; as in `Fitted`, with the type of the classes."""

    classes: tuple[Any, ...]
    type: str
    image_shape: tuple[int, ...] | None = option(None, "of an image", low=1, high=1 << 16)
    pixel_scale: int | None = option(None, "1 or 255", low=1, high=255)


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
    head: str = "learner"


def save(state: State, folder: Path) -> None:
    """Writes a classifier; classifier.json comes last, so that an interrupted save is not mistaken for a whole one."""
    recipe = saved_learners.of(state.learner)
    if plugins.info("learners", recipe.name).uses_clusters:
        raise InputError(f"{recipe.name} learns from all training images and cannot be saved: keep its run instead")
    description = {
        "format": _FORMAT,
        "version": cactus_tf.__version__,
        **saved_learners.described(recipe),
        **_describe_embedder(state.embedder),
        "transductive": state.transductive,
        "fitted": _describe_fitted(state.fitted) if state.fitted else None,
        **({"pixel_range": list(state.pixel_range)} if state.pixel_range else {}),
        **({"head": state.head} if state.head != "learner" else {}),
        **_describe_plugins(recipe, state.embedder),
    }
    files.make_folder(folder, "save")
    files.remove(folder / _DESCRIPTION)
    written = _write_parts(state, folder)
    checksums = {path.relative_to(folder).as_posix(): files.whole_checksum(path) for path in written}
    sealed.write(folder / _DESCRIPTION, {**description, "files": checksums})


def _write_parts(state: State, folder: Path) -> list[Path]:
    """Writes weights, embedder and support set, as far as there are any; returns the files."""
    written = []
    if isinstance(state.learner, MetaLearner):
        written.append(folder / _WEIGHTS)
        weights.save(state.learner.variables, written[-1])
    if state.embedder is not None:
        state.embedder.save(files.make_folder(folder / _EMBEDDER, "save"))
        written += [path for path in sorted((folder / _EMBEDDER).rglob("*")) if path.is_file()]
    if state.fitted:
        support, labels = state.fitted.support, state.fitted.labels
        written.append(folder / _SUPPORT)
        files.write_atomic(written[-1], lambda file: np.savez_compressed(file, support=support, labels=labels))
    return written


def load(folder: Path, embedder: Embedder | type[Embedder] | None = None) -> State:
    """Reads what `save` wrote; an embedder that was not built by name must be given, or its class."""
    if not (folder / _DESCRIPTION).is_file():
        raise InputError(f"{folder} is not a saved classifier: it has no {_DESCRIPTION}")
    content = sealed.read(folder / _DESCRIPTION, _REMEDY)
    if content.get("format") != _FORMAT:
        raise InputError(
            f"{folder} was saved by another version of cactus_tf; {cactus_tf.__version__} cannot read it: save it again"
        )
    _check_given(folder, content, embedder)
    try:
        description: _Description = from_saved(_Description, content)
        _check_files(folder, description.files)
        return _read(folder, description, embedder)
    except Exception as error:  # HDF5, Keras and NumPy raise errors of many kinds on damaged files
        reason = first_line(error)
        raise InputError(f"{folder} is incomplete or damaged ({reason}): {_REMEDY}") from error


def _check_given(folder: Path, content: Mapping[str, Any], embedder: Embedder | type[Embedder] | None) -> None:
    """Checks that the code which the folder does not hold is here: plug-ins, and an embedder of the user's own.

    Raises:
      InputError: it is not.
    """
    recorded = content.get("plugins")
    if isinstance(recorded, dict):
        plugins.check_sources(recorded, str(folder))
    name = content.get("own_embedder")
    if name and embedder is None:
        raise InputError(
            f"{folder} was saved with an embedder of your own, {name}: give an unfitted one, load(folder, embedder=...)"
        )
    if embedder is not None and _class_name(embedder) != name:
        expected = name or content.get("embedder") or "none"
        remedy = f"give a {name}" if name else "leave embedder out"
        raise InputError(f"{folder} was saved with the embedder {expected}, not {_class_name(embedder)}: {remedy}")


def _class_name(embedder: Embedder | type[Embedder]) -> str:
    return (embedder if isinstance(embedder, type) else type(embedder)).__name__


def _check_files(folder: Path, checksums: Mapping[str, Any]) -> None:
    """Checks the files of a classifier whole.

    Raises:
      InputError: one is missing or differs from what was saved.
    """
    for name, recorded in checksums.items():
        if not is_below(name):
            raise InputError(f"{_DESCRIPTION} names {name!r}, a file outside of this folder")
        if not (folder / name).is_file() or files.whole_checksum(folder / name) != recorded:
            raise InputError(f"{name} is missing, or differs from what was saved")


def _read(folder: Path, description: _Description, given: Embedder | type[Embedder] | None) -> State:
    embedder = given() if isinstance(given, type) else given
    if description.embedder:
        embedder = _unfitted_embedder(description)
    if embedder is not None:
        loaded = embedder.load(folder / _EMBEDDER)
        embedder = embedder if loaded is None else loaded  # one of the user's own may not return itself
    learner = _read_learner(folder, description, embedder)
    fitted = _read_fitted(folder, from_saved(_Labels, description.fitted)) if description.fitted else None
    low_high = description.pixel_range
    pixel_range = (low_high[0], low_high[1]) if low_high else None
    return State(learner, embedder, description.transductive, fitted, pixel_range, description.head)


def _read_learner(folder: Path, description: _Description, embedder: Embedder | None) -> Learner:
    recipe = saved_learners.read(description.learner, description.context, description.options, embedder)
    path = folder / _WEIGHTS
    with weights.limited(path.stat().st_size if path.is_file() else 0, folder / _DESCRIPTION):
        learner = learners.make(*recipe)
    if isinstance(learner, MetaLearner):
        weights.load(learner.variables, path)
    return learner


def _unfitted_embedder(description: _Description) -> Embedder:
    """The embedder as it was built; the first folders of this format have only its name."""
    name = str(description.embedder)
    recipe = saved_embedders.read(name, description.embedder_context, description.embedder_options)
    return embedders.make(*recipe)


def _read_fitted(folder: Path, about: _Labels) -> Fitted:
    stored = read_archive(folder / _SUPPORT, ["support", "labels"], remedy=_REMEDY)
    support, labels, kind = stored["support"], stored["labels"], np.dtype(about.type)
    if kind.kind not in "biufUO" or kind.itemsize > _LONGEST:
        raise InputError(f"the classes are of type {about.type}")
    classes = np.array(about.classes, kind)
    if len(labels) != len(support) or labels.dtype.kind not in "iu" or classes.ndim != 1:
        raise InputError(f"{_SUPPORT} has {len(support)} images and {len(labels)} labels")
    if not np.array_equal(np.unique(labels), np.arange(len(classes))):
        raise InputError(f"{_SUPPORT} has labels of other classes than the {len(classes)} of {_DESCRIPTION}")
    if about.image_shape is None and support.ndim != 2:
        raise InputError(f"{_SUPPORT} has images, and {_DESCRIPTION} does not give their shape")
    if about.image_shape is not None and (support.dtype != np.uint8 or support.shape[1:] != about.image_shape):
        raise InputError(f"{_SUPPORT} has images of another shape than {list(about.image_shape)}")
    return Fitted(support, labels, classes, about.image_shape, about.pixel_scale)


def _describe_embedder(embedder: Embedder | None) -> dict[str, Any]:
    if embedder is None:
        return {"embedder": None}
    if not isinstance(embedder, BuiltByName):
        return {"embedder": None, "own_embedder": _own(embedder)}
    return saved_embedders.described(embedder.recipe)


def _own(embedder: Any) -> str:
    """The class of an embedder that was not built by name.

    Raises:
      InputError: it has no `save` or `load`.
    """
    name = _class_name(embedder)
    if not isinstance(embedder, Embedder):
        raise InputError(
            f"the embedder {name} cannot be saved: add methods save(folder) and load(folder) to its class, "
            "as of cactus_tf.contracts.Embedder, or make it a plug-in (docs/extending.md)"
        )
    return name


def _describe_plugins(recipe: Recipe, embedder: Embedder | None) -> dict[str, Any]:
    """The sources of the plug-ins that a classifier needs; nothing without any."""
    members = [("learners", recipe.name), ("backbones", recipe.context.backbone)]
    members += [("embedders", embedder.recipe.name)] if isinstance(embedder, BuiltByName) else []
    used = plugins.sources(members)
    return {"plugins": used} if used else {}


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
