"""inputs.json: what the learners of a run take, for use of the run without its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cactus_tf.config import keys
from cactus_tf.config.plan import RunPlan
from cactus_tf.config.schema import from_saved, option
from cactus_tf.errors import InputError
from cactus_tf.types import Splits
from cactus_tf.utils import files, sealed
from cactus_tf.utils.paths import is_below

PREPARED = "prepared.json"  # in the artifact of the data, what their preparation found
NAME = "inputs.json"
_REMEDY = "rerun the run's command, which writes it again"


@dataclasses.dataclass(frozen=True)
class Inputs:
    """The content of inputs.json."""

    image_shape: tuple[int, ...] = option(
        dataclasses.MISSING, "(height, width, channels) of the images, or (dim,) of features", low=1, high=1 << 20
    )
    artifacts_dir: str = option(dataclasses.MISSING, "the folder of all artifacts")
    data: str = option(dataclasses.MISSING, "folder of the prepared data in it")
    eval_ways: tuple[int, ...] = option(dataclasses.MISSING, "N of the evaluation tasks", low=2)
    clusters: int | None = option(None, "k; None if nothing is clustered", low=1)
    embedder: str | None = option(None, "folder of the embedder")
    embeddings: str | None = option(None, "folder of the embeddings")
    pixel_range: tuple[float, ...] | None = option(None, "of pictures with more than 8 bits: lowest and highest value")


def write_inputs(plan: RunPlan, data: Splits, folder: Path) -> None:
    """Writes image shape, folders of the artifacts, and what only the data could tell."""
    artifacts: dict[str, Mapping[str, Any]] = {"data": plan.data.key}
    if plan.embedding:
        artifacts |= {"embedder": plan.embedding.key, "embeddings": plan.embedding.used_key}
    root = Path(plan.run.artifacts_dir).resolve()
    folders = {part: f"{part}-{keys.digest(key)}" for part, key in artifacts.items()}
    inputs = Inputs(
        image_shape=data.image_shape,
        artifacts_dir=str(root),
        clusters=plan.settings.partition.clusters,
        eval_ways=tuple(plan.evaluation.ways or ()),
        pixel_range=_pixel_range(root / folders["data"]),
        **folders,
    )
    content = {name: value for name, value in dataclasses.asdict(inputs).items() if value is not None}
    sealed.write(folder / NAME, {**content, "clusters": inputs.clusters})


def read_inputs(folder: Path) -> Inputs:
    """What `write_inputs` wrote.

    Raises:
      InputError: there is nothing, because the run stopped before training or an old version made it; or it is damaged.
    """
    path = folder / NAME
    if not path.exists():
        raise InputError(f"{folder} has no {NAME}: it was never trained, or lost the file; rerun its command")
    content = sealed.read(path, _REMEDY)
    try:
        inputs: Inputs = from_saved(Inputs, content)
        _check_folders(inputs)
        return inputs
    except InputError as error:
        raise InputError(f"{path} is damaged ({error}): {_REMEDY}") from error


def _check_folders(inputs: Inputs) -> None:
    """Checks that the folders of artifacts lie in that of all artifacts.

    Raises:
      InputError: one does not.
    """
    for name in (inputs.data, inputs.embedder, inputs.embeddings):
        if name is not None and not is_below(name):
            raise InputError(f"{name!r} is not the name of a folder in artifacts_dir")


def _pixel_range(data: Path) -> tuple[float, float] | None:
    """The range of pictures with more than 8 bits, where the prepared data have one."""
    path = data / PREPARED
    low_high = files.read_json_if_whole(path, dict, {}).get("pixel_range")
    return (low_high[0], low_high[1]) if low_high else None
