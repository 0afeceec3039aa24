"""What a run stored of the pictures that it was trained on, for use with them again."""

from __future__ import annotations

import contextlib
import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cactus_tf import plugins
from cactus_tf.config import build_plan, keys
from cactus_tf.config.schema import Settings
from cactus_tf.errors import InputError
from cactus_tf.runs.artifacts import stored_array
from cactus_tf.runs.inputs import read_inputs
from cactus_tf.runs.restoring import artifacts_folder, completed, read_settings
from cactus_tf.utils import files
from cactus_tf.utils.paths import expanded


class TrainingPictures(NamedTuple):
    """The pictures that a run was trained on.

    Attributes:
      images: [n, h, w, c] uint8, a memory map.
      files: [n] names below their folder.
      embeddings: [n, dim] float32, a memory map.
      clusters: [n] the cluster of each picture in the run's first partition; None if it is not one of k-means.
    """

    images: np.ndarray
    files: np.ndarray
    embeddings: np.ndarray
    clusters: np.ndarray | None


def stored(run: str | Path, data_dir: str | Path) -> TrainingPictures | None:
    """What a run stored of the pictures in a folder; None if it was trained on others, or its artifacts are gone.

    The folder may have moved: names, sizes and times of the pictures count.

    Raises:
      InputError: not a run, a run of an incompatible version, one that was never trained, or a damaged artifact.
    """
    folder = expanded(run)
    settings, inputs = read_settings(folder), read_inputs(folder)
    artifacts = artifacts_folder(folder, settings, inputs)
    same = _with_folder(completed(settings, inputs, folder), artifacts / str(inputs.embedder), data_dir)
    data = artifacts / inputs.data
    paths = [data / "train-images.npy", data / "train-names.npy", artifacts / str(inputs.embeddings) / "train.npy"]
    if same is None or not all(path.exists() for path in paths):
        return None
    images, names, embeddings = map(stored_array, paths)
    decoded = np.array([name.decode() for name in names.tolist()])
    return TrainingPictures(images, decoded, embeddings, _clusters(same, artifacts))


def _with_folder(settings: Settings, embedder: Path, data_dir: str | Path) -> Settings | None:
    """The settings with another folder of pictures, if it has the pictures that a stored embedder was made from."""
    if plugins.info("datasets", settings.data.dataset).train_files is None:
        return None
    recorded = files.read_json_if_whole(embedder / "settings.json", dict, {}).get("data")
    for eval_dir in dict.fromkeys([None, settings.data.eval_dir]):
        changed: dict[str, Any] = {"data_dir": str(data_dir), "eval_dir": eval_dir}
        candidate = dataclasses.replace(settings, data=dataclasses.replace(settings.data, **changed))
        with contextlib.suppress(InputError):  # too few pictures, or no such folder
            if recorded == build_plan.data_plan(candidate).train_key:
                return candidate
    return None


def _clusters(settings: Settings, artifacts: Path) -> np.ndarray | None:
    """The first partition, if k-means made it and it is stored."""
    if settings.partition.partitioner != "kmeans":
        return None
    with contextlib.suppress(InputError):  # the weights of the embedder are no longer where they were
        plan = build_plan.make(settings)
        if plan.partition is not None:
            path = artifacts / f"partitions-{keys.digest(plan.partition.key)}" / "partition-0000.npy"
            return stored_array(path) if path.exists() else None
    return None


def training_embeddings(run: str | Path) -> np.ndarray | None:
    """[n, dim] float32 training embeddings of a run, as a memory map; None if they are gone."""
    folder = expanded(run)
    settings, inputs = read_settings(folder), read_inputs(folder)
    path = artifacts_folder(folder, settings, inputs) / str(inputs.embeddings) / "train.npy"
    return stored_array(path) if path.exists() else None
