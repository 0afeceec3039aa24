"""What a run can export: its learner as `classify`, its embedder or the learner's features as `embed`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from cactus_tf import plugins
from cactus_tf.contracts import FeatureLearner, GraphEncoder, GraphLearner
from cactus_tf.errors import InputError
from cactus_tf.runs import restoring
from cactus_tf.runs.restoring import Restored
from cactus_tf.types import Array


class Exportable(NamedTuple):
    """The parts of a run that an export is made from.

    Attributes:
      run: its folder.
      restored: its learner.
      encoder: what `embed` computes; None if nothing can be exported as `embed`.
      embeds: what the encoder is, or why there is none.
      transform: the encoder outside of a graph.
    """

    run: Path
    restored: Restored
    encoder: GraphEncoder | None
    embeds: str
    transform: Callable[[np.ndarray], Array] | None


def restore(run: Path, algo: str | None) -> Exportable:
    """`embed` is the run's embedder if it works in a TensorFlow graph, else the features of a learner on images.

    Raises:
      InputError: as of `restoring.restore`; also where the run's embedder is missing or damaged, whatever the learner
        takes, so that `embed` is never another function than the run's.
    """
    restored = restoring.restore(run, algo)
    name, embedder = restored.embedder_name, restored.embedder or restoring.restore_embedder(run)
    if isinstance(embedder, GraphEncoder):
        return Exportable(run, restored, embedder, f"the embedder {name}", embedder.transform)
    reason = "the run used no embedder" if embedder is None else f"embeddings of {name} {_why_not(name)}"
    learner = restored.learner
    if restored.embedder is None and isinstance(learner, FeatureLearner) and isinstance(learner, GraphEncoder):
        return Exportable(run, restored, learner, f"the features of {restored.name}", learner.features)
    return Exportable(run, restored, None, reason, None)


def _why_not(embedder: str) -> str:
    """Why an embedder is not exported, of its embeddings."""
    looks_up = plugins.info("embedders", embedder).takes_names
    return "are only looked up" if looks_up else "are not made by a method encode, which runs in a TensorFlow graph"


def exportable_learners() -> list[str]:
    """Names of the learners that run in a TensorFlow graph."""
    return [name for name in plugins.names("learners") if plugins.info("learners", name).exportable]


def functions(parts: Exportable, names: tuple[str, ...]) -> dict[str, Any]:
    """The `tf.function`s of these names that the run has: `classify`, `embed`."""
    made = {"classify": _classify(parts.restored)} if "classify" in names else {}
    if parts.encoder is not None and "embed" in names:
        made["embed"] = _embed(parts.encoder, parts.restored.image_shape)
    if not made:
        raise InputError(f"{parts.run} has no embedder to export: {parts.embeds}; take --format=savedmodel")
    return made


def describe(function: Any) -> dict[str, Any]:
    """Types and shapes of inputs and outputs by name; None stands for any number."""
    concrete = function.get_concrete_function()
    inputs = {spec.name: [spec.dtype.name, list(spec.shape)] for spec in function.input_signature}
    outputs = {name: [spec.dtype.name, list(spec.shape)] for name, spec in concrete.structured_outputs.items()}
    return {"inputs": inputs, "outputs": outputs}


def embedding_dim(function: Any) -> int:
    """Length of the vectors that `embed` returns."""
    return function.get_concrete_function().structured_outputs["embeddings"].shape[-1]


def _rows(shape: tuple[int, ...], name: str) -> tf.TensorSpec:
    """Any number of images, or of feature vectors."""
    return tf.TensorSpec((None, *shape), tf.uint8 if len(shape) == 3 else tf.float32, name)


def _classify(restored: Restored) -> Any:
    learner, embedder, name = restored.learner, restored.embedder, restored.name
    if not isinstance(learner, GraphLearner):
        raise InputError(
            f"{name} cannot be exported, because it does not run in a TensorFlow graph: choose --algo from "
            f"{', '.join(exportable_learners())} if the run has one, or export the embedder alone with --format=tflite"
        )
    if embedder is not None and not isinstance(embedder, GraphEncoder):
        reason = _why_not(restored.embedder_name)
        raise InputError(
            f"{name} takes embeddings, and those of {restored.embedder_name} {reason}, so they cannot be exported: "
            "choose a run with another --embedder"
        )
    encode = tf.identity if embedder is None else embedder.encode

    def classify(support_images: tf.Tensor, support_labels: tf.Tensor, query_images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Logits and probabilities [m, way]; the way is the largest label plus one."""
        with tf.control_dependencies(_assertions(support_images, support_labels)):
            labels = tf.identity(support_labels)
            support, query = encode(tf.identity(support_images)), encode(tf.identity(query_images))
        logits = learner.classify_in_graph(support, labels, query, tf.reduce_max(labels) + 1)
        return {"logits": logits, "probabilities": tf.nn.softmax(logits)}

    shape = restored.image_shape
    labels = tf.TensorSpec((None,), tf.int32, "support_labels")
    signature = [_rows(shape, "support_images"), labels, _rows(shape, "query_images")]
    return tf.function(classify, input_signature=signature, autograph=False)


def _assertions(support_images: tf.Tensor, support_labels: tf.Tensor) -> list[tf.Operation]:
    images, labels = tf.shape(support_images)[0], tf.size(support_labels)
    return [
        tf.debugging.assert_equal(images, labels, "support_images and support_labels differ in number"),
        tf.debugging.assert_positive(labels, "there are no support_images"),
        tf.debugging.assert_non_negative(support_labels, "support_labels must be in 0..way-1"),
    ]


def _embed(encoder: GraphEncoder, shape: tuple[int, ...]) -> Any:
    def embed(images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Embeddings [n, dim]."""
        return {"embeddings": encoder.encode(images)}

    return tf.function(embed, input_signature=[_rows(shape, "images")], autograph=False)
