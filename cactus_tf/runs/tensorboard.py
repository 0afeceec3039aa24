"""Writes TensorBoard's event files. TAGS explains every tag of a run; docs/metrics.md has the same table."""

from __future__ import annotations

import contextlib
import csv
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.types import Array
from cactus_tf.utils import files

TAGS = {
    "train/loss": "mean query loss of the step's episodes, in nats; MAML and its relatives: N times it; Reptile: mean "
    "loss of all images after adaptation to them",
    "train/accuracy": "fraction of the step's queries classified correctly; labels are clusters, not true labels",
    "train/support_accuracy": "fraction of the support set classified correctly before adaptation (adapting learners)",
    "val/accuracy": "mean accuracy on 100 fixed validation episodes with true labels, for monitoring only (on images); "
    "at checkpoints, as far as it takes at most 5% of the training time, or 5 seconds; `--validation=false` turns "
    "it off",
    "val/ci95": "half width of its 95% interval",
    "pseudo/accuracy": "mean accuracy on tasks of clusters that training leaves out, without true labels; ten times "
    "during the training, with `--select=pseudo`",
    "tasks/training": "the first training tasks of the first learner: a row per label, support images framed in blue, "
    "then queries",
    "tasks/evaluation": "the first evaluation tasks at the first way and shot: a row per true class, drawn likewise",
    "configuration": "the resolved configuration, as text",
    "SPLIT/accuracy-WAYway-SHOTshot": "final mean accuracy on the evaluation tasks, as in results.json",
    "SPLIT/ci95-WAYway-SHOTshot": "half width of its 95% interval",
}
"""Meaning of each tag of a run. Embedders log as "embedder/NAME", see their `INFO.metrics` and `INFO.pictures`."""


class Events:
    """Writes scalars and pictures below one folder as they come; an unknown tag is an error.

    If an earlier run was stopped, TensorBoard hides what it logged at the steps that are logged again. Nothing is
    created before the first scalar or picture.
    """

    def __init__(self, folder: Path, tags: Mapping[str, str] = TAGS, every: int = 10):
        self._folder, self._tags, self._every = folder, tags, every
        self._writer: Any = None

    def _at(self, step: int) -> contextlib.AbstractContextManager:
        """Makes the writer the default at this step."""
        if self._writer is None:
            self._writer = tf.summary.create_file_writer(str(self._folder))
            _mark_start(self._writer, step)
        return self._writer.as_default(step)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes every value at this step."""
        with self._at(step):
            for tag, value in scalars.items():
                tf.summary.scalar(tag, value, description=self._tags[tag])

    def show(self, step: int, pictures: Mapping[str, Array]) -> None:
        """Writes every picture, [rows, columns, h, w, c] in 0..1, as one image at this step."""
        with self._at(step):
            for tag, picture in pictures.items():
                tf.summary.image(tag, tiled(picture)[None], description=self._tags[tag])

    def on_step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the scalars of the first and of every n-th training step."""
        if step % self._every == 0 or step == 1:
            self.write(step, {f"train/{name}": value for name, value in scalars.items()})

    def close(self) -> None:
        """Flushes and closes the file."""
        if self._writer is not None:
            self._writer.close()


def _mark_start(writer: Any, step: int) -> None:
    """Marks that logging (re)starts at this step.

    TensorBoard's default data server hides earlier events of later steps by itself, its Python reader only after this
    mark. `tf.summary` has no function that writes it.
    """
    log = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
    event = tf.compat.v1.Event(step=step, wall_time=time.time(), session_log=log)
    tf.raw_ops.ImportEvent(writer=writer._resource, event=event.SerializeToString())


