"""inputs.json: what the learners of a run take, for use of the run without its data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cactus_tf.config import keys
from cactus_tf.config.plan import RunPlan
from cactus_tf.errors import InputError
from cactus_tf.types import Splits
from cactus_tf.utils import files

_NAME = "inputs.json"


def write_inputs(plan: RunPlan, data: Splits, folder: Path) -> None:
    """Writes image shape, folders of the artifacts, and what only the data could tell."""
    artifacts: dict[str, Mapping[str, Any]] = {"data": plan.data.key}
    if plan.embedding:
        artifacts |= {"embedder": plan.embedding.key, "embeddings": plan.embedding.used_key}
    inputs = {
        "image_shape": list(data.image_shape),
        "artifacts_dir": str(Path(plan.run.artifacts_dir).resolve()),
        **{part: f"{part}-{keys.digest(key)}" for part, key in artifacts.items()},
        "clusters": plan.record["partition"]["clusters"],
        "eval_ways": list(plan.evaluation.ways or ()),
    }
    files.write_json(folder / _NAME, inputs)


def read_inputs(folder: Path) -> dict[str, Any]:
    """What `write_inputs` wrote.

    Raises:
      InputError: there is nothing, because the run stopped before training or an old version made it.
    """
    path = folder / _NAME
    if not path.is_file():
        raise InputError(f"{folder} was never trained: it has no {_NAME}; rerun its command to resume")
    return files.read_json(path)
