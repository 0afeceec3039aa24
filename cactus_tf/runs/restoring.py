"""What a run learned, without its data: the learner with its weights, and the embedder in front of it."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

import cactus_tf
from cactus_tf import datasets, embedders, learners, plugins
from cactus_tf.config import build_plan, rounds, schema
from cactus_tf.config.plan import LearnerPlan
from cactus_tf.config.schema import Settings
from cactus_tf.contracts import Embedder, Learner, MetaLearner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.training import weights_folder
from cactus_tf.runs.artifacts import RESTORE, check_folder, stored_array
from cactus_tf.runs.folder import CONFIG
from cactus_tf.runs.inputs import NAME as INPUTS
from cactus_tf.runs.inputs import Inputs, read_inputs
from cactus_tf.utils import checkpoints, sealed, weights
from cactus_tf.utils.arrays import read_array
from cactus_tf.utils.paths import expanded
from cactus_tf.utils.text import first_line

_IMAGES = "train-images.npy"
_SECTIONS = {
    "data": schema.DataSettings,
    "embedding": schema.EmbeddingSettings,
    "partition": schema.PartitionSettings,
    "evaluation": schema.EvaluationSettings,
    "run": schema.RunSettings,
}


class Restored(NamedTuple):
    """A learner of a run.

    Attributes:
      name: of the learner.
      learner: with the weights of its newest checkpoint.
      plan: how it was built and trained.
      dataset: of the run.
      dataset_options: the data set's own settings, or None.
      features: whether the run's rows are features instead of images.
      image_shape: (height, width, channels) of the run's images, or (dim,) of features.
      pixel_range: of the run's pictures with more than 8 bits; None if there were none.
      embedder_name: the run's embedder.
      embedder: makes what the learner consumes, if that is embeddings of images; else None.
      step: outer steps of the checkpoint; 0 for a learner that is not meta-trained.
    """

    name: str
    learner: Learner
    plan: LearnerPlan
    dataset: str
    dataset_options: Any
    features: bool
    image_shape: tuple[int, ...]
    pixel_range: datasets.PixelRange | None
    embedder_name: str
    embedder: Embedder | None
    step: int


def restore(run: str | Path, algo: str | None = None) -> Restored:
    """The learner of a run.

    Args:
      run: the run's folder.
      algo: which of its learners; may be None if only one is meta-trained, or there is only one.

    Raises:
      InputError: not a run, a run of an incompatible version, several learners to choose from, none of that name, one
        that was never trained, or an embedder that is not where the run left it.
    """
    folder = expanded(run)
    with _settings_that_work(folder):
        return _restore(folder, algo)


def restore_embedder(run: str | Path) -> Embedder | None:
    """The embedder that a run used, whatever its learners take; None if it used none.

    Raises:
      InputError: not a run, a run of an incompatible version, one that was never trained, or an embedder that is gone.
    """
    folder = expanded(run)
    inputs = read_inputs(folder)
    settings = completed(read_settings(folder), inputs, folder)
    if inputs.embedder is None or build_plan.has_features(settings):
        return None
    with _settings_that_work(folder):
        return _embedder(settings, artifacts_folder(folder, settings, inputs), inputs, "embed")


def training_images(run: str | Path) -> np.ndarray | None:
    """[n, h, w, c] uint8 (or [n, dim] float32) that a run learned from, as a memory map; None if they are gone.

    Raises:
      InputError: not a run, a run of an incompatible version, or one that was never trained.
    """
    folder = expanded(run)
    settings, inputs = read_settings(folder), read_inputs(folder)
    path = artifacts_folder(folder, settings, inputs) / inputs.data / _IMAGES
    return stored_array(path) if path.exists() else None


def read_settings(folder: Path) -> Settings:
    """The settings in a run's config.json; those that later releases added have their defaults.

    Raises:
      InputError: not a run, or one with settings that this version does not know.
    """
    path = folder / CONFIG
    if not path.is_file():
        saved_classifier = (folder / "classifier.json").is_file()
        about = "is a saved classifier, not a run" if saved_classifier else f"is not a run: it has no {CONFIG}"
        raise InputError(f"{folder} {about}; name the folder that python -m cactus_tf.main printed")
    saved = sealed.read_unchecked(path, "rerun the run's command, which writes it again")
    _check_plugins(folder, saved)
    try:
        settings = _settings(_mapping(saved, "config"))
    except (KeyError, InputError) as error:
        versions = saved.get("package_versions")
        wrote = versions.get("cactus-tf", "unknown") if isinstance(versions, dict) else "unknown"
        raise InputError(
            f"{path} cannot be read ({error}): cactus_tf {wrote} wrote it, and this is {cactus_tf.__version__}; use "
            "that version, or run its command again in another --workdir"
        ) from error
    if not sealed.is_whole(saved):
        raise InputError(
            f"{path} is damaged or was changed, as its {sealed.DIGEST} shows: rerun the run's command, which writes it "
            "again"
        )
    return settings


def _check_plugins(folder: Path, config: Mapping[str, Any]) -> None:
    """Checks that the plug-ins of a run are here and the same.

    Raises:
      InputError: one was not added, or it changed. Its folder is named, but no code runs that was not asked for.
    """
    recorded = _part(config.get("identity"), build_plan.PLUGINS)
    if isinstance(recorded, dict):
        plugins.check_sources(recorded, str(folder), _part(_part(config.get("config"), "run"), "plugins"))


def _part(value: Any, name: str) -> Any:
    """A value of a mapping; None where it is not a mapping or lacks it."""
    return value.get(name) if isinstance(value, dict) else None


def _restore(folder: Path, algo: str | None) -> Restored:
    settings = read_settings(folder)
    name = choose(settings, algo, folder)
    inputs = read_inputs(folder)
    settings = completed(settings, inputs, folder)
    learner_plan, features = build_plan.learner_plan(settings, name), build_plan.has_features(settings)
    shape, artifacts = inputs.image_shape, artifacts_folder(folder, settings, inputs)
    _check_shape(shape, artifacts / inputs.data / _IMAGES, folder)
    embedder, embeddings, images = None, None, None
    if learner_plan.embeddings and not features:
        embedder = _embedder(settings, artifacts, inputs, name)
        blank = np.zeros((1, *shape), np.uint8)
        embeddings = _array(artifacts / str(inputs.embeddings) / "train.npy", learner_plan, blank, embedder)
    if learner_plan.info.uses_clusters:
        images = _array(artifacts / inputs.data / _IMAGES, learner_plan)
        embeddings = images if features else embeddings
    elif features:
        embeddings = np.zeros((1, *shape), np.float32)
    trained = learner_plan.training is not None and learner_plan.training.steps > 0
    context = learner_plan.context(shape, embedder, embeddings, images, restored=trained)
    with weights.limited(checkpoints.size(weights_folder(folder / name)), folder / CONFIG):
        learner = learners.make(name, context, learner_plan.options)
    return Restored(
        name=name,
        learner=learner,
        plan=learner_plan,
        dataset=settings.data.dataset,
        dataset_options=settings.options.get(settings.data.dataset),
        features=features,
        image_shape=shape,
        pixel_range=datasets.PixelRange(*inputs.pixel_range) if inputs.pixel_range else None,
        embedder_name=settings.embedding.embedder,
        embedder=embedder,
        step=_load_weights(learner_plan, learner, folder),
    )


def _check_shape(shape: tuple[int, ...], path: Path, folder: Path) -> None:
    """Checks the shape of a run's images against those that it learned from, if they can be read.

    Raises:
      InputError: it is another one.
    """
    try:
        stored = read_array(path, mapped=True).shape[1:]
    except (InputError, OSError):  # gone or damaged: whoever needs them says so
        return
    if stored != shape:
        raise InputError(
            f"{folder / INPUTS} says that images are of shape {list(shape)}, and those at {path} are {list(stored)}: "
            "rerun the run's command, which writes both again"
        )


def choose(settings: Settings, algo: str | None, folder: Path) -> str:
    """The learner to use.

    Raises:
      InputError: there is none of that name, or there are several and no name was given.
    """
    trained = settings.run.algo
    if algo is not None and algo not in trained:
        raise InputError(f"{folder} has no learner {algo}; choose from {', '.join(trained)}")
    candidates = [algo] if algo else list(settings.learners) or list(trained)
    if len(candidates) > 1:
        raise InputError(f"{folder} has several learners: choose one with algo, from {', '.join(candidates)}")
    return candidates[0]


def _settings(config: Mapping[str, Any]) -> Settings:
    """The settings as config.json holds them.

    Raises:
      InputError, KeyError: one that is missing, unknown, of another type or out of its range.
    """

    def training(part: str) -> dict[str, Any]:
        return {n: schema.from_saved(schema.TrainingSettings, value) for n, value in _mapping(config, part).items()}

    sections = {name: schema.from_saved(kind, config[name]) for name, kind in _SECTIONS.items()}
    options = {n: schema.from_saved(_options_type(n), values) for n, values in _mapping(config, "options").items()}
    return Settings(**sections, learners=training("learners"), networks=training("networks"), options=options)


def _mapping(saved: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = saved[name]
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is not a mapping of settings")
    return value


def _options_type(member: str) -> type:
    for family in plugins.FAMILIES:
        if member in plugins.names(family):
            kind = plugins.options_type(family, member)
            if kind is not None:
                return kind
    raise InputError(f"unknown member {member}")


def completed(settings: Settings, inputs: Inputs, folder: Path) -> Settings:
    """The settings of the run's last round, with what only the data could tell."""
    partition: Any = {"clusters": inputs.clusters}
    settings = rounds.settings_of(settings, settings.partition.rounds, folder)
    return dataclasses.replace(
        settings,
        partition=dataclasses.replace(settings.partition, **partition),
        evaluation=dataclasses.replace(settings.evaluation, eval_ways=inputs.eval_ways),
    )


