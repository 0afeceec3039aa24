"""Exports what a run learned: writes it, reads it back, and compares it with the run."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cactus_tf.errors import InputError, RunError
from cactus_tf.inference import formats, signatures
from cactus_tf.inference.heads import answerer
from cactus_tf.inference.signatures import Exportable
from cactus_tf.runs import restoring, results
from cactus_tf.types import Array
from cactus_tf.utils import files
from cactus_tf.utils.paths import expanded
from cactus_tf.utils.seeds import counter_rng

log = logging.getLogger(__name__)

DESCRIPTION = "export.json"
TOLERANCE = 1e-3  # relative to the largest number: kernels and batch sizes change the rounding

_VERSION = 1
_WAY, _SHOT, _QUERY = 5, 2, 2  # of the task that is compared


class Exported(NamedTuple):
    """An export.

    Attributes:
      folder: where it is.
      description: the contents of export.json.
    """

    folder: Path
    description: dict[str, Any]


def export(
    run: str | Path, out: str | Path, format: str = "savedmodel", algo: str | None = None, overwrite: bool = False
) -> Exported:
    """Writes a run's learner, embedder or both into a folder, with export.json.

    Args:
      run: the run's folder.
      out: the folder to write.
      format: one of `formats.FORMATS`.
      algo: learner of the run; needed only if several are meta-trained.
      overwrite: replace an earlier export.

    Raises:
      InputError: nothing to restore (see `FewShotClassifier.from_run`), an unknown format, a folder in use, or a
        learner or embedder that does not run in a TensorFlow graph.
      RunError: what was written differs from the run, or it cannot be written.
    """
    run, out, form = expanded(run), expanded(out), formats.by_name(format)
    _check_place(out, overwrite)
    parts = signatures.restore(run, algo)
    log.info("restore: %s of %s, %d steps", parts.restored.name, run, parts.restored.step)
    functions = signatures.functions(parts, form.signatures)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    files.make_folder(out.absolute().parent, "--out")
    try:
        temporary.mkdir()
        log.info("write: %s, as %s", " and ".join(functions), format)
        calls = formats.write(form, functions, temporary, out)
        log.info("compare: the written model with the run")
        differences = _compare(parts, calls)
        description = _describe(parts, format, functions, differences)
        files.write_json(temporary / DESCRIPTION, description)
        _put(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(out, description)


def summary(exported: Exported) -> str:
    """A line per function, and the folder."""
    description = exported.description
    shape = "".join(f", {n}" for n in description["image_shape"])
    forms = {
        "classify": f"{description['learner']}, [n{shape}] with labels and [m{shape}] -> [m, way]",
        "embed": f"{description['embeds']}, [n{shape}] -> [n, {description['dim']}]",
    }
    lines = [
        f"{name:<12}{forms[name]}; greatest difference from the run {difference:.1e}"
        for name, difference in description["greatest_difference"].items()
    ]
    missing = [] if description["dim"] else [f"{'embed':<12}omitted: {description['embeds']}"]
    return "\n".join([*lines, *missing, f"{'written':<12}{exported.folder}"])


def _check_place(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not (out / DESCRIPTION).is_file():
        raise InputError(f"--out={out} exists and is not an export: name a new folder")
    if not overwrite:
        raise InputError(f"--out={out} has an export: add --overwrite to replace it, or name a new folder")


def _put(made: Path, out: Path) -> None:
    """Renames the folder to its place; an earlier export is deleted afterwards, or restored if that fails."""
    earlier = made.with_suffix(".old")
    try:
        if out.exists():
            out.rename(earlier)
        made.rename(out)
    except BaseException:
        if earlier.exists() and not out.exists():
            earlier.rename(out)
        raise
    shutil.rmtree(earlier, ignore_errors=True)


def _compare(parts: Exportable, calls: dict[str, formats.Call]) -> dict[str, float]:
    """Greatest difference, by function, between the written model and the run, on images of the run."""
    support, labels, query = _task(parts)
    differences = {}
    if "classify" in calls:
        logits = calls["classify"](support_images=support, support_labels=labels, query_images=query)["logits"]
        learner, embedder = parts.restored.learner, parts.restored.embedder
        known, asked = (rows if embedder is None else embedder.transform(rows) for rows in (support, query))
        expected = answerer(learner, known, labels, int(labels.max()) + 1)(asked)
        differences["classify"] = _difference("classify", logits, expected)
    if "embed" in calls:
        assert parts.transform is not None
        differences["embed"] = _difference("embed", calls["embed"](images=query)["embeddings"], parts.transform(query))
    return differences


def _difference(name: str, exported: np.ndarray, expected: Array) -> float:
    expected = np.asarray(expected)
    if exported.shape != expected.shape:
        raise RunError(f"{name} returns shape {list(exported.shape)}, the run {list(expected.shape)}")
    difference = float(np.abs(exported - expected).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:  # not `>`: NaN must fail
        raise RunError(
            f"{name} as exported differs from the run by {difference:.1e}, more than {allowed:.1e}: nothing was "
            "written; try --format=savedmodel, or retrain if the run's own predictions are not finite"
        )
    return difference


def _task(parts: Exportable) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Support images, labels and query images: neighbors in the run's training images, or noise if these are gone."""
    learner, training = parts.restored.plan, parts.restored.plan.training
    way = min(_WAY, training.way or _WAY) if training else _WAY
    shot = max(_SHOT, learner.options.k if learner.name == "nearest_neighbours" else 1)  # k support images vote
    taken = shot + _QUERY
    images = restoring.training_images(parts.run)
    if images is None or len(images) < taken:
        images = counter_rng(0, 0).integers(0, 256, (way * taken, *parts.restored.image_shape), np.uint8)
        images = images / np.float32(255) if parts.restored.features else images
    way = min(way, len(images) // taken)
    first = np.linspace(0, len(images) - taken, way).astype(int)
    rows = np.stack([images[i : i + taken] for i in first])
    labels = np.repeat(np.arange(way, dtype=np.int32), shot)
    return np.concatenate(list(rows[:, :shot])), labels, np.concatenate(list(rows[:, shot:]))


def _describe(
    parts: Exportable, format: str, functions: dict[str, Any], differences: dict[str, float]
) -> dict[str, Any]:
    restored = parts.restored
    training, fixed_head = restored.plan.training, restored.plan.info.fixed_head
    return {
        "version": _VERSION,
        "format": format,
        "run": str(parts.run.resolve()),
        "dataset": restored.dataset,
        "learner": restored.name,
        "steps": restored.step,
        "largest_way": training.way if training and fixed_head else None,
        "embeds": parts.embeds,
        "image_shape": list(restored.image_shape),
        "dim": signatures.embedding_dim(functions["embed"]) if "embed" in functions else None,
        "signatures": {name: signatures.describe(function) for name, function in functions.items()},
        "greatest_difference": differences,
        "package_versions": results.package_versions(),
    }
