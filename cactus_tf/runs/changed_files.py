"""How the user's files differ from those that a run was trained on."""

from __future__ import annotations

from pathlib import Path

from cactus_tf import plugins
from cactus_tf.config.plan import DataPlan
from cactus_tf.errors import InputError
from cactus_tf.runs.inputs import PREPARED, read_inputs
from cactus_tf.utils import files
from cactus_tf.utils.arrays import read_array


def describe(data: DataPlan, folder: Path, artifacts: Path) -> str:
    """In words: "the pictures in DIR changed: 3 added, 1 removed".

    Args:
      data: what is prepared now.
      folder: of the run.
      artifacts: the folder that runs share; where the run's prepared data are gone, nothing is counted.
    """
    changed = f"the pictures in {data.data_dir} changed"
    list_names = plugins.info("datasets", data.dataset).train_files
    earlier = _earlier(folder, artifacts)
    if list_names is None or earlier is None:
        return changed
    names, left_out = earlier
    now = set(list_names(data.data_dir, data.eval_dir))
    added, removed = len(now - names - left_out), len(names - now)
    same = "" if added or removed else "; some have another size or time"
    return f"{changed}: {added:,} added, {removed:,} removed{same}"


def _earlier(folder: Path, artifacts: Path) -> tuple[set[str], set[str]] | None:
    """Names of the files that the run was trained on, and of those that could not be read; None if unknown."""
    try:
        prepared = artifacts / read_inputs(folder).data
        names = read_array(prepared / "train-names.npy")
        skipped = files.read_json_if_whole(prepared / PREPARED, dict, {})["skipped"]
        return {name.decode() for name in names.tolist()}, {one["file"] for one in skipped}
    except (InputError, KeyError, TypeError, AttributeError):
        return None