def artifacts_folder(folder: Path, settings: Settings, inputs: Inputs) -> Path:
    """The folder of the run's artifacts: where the run left it, or near the run if both were moved."""
    left = Path(inputs.artifacts_dir)
    moved = [parent / settings.run.artifacts_dir for parent in folder.resolve().parents]
    own = [part for part in (inputs.data, inputs.embedder, inputs.embeddings) if part]  # some may have been deleted
    return next((place for place in [left, *moved] if any((place / part).is_dir() for part in own)), left)


def _embedder(settings: Settings, artifacts: Path, inputs: Inputs, name: str) -> Embedder:
    """The embedder of a run with its normalization, for what is called `name`."""
    embedder, context = settings.embedding.embedder, build_plan.embedder_context(settings)
    folder = artifacts / str(inputs.embedder)
    if not (folder / "model").is_dir():
        raise InputError(
            f"{name} takes embeddings, and the {embedder} embedder of this run is not at {folder / 'model'}: {RESTORE}"
        )
    check_folder(folder)
    plain = embedders.plain(embedder, context, settings.options.get(embedder)).load(folder / "model")
    if context.norm == "none":
        return plain
    center = stored_array(artifacts / str(inputs.embeddings) / "center.npy")
    return embedders.normalized(plain, context, np.array(center))