class EmbedderSummaries(keras.callbacks.Callback):
    """A Keras callback that logs what `train_step` returns, and pictures of a few images, as embedder/NAME.

    Args:
      folder: of the events.
      metrics: {name: meaning} of the scalars.
      pictures: {name: meaning} of the pictures, if the network makes any.
      images: [m, h, w, c] uint8 to make them of.
      every: steps between scalars; pictures come every hundred times as many steps, and at the end.
    """

    def __init__(
        self,
        folder: Path,
        metrics: Mapping[str, str],
        pictures: Mapping[str, str] | None = None,
        images: np.ndarray | None = None,
        every: int = 10,
    ):
        super().__init__()
        tags = {f"embedder/{name}": meaning for name, meaning in {**metrics, **(pictures or {})}.items()}
        self._events, self._every = Events(folder, tags), every
        self._images = images if pictures else None
        self._step = 0

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Logs every n-th step; `batch` counts from 0."""
        self._step = batch + 1
        if self._step % self._every == 0:
            self._events.write(self._step, {f"embedder/{name}": float(v) for name, v in (logs or {}).items()})
        if self._step % (100 * self._every) == 0:
            self._show()

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """Shows the last pictures and flushes."""
        if self._step % (100 * self._every):
            self._show()
        self._events.close()

    def _show(self) -> None:
        if self._images is not None:
            pictures = self.model.pictures(tf.constant(self._images))
            self._events.show(self._step, {f"embedder/{name}": p for name, p in pictures.items()})


class TrainingEvents:
    """The events of one learner's meta-training: scalars, and on request the graph and a profile of its step.

    Args:
      folder: of the events.
      graph: whether to record the graph of the first step.
      profiled: number of steps to profile after the first, which compiles.
    """

    def __init__(self, folder: Path, graph: bool = False, profiled: int = 0):
        self._folder, self._events = folder, Events(folder)
        self._graph, self._profiled = graph, profiled
        self._steps, self._profiling = 0, False

    def __enter__(self) -> TrainingEvents:
        if self._graph:
            tf.summary.trace_on(graph=True)
        return self

    def __exit__(self, *error: object) -> None:
        if self._graph:
            tf.summary.trace_off()
        self._stop_profile()
        self._events.close()

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes every value at this step."""
        self._events.write(step, scalars)

    def on_step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs a training step."""
        self._events.on_step(step, scalars)
        self._steps += 1
        if self._steps == 1 and self._graph:
            with _replacing_writer(self._folder, "graph").as_default(step):
                tf.summary.trace_export("train_step")
            self._graph = False
        if self._steps == 1 and self._profiled:
            tf.profiler.experimental.start(str(self._folder))
            self._profiling = True
        if self._steps == 1 + self._profiled:
            self._stop_profile()

    def _stop_profile(self) -> None:
        if self._profiling:
            tf.profiler.experimental.stop()
            self._profiling = False


def replace(
    folder: Path,
    part: str,
    *,
    step: int = 0,
    scalars: Mapping[str, float] | None = None,
    pictures: Mapping[str, Sequence[np.ndarray]] | None = None,
    texts: Mapping[str, str] | None = None,
    hparams: Mapping[str, Any] | None = None,
) -> None:
    """Writes one part of a run's events, replacing the file of an earlier call.

    Args:
      folder: of the events.
      part: its name.
      step: of everything in it.
      scalars: value by tag.
      pictures: by tag, each a few [h, w, 3] uint8 of any sizes.
      texts: Markdown by tag.
      hparams: settings for TensorBoard's HPARAMS: numbers, booleans and texts by name.
    """
    from tensorboard.plugins.hparams import summary_v2  # `api` also loads tf.keras, which may be Keras 2

    writer = _replacing_writer(folder, part)
    with writer.as_default(step):
        for tag, value in (scalars or {}).items():
            tf.summary.scalar(tag, value, description=_meaning(tag))
        for tag, shown in (pictures or {}).items():
            tf.summary.image(tag, _padded(shown), max_outputs=len(shown), description=_meaning(tag))
        for tag, text in (texts or {}).items():
            tf.summary.text(tag, text, description=_meaning(tag))
        if hparams:
            summary_v2.hparams(dict(hparams))
    writer.close()


def _replacing_writer(folder: Path, part: str) -> Any:
    """A writer for one part; deletes the part's earlier files."""
    for old in folder.glob(f"events.out.tfevents.*.{part}"):
        old.unlink()
    return tf.summary.create_file_writer(str(folder), filename_suffix=f".{part}")


def _meaning(tag: str) -> str:
    """What TAGS says of a tag, or of its pattern."""
    if "way-" in tag:
        tag = f"SPLIT/{tag.split('/')[1].split('-')[0]}-WAYway-SHOTshot"
    return TAGS[tag]


def write_projector(
    folder: Path, embeddings: np.ndarray, columns: Mapping[str, Iterable], pictures: np.ndarray | None = None
) -> None:
    """Writes what TensorBoard's PROJECTOR shows.

    Args:
      folder: of the events.
      embeddings: [n, dim].
      columns: metadata of the images by name, [n] each.
      pictures: [n, h, w, 3] uint8, h and w up to 64, or None.
    """
    from tensorboard.plugins import projector

    with files.naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
        np.savetxt(folder / "embeddings.tsv", embeddings, fmt="%.4g", delimiter="\t")
        with open(folder / "metadata.tsv", "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            lines = csv.writer(file, "excel-tab", lineterminator="\n")
            lines.writerows([list(columns)] if len(columns) > 1 else [])  # TensorBoard wants no head on a single column
            lines.writerows(zip(*columns.values(), strict=True))
        info = projector.EmbeddingInfo(
            tensor_name="train images", tensor_path="embeddings.tsv", metadata_path="metadata.tsv"
        )
        if pictures is not None:
            keras.utils.save_img(folder / "sprite.png", _sprite(pictures), data_format="channels_last", scale=False)
            info.sprite.image_path = "sprite.png"
            info.sprite.single_image_dim.extend([pictures.shape[2], pictures.shape[1]])
        projector.visualize_embeddings(str(folder), projector.ProjectorConfig(embeddings=[info]))


def _sprite(pictures: np.ndarray) -> np.ndarray:
    """[n, h, w, 3] -> [s h, s w, 3], row by row, padded with white to s^2 pictures."""
    side = int(np.ceil(np.sqrt(len(pictures))))
    missing = [(0, side * side - len(pictures)), (0, 0), (0, 0), (0, 0)]
    return tiled(np.pad(pictures, missing, constant_values=255).reshape(side, side, *pictures.shape[1:]))


def tiled(picture: Array) -> np.ndarray:
    """[rows, columns, h, w, c] -> [rows h, columns w, c]."""
    rows, columns, height, width, channels = picture.shape
    return np.asarray(picture).swapaxes(1, 2).reshape(rows * height, columns * width, channels)


def _padded(pictures: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of several sizes as [n, h, w, 3], padded with white."""
    height, width, _ = np.max([picture.shape for picture in pictures], axis=0)
    missing = [[(0, height - p.shape[0]), (0, width - p.shape[1]), (0, 0)] for p in pictures]
    return np.stack([np.pad(p, m, constant_values=255) for p, m in zip(pictures, missing, strict=True)])
