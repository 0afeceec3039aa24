"""What a run learned, without its data: the learner with its weights, and the embedder in front of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import cactus_tf
from cactus_tf import embedders, plugins
from cactus_tf.config import keys
from cactus_tf.config import schema as settings
from cactus_tf.config.schema import Config
from cactus_tf.contracts import Embedder, EmbedderContext, Learner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.training import checkpoint_folder
from cactus_tf.runs import artifacts
from cactus_tf.runs.training import build_learner
from cactus_tf.types import Splits
from cactus_tf.utils import files
from cactus_tf.utils.checkpoints import load_newest

_INPUTS = "inputs.json"
_SECTIONS = {
    "data": settings.DataSettings,
    "embedding": settings.EmbeddingSettings,
    "partition": settings.PartitionSettings,
    "evaluation": settings.EvaluationSettings,
    "run": settings.RunSettings,
}
_FAMILIES = ("datasets", "embedders", "partitioners", "learners")


class Restored(NamedTuple):
    """A learner of a run.

    Attributes:
      name: of the learner.
      learner: with the weights of its newest checkpoint.
      config: of the run.
      image_shape: (height, width, channels) that the run's images have, (dim,) where they come as features.
      embedder: makes what the learner consumes, where that is embeddings of images; else None.
      step: outer steps that the learner was trained for; 0 for one that learns nothing from tasks.
    """

    name: str
    learner: Learner
    config: Config
    image_shape: tuple[int, ...]
    embedder: Embedder | None
    step: int


def keep_inputs(config: Config, data: Splits, embeddings: bool, folder: Path) -> None:
    """Writes WORKDIR/inputs.json: what a learner of this run takes, for those that use it without the data."""
    parts = {"data": keys.data, **({"embedder": keys.embedder, "embeddings": keys.embeddings} if embeddings else {})}
    told = {
        "image_shape": list(data.image_shape),
        "artifacts_dir": str(Path(config.run.artifacts_dir).resolve()),
        **{part: f"{part}-{artifacts.key(settings_of(config))}" for part, settings_of in parts.items()},
        "clusters": config.partition.clusters,
        "eval_ways": list(config.evaluation.eval_ways),
    }
    files.write_json(folder / _INPUTS, told)


def restore(run: str | Path, algo: str | None = None) -> Restored:
    """The learner of a run.

    Args:
      run: the run's folder.
      algo: which of its learners; may stay unsaid where only one is meta-trained, or there is only one.

    Raises:
      InputError: no run, one of another version, several learners to choose from, none of that name, one that was never
        trained, or an embedder that is not where the run left it.
    """
    folder = Path(run).expanduser()
    config = read_config(folder)
    name = choose(config, algo, folder)
    inputs = _inputs(folder, config)
    config = dataclasses.replace(
        config,
        partition=dataclasses.replace(config.partition, clusters=inputs["clusters"]),
        evaluation=dataclasses.replace(config.evaluation, eval_ways=tuple(inputs["eval_ways"])),
    )
    shape, artifacts = tuple(inputs["image_shape"]), _artifacts(folder, config, inputs)
    embedder, embeddings, images = None, None, None
    if _takes_embeddings(config, name) and not keys.has_features(config):
        embedder = _embedder(config, artifacts / inputs["embedder"] / "model", name)
        blank = np.zeros((1, *shape), np.uint8)
        embeddings = _array(artifacts / inputs["embeddings"] / "train.npy", name, blank, embedder)
    if keys.uses_clusters(name):
        images = _array(artifacts / inputs["data"] / "train-images.npy", name)
        embeddings = images if keys.has_features(config) else embeddings
    elif keys.has_features(config):
        embeddings = np.zeros((1, *shape), np.float32)
    learner = build_learner(config, name, shape, embedder, embeddings, images)
    return Restored(name, learner, config, shape, embedder, _weights(config, name, learner, folder))


def restore_embedder(run: str | Path) -> Embedder | None:
    """The embedder that a run used, whatever its learners take; None where it used none.

    Raises:
      InputError: no run, one of another version, one that was never trained, or an embedder that is not where it was.
    """
    folder = Path(run).expanduser()
    config = read_config(folder)
    inputs = _inputs(folder, config)
    if "embedder" not in inputs or keys.has_features(config):
        return None
    return _embedder(config, _artifacts(folder, config, inputs) / inputs["embedder"] / "model", "embed")


def training_images(run: str | Path) -> np.ndarray | None:
    """[n, h, w, c] uint8 (or [n, dim] float32) that a run learned from, as a memory map; None where they are gone.

    Raises:
      InputError: no run, one of another version, or one that was never trained.
    """
    folder = Path(run).expanduser()
    config = read_config(folder)
    inputs = _inputs(folder, config)
    path = _artifacts(folder, config, inputs) / inputs["data"] / "train-images.npy"
    return np.load(path, mmap_mode="r", allow_pickle=False) if path.is_file() else None


def read_config(folder: Path) -> Config:
    """The configuration in a run's config.json.

    Raises:
      InputError: no run, or one of another version.
    """
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(
            f"{folder} is no run, it has no config.json: name the folder that python -m cactus_tf.main printed"
        )
    there = files.read_json(path)
    try:
        return _config(there["config"])
    except (KeyError, TypeError, AttributeError, InputError) as error:
        versions = there.get("package_versions", {}) if isinstance(there, Mapping) else {}
        raise InputError(
            f"{path} cannot be read ({error}): it is of cactus_tf {versions.get('cactus-tf', 'unknown')}, and this is "
            f"{cactus_tf.__version__}; use that version, or run its command again in another --workdir"
        ) from error


def choose(config: Config, algo: str | None, folder: Path) -> str:
    """The learner that is meant.

    Raises:
      InputError: there is none of that name, or several and none was named.
    """
    there = config.run.algo
    if algo is not None and algo not in there:
        raise InputError(f"{folder} has no learner {algo}; it has {', '.join(there)}: name one of them as algo")
    candidates = [algo] if algo else list(config.learners) or list(there)
    if len(candidates) > 1:
        raise InputError(f"{folder} has several learners, {', '.join(candidates)}: name one of them as algo")
    return candidates[0]


def _config(said: Mapping[str, Any]) -> Config:
    def section(kind: type, values: Mapping[str, Any]) -> Any:
        known = {field.name for field in dataclasses.fields(kind)}
        if set(values) != known:
            raise KeyError(f"settings {', '.join(sorted(set(values) ^ known))}")
        return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})

    def networks(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: section(settings.TrainingSettings, value) for name, value in values.items()}

    options = {name: section(_options_type(name), values) for name, values in said["options"].items()}
    sections = {name: section(kind, said[name]) for name, kind in _SECTIONS.items()}
    return Config(**sections, learners=networks(said["learners"]), networks=networks(said["networks"]), options=options)


def _options_type(member: str) -> type:
    family = next((family for family in _FAMILIES if member in plugins.names(family)), None)
    if family is None:
        raise KeyError(f"member {member}")
    return plugins.load(family, member).Options


def _inputs(folder: Path, config: Config) -> dict[str, Any]:
    """What `keep_inputs` wrote.

    Raises:
      InputError: nothing, so the run ended before its training, or an earlier version made it.
    """
    path = folder / _INPUTS
    if not path.is_file():
        raise InputError(
            f"{folder} was never trained, or by an earlier version: it has no {path.name}; run its command again, "
            "which goes on from what is there"
        )
    return files.read_json(path)


def _artifacts(folder: Path, config: Config, inputs: Mapping[str, Any]) -> Path:
    """Where the run's artifacts are: where it left them, or beside the folder that it lies in, if both were moved."""
    moved = folder.resolve().parent.parent / config.run.artifacts_dir
    left = Path(inputs["artifacts_dir"])
    return left if left.is_dir() or not moved.is_dir() else moved