def _array(
    path: Path, learner: LearnerPlan, blank: np.ndarray | None = None, embedder: Embedder | None = None
) -> np.ndarray:
    """The stored array; a learner that reads only the length of its rows can take the embedding of a blank image."""
    if path.exists():
        return stored_array(path)
    if embedder is None or blank is None or learner.info.uses_clusters:
        raise InputError(f"{learner.name} learns from all training images, which are not at {path}: {RESTORE}")
    return embedder.transform(blank)


def _load_weights(learner_plan: LearnerPlan, learner: Learner, folder: Path) -> int:
    """Loads the selected or newest checkpoint and returns its step; 0 for a learner that is not meta-trained."""
    if learner_plan.training is None:
        return 0
    assert isinstance(learner, MetaLearner)
    states = weights_folder(folder / learner_plan.name)
    step = checkpoints.load_newest(learner.variables, states)
    if step == 0 and learner_plan.training.steps:
        about = "all are damaged" if any(states.glob("step-*")) else "it was never trained"
        raise InputError(
            f"{learner_plan.name} of {folder} cannot be used: {states} holds no readable checkpoint ({about}); "
            "rerun the run's command, which trains it again"
        )
    return step


@contextlib.contextmanager
def _settings_that_work(folder: Path) -> Iterator[None]:
    """Settings that nothing can be built from, such as a network larger than the memory, become one line."""
    try:
        yield
    except InputError:
        raise
    except (MemoryError, ValueError, ArithmeticError, TypeError, LookupError, tf.errors.OpError) as error:
        reason = first_line(error)
        reason = re.sub(r"\{\{.*?\}\} |on /job.*", "", reason).strip()  # TensorFlow's names of nodes and devices
        raise InputError(
            f"{folder} cannot be restored from the settings in its {CONFIG} ({reason}): rerun the run's command, which "
            "writes it again"
        ) from error
