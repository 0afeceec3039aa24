"""What a run learned, as TensorFlow functions that need none of this package: made, written, read back and compared."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from cactus_tf.contracts import GraphEncoder, GraphLearner
from cactus_tf.errors import InputError, RunError
from cactus_tf.inference import formats
from cactus_tf.inference.classifier import answerer
from cactus_tf.runs import restoring, results
from cactus_tf.runs.restoring import Restored
from cactus_tf.types import Array
from cactus_tf.utils import files
from cactus_tf.utils.seeds import counter_rng

log = logging.getLogger(__name__)

DESCRIPTION = "export.json"
TOLERANCE = 1e-3  # of the largest number, as rounding depends on kernels and batches

_VERSION = 1
_WAY, _SHOT, _QUERY = 5, 2, 2  # of the task that is compared
EXPORTABLE = "protonets, maml, anil, meta_sgd, reptile and nearest_neighbours"


class Exported(NamedTuple):
    """What was written.

    Attributes:
      folder: where.
      description: what export.json holds.
    """

    folder: Path
    description: dict[str, Any]


class _Parts(NamedTuple):
    """What a run has to export.

    Attributes:
      run: its folder.
      restored: its learner.
      encoder: what `embed` does; None where there is nothing that can be exported.
      embeds: its name, or why there is none.
      transform: what it does outside of a graph.
    """

    run: Path
    restored: Restored
    encoder: GraphEncoder | None
    embeds: str
    transform: Callable[[np.ndarray], Array] | None


def export(
    run: str | Path, out: str | Path, format: str = "savedmodel", algo: str | None = None, overwrite: bool = False
) -> Exported:
    """Writes a run's learner, embedder or both into a folder, with export.json.

    Args:
      run: the run's folder.
      out: the folder to write.
      format: one of `formats.FORMATS`.
      algo: which of the run's learners; may stay unsaid where only one is meta-trained.
      overwrite: replace an earlier export.

    Raises:
      InputError: nothing to restore (see `restoring.restore`), no such format, a folder that is in use, or a learner or
        an embedder that has no form in TensorFlow.
      RunError: what was written does not answer as the run does, or cannot be written.
    """
    run, out, form = Path(run).expanduser(), Path(out).expanduser(), formats.chosen(format)
    _check_place(out, overwrite)
    parts = _parts(run, restoring.restore(run, algo))
    log.info("restore: %s of %s, %d steps", parts.restored.name, run, parts.restored.step)
    functions = _functions(parts, format)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    files.make_folder(out.absolute().parent, "--out")
    try:
        temporary.mkdir()
        log.info("write: %s, as %s", " and ".join(functions), format)
        form.write(functions, temporary)
        log.info("compare: what was written, read back, with the run")
        differences = _compare(parts, form.read(temporary))
        description = _describe(parts, format, functions, differences)
        files.write_json(temporary / DESCRIPTION, description)
        _put(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Exported(out, description)


def summary(exported: Exported) -> str:
    """A line per function, and where it is."""
    there = exported.description
    shape = "".join(f", {n}" for n in there["image_shape"])
    forms = {
        "classify": f"{there['learner']}, [n{shape}] with labels and [m{shape}] -> [m, way]",
        "embed": f"{there['embeds']}, [n{shape}] -> [n, {there['dim']}]",
    }
    lines = [
        f"{name:<12}{forms[name]}; greatest difference from the run {difference:.1e}"
        for name, difference in there["greatest_difference"].items()
    ]
    missing = [] if there["dim"] else [f"{'embed':<12}left out: {there['embeds']}"]
    return "\n".join([*lines, *missing, f"{'written':<12}{exported.folder}"])


def _check_place(out: Path, overwrite: bool) -> None:
    if not out.exists():
        return
    if not (out / DESCRIPTION).is_file():
        raise InputError(f"--out={out} exists and is no export, so it is left alone: name a new folder")
    if not overwrite:
        raise InputError(f"--out={out} holds an export: say --overwrite to replace it, or name a new folder")


def _put(made: Path, out: Path) -> None:
    """Renames the folder; an earlier one is deleted when the new one is there, and comes back where it does not."""
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


def _parts(run: Path, restored: Restored) -> _Parts:
    """What `embed` is: the run's embedder, where it has one in TensorFlow, else the features of its learner."""
    name, why = restored.embedder_name, "the run used no embedder"
    try:
        embedder = restored.embedder or restoring.restore_embedder(run)
    except InputError as error:
        embedder, why = None, str(error)
    if isinstance(embedder, GraphEncoder):
        return _Parts(run, restored, embedder, f"the embedder {name}", embedder.transform)
    why = f"{name} only looks embeddings up" if embedder is not None else why
    learner = restored.learner
    if isinstance(learner, GraphEncoder) and restored.embedder is None:
        return _Parts(run, restored, learner, f"the features of {restored.name}", learner.features)  # type: ignore
    return _Parts(run, restored, None, why, None)