def _takes_embeddings(config: Config, name: str) -> bool:
    training = config.learners.get(name) or config.networks.get(name)
    uses = getattr(plugins.load("learners", name), "USES_EMBEDDINGS", False)
    return uses or bool(training and training.on_embeddings)


def _embedder(config: Config, folder: Path, name: str) -> Embedder:
    embedder = config.embedding.embedder
    if not folder.is_dir():
        raise InputError(
            f"{name} takes embeddings, and the {embedder} embedder of this run is not at {folder}: bring the artifacts "
            "back, or run the command again"
        )
    context = EmbedderContext(dataset=config.data.dataset, steps=config.embedding.embedder_steps)
    return embedders.make(embedder, context, config.options.get(embedder)).load(folder)


def _array(path: Path, name: str, blank: np.ndarray | None = None, embedder: Embedder | None = None) -> np.ndarray:
    """The kept array; for a learner that asks only for the length of its rows, the embedding of a blank image."""
    if path.is_file():
        return np.load(path, mmap_mode="r", allow_pickle=False)
    if embedder is None or keys.uses_clusters(name):
        raise InputError(
            f"{name} learns from all training images, which are not at {path}: bring the artifacts back, or run the "
            "command again"
        )
    return embedder.transform(blank)  # type: ignore[arg-type]


def _weights(config: Config, name: str, learner: Any, folder: Path) -> int:
    if name not in config.learners:
        return 0
    checkpoints = checkpoint_folder(folder / name)
    assert checkpoints is not None
    step = load_newest(learner.variables, checkpoints)
    if step == 0 and config.learners[name].steps:
        raise InputError(
            f"{name} of {folder} was never trained, {checkpoints} holds no checkpoint: run its command again"
        )
    return step