def _functions(parts: _Parts, format: str) -> dict[str, Any]:
    """TensorFlow functions by name, of those that the format holds.

    Raises:
      InputError: there is none.
    """
    holds, functions = formats.FORMATS[format].holds, {}
    if "classify" in holds:
        functions["classify"] = _classify(parts.restored)
    if parts.encoder is not None:
        functions["embed"] = _embed(parts)
    if not functions:
        raise InputError(f"{parts.run} has nothing for --format={format}, which holds an embedder: {parts.embeds}")
    return functions


def _rows(shape: tuple[int, ...], name: str) -> tf.TensorSpec:
    """Any number of images, or of features."""
    return tf.TensorSpec((None, *shape), tf.uint8 if len(shape) == 3 else tf.float32, name)


def _classify(restored: Restored) -> Any:
    learner, embedder, name = restored.learner, restored.embedder, restored.name
    if not isinstance(learner, GraphLearner):
        raise InputError(
            f"{name} is not made of TensorFlow operations alone and cannot be exported: name one of "
            f"{EXPORTABLE} as --algo, if the run has it; --format=tflite exports the embedder alone"
        )
    if embedder is not None and not isinstance(embedder, GraphEncoder):
        raise InputError(
            f"{name} takes embeddings, and those of {restored.embedder_name} are only looked up: "
            "they have no form that could be exported; take a run with another --embedder"
        )
    encode = tf.identity if embedder is None else embedder.encode

    def classify(support_images, support_labels, query_images):
        """Logits and probabilities [m, way], where way is the largest label plus one."""
        numbers = tf.shape(support_images)[0], tf.size(support_labels)
        with tf.control_dependencies(
            [
                tf.debugging.assert_equal(*numbers, "support_images and support_labels differ in number"),
                tf.debugging.assert_positive(numbers[1], "there are no support_images"),
                tf.debugging.assert_non_negative(support_labels, "support_labels must be in 0..way-1"),
            ]
        ):
            labels = tf.identity(support_labels)
            support, query = encode(tf.identity(support_images)), encode(tf.identity(query_images))
        logits = learner.classify_in_graph(support, labels, query, tf.reduce_max(labels) + 1)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    shape = restored.image_shape
    labels = tf.TensorSpec((None,), tf.int32, "support_labels")
    signature = [_rows(shape, "support_images"), labels, _rows(shape, "query_images")]
    return tf.function(classify, input_signature=signature, autograph=False)


def _embed(parts: _Parts) -> Any:
    encoder = parts.encoder
    assert encoder is not None

    def embed(images):
        """Embeddings [n, dim]."""
        return {"embeddings": encoder.encode(images)}

    return tf.function(embed, input_signature=[_rows(parts.restored.image_shape, "images")], autograph=False)


def _compare(parts: _Parts, calls: dict[str, formats.Call]) -> dict[str, float]:
    """Greatest difference, by function, between what was read back and the run, on images of the run.

    Raises:
      RunError: it is too great.
    """
    support, labels, query = _task(parts)
    found = {}
    if "classify" in calls:
        told = calls["classify"](support_images=support, support_labels=labels, query_images=query)["logits"]
        restored = parts.restored
        rows = (lambda images: images) if restored.embedder is None else restored.embedder.transform
        answer = answerer(restored.learner, rows(support), labels, int(labels.max()) + 1)
        found["classify"] = _difference("classify", told, answer(rows(query)))
    if "embed" in calls:
        assert parts.transform is not None
        found["embed"] = _difference("embed", calls["embed"](images=query)["embeddings"], parts.transform(query))
    return found


def _difference(name: str, told: np.ndarray, expected: Array) -> float:
    expected = np.asarray(expected)
    if told.shape != expected.shape:
        raise RunError(f"{name} gives {list(told.shape)} numbers where the run gives {list(expected.shape)}")
    difference = float(np.abs(told - expected).max())
    allowed = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    if not difference <= allowed:  # NaN is no difference to be allowed
        raise RunError(
            f"{name} as exported differs from the run by {difference:.1e}, more than {allowed:.1e}: nothing was "
            "written; try --format=savedmodel, or train anew if the run's own answers are not finite"
        )
    return difference


def _task(parts: _Parts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Support images, labels and query images: neighbours in the run's training images; noise where these are gone."""
    learner, training = parts.restored.plan, parts.restored.plan.training
    way = min(_WAY, training.way or _WAY) if training else _WAY
    shot = max(_SHOT, learner.options.k if learner.name == "nearest_neighbours" else 1)  # of nearest neighbours
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


def _describe(parts: _Parts, format: str, functions: dict[str, Any], differences: dict[str, float]) -> dict[str, Any]:
    restored, dim = parts.restored, None
    if "embed" in functions:
        dim = functions["embed"].get_concrete_function().structured_outputs["embeddings"].shape[-1]
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
        "dim": dim,
        "signatures": {name: _signature(function) for name, function in functions.items()},
        "greatest_difference": differences,
        "package_versions": results.package_versions(),
    }


def _signature(function: Any) -> dict[str, Any]:
    """Inputs and outputs by name: their types and shapes, null for any number."""
    concrete = function.get_concrete_function()
    inputs = {spec.name: [spec.dtype.name, list(spec.shape)] for spec in function.input_signature}
    outputs = {name: [spec.dtype.name, list(spec.shape)] for name, spec in concrete.structured_outputs.items()}
    return {"inputs": inputs, "outputs": outputs}
