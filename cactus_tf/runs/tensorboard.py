"""TensorBoard: every tag that is ever logged stands in one table (docs/metrics.md shows the same)."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.types import Array
from cactus_tf.utils.files import write_atomic, write_text

TAGS = {
    "train/loss": "mean query loss of the step's episodes, in nats; MAML and its kin: N times it; Reptile: of all "
    "images, after adaptation to them",
    "train/accuracy": "fraction of the step's queries that were right; the labels are clusters, not true labels",
    "train/support_accuracy": "fraction of the support set that was right before adaptation (learners that adapt)",
    "val/accuracy": "mean accuracy on fixed validation episodes with true labels; only watched, not on embeddings",
    "val/ci95": "half width of its 95% interval",
    "tasks/training": "the first training tasks of the first learner: a row per label, support images framed in blue, "
    "then queries",
    "tasks/evaluation": "the first evaluation tasks at the first way and shot, the same way; rows are true classes",
    "configuration": "the resolved configuration, as text",
    "SPLIT/accuracy-WAYway-SHOTshot": "final mean accuracy on the tasks of results.json",
    "SPLIT/ci95-WAYway-SHOTshot": "half width of its 95% interval",
}
"""Tags of a run. Embedders log under "embedder/NAME" what their module's METRICS explains."""

_STREAM = "events.out.tfevents.*.v2"  # files of `Events`; those of `replace` end otherwise


class Events:
    """Writes scalars and pictures below one folder as they come; unknown tags are an error.

    What goes on in a folder where an earlier, stopped run has logged takes back what that one logged at the same steps
    and later ones. A folder is touched at the first scalar or picture, and not before.
    """

    def __init__(self, folder: Path, tags: Mapping[str, str] = TAGS, every: int = 10):
        self._folder, self._tags, self._every = folder, tags, every
        self._writer: Any = None

    def _at(self, step: int):
        """The writer, as default at this step."""
        if self._writer is None:
            for earlier in self._folder.glob(_STREAM):
                _take_back(earlier, step)
            self._writer = tf.summary.create_file_writer(str(self._folder))
        return self._writer.as_default(step)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes every value at this step.

        Raises:
          KeyError: a tag that the table does not explain.
        """
        with self._at(step):
            for tag, value in scalars.items():
                self._tags[tag]
                tf.summary.scalar(tag, value)

    def show(self, step: int, pictures: Mapping[str, Array]) -> None:
        """Writes every picture, [rows, columns, h, w, c] in 0..1, as one at this step.

        Raises:
          KeyError: a tag that the table does not explain.
        """
        with self._at(step):
            for tag, picture in pictures.items():
                tf.summary.image(tag, tiled(picture)[None], description=self._tags[tag])

    def on_step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the scalars of a training step, every so many steps."""
        if step % self._every == 0 or step == 1:
            self.write(step, {f"train/{name}": value for name, value in scalars.items()})

    def close(self) -> None:
        """Flushes and closes the file."""
        if self._writer is not None:
            self._writer.close()


class EmbedderSummaries(keras.callbacks.Callback):
    """A Keras callback that logs what `train_step` returns, and pictures of a few images, as embedder/NAME.

    Args:
      folder: of the events.
      metrics: {name: meaning} of the scalars.
      pictures: {name: meaning} of the pictures, if the network makes any.
      images: [m, h, w, c] uint8 to make them of.
      every: steps between scalars; pictures come a hundredth as often, and at the end.
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

    def on_train_batch_end(self, batch, logs=None):
        """Logs every so many steps; `batch` counts from 0."""
        self._step = batch + 1
        if self._step % self._every == 0:
            self._events.write(self._step, {f"embedder/{name}": float(v) for name, v in (logs or {}).items()})
        if self._step % (100 * self._every) == 0:
            self._show()

    def on_train_end(self, logs=None):
        """Shows the last pictures and flushes."""
        if self._step % (100 * self._every):
            self._show()
        self._events.close()

    def _show(self) -> None:
        if self._images is not None:
            pictures = self.model.pictures(tf.constant(self._images))
            self._events.show(self._step, {f"embedder/{name}": p for name, p in pictures.items()})


def tiled(picture: Array) -> np.ndarray:
    """[rows, columns, h, w, c] -> [rows h, columns w, c]: one picture of many."""
    rows, columns, height, width, channels = picture.shape
    return np.asarray(picture).swapaxes(1, 2).reshape(rows * height, columns * width, channels)


class StepTracer:
    """Records, where asked to, the graph of the training step and a profile of some steps.

    Args:
      folder: of the learner's events.
      graph: whether to record the graph of the first step.
      profiled: steps to profile, after the first, which compiles; 0 for none.
    """

    def __init__(self, folder: Path, graph: bool = False, profiled: int = 0):
        self._folder, self._graph, self._profiled = folder, graph, profiled
        self._steps, self._profiling = 0, False
        if graph:
            tf.summary.trace_on(graph=True)

    def on_step(self, step: int) -> None:
        """After every outer step."""
        self._steps += 1
        if self._steps == 1 and self._graph:
            with _anew(self._folder, "graph").as_default(step):
                tf.summary.trace_export("train_step")
            self._graph = False
        if self._steps == 1 and self._profiled:
            tf.profiler.experimental.start(str(self._folder))
            self._profiling = True
        if self._steps == 1 + self._profiled:
            self.close()

    def close(self) -> None:
        """Ends what still goes on."""
        if self._graph:
            tf.summary.trace_off()
        if self._profiling:
            tf.profiler.experimental.stop()
        self._graph = self._profiling = False


class TrainingEvents:
    """The events of one learner's meta-training: scalars, and on request the graph and a profile.

    Args:
      folder: of the events.
      graph: whether to record the graph of the first step.
      profiled: number of steps to profile.
    """

    def __init__(self, folder: Path, graph: bool = False, profiled: int = 0):
        self._events, self._tracer = Events(folder), StepTracer(folder, graph, profiled)

    def __enter__(self) -> TrainingEvents:
        return self

    def __exit__(self, *error: object) -> None:
        self._tracer.close()
        self._events.close()

    def on_step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Logs a training step."""
        self._events.on_step(step, scalars)
        self._tracer.on_step(step)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes every value at this step."""
        self._events.write(step, scalars)


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
    """Writes one part of what is known of a run as a whole, in place of what an earlier call wrote of it.

    Args:
      folder: of the events.
      part: its name.
      step: of all of it.
      scalars: value by tag.
      pictures: by tag, each a few [h, w, 3] uint8 of any sizes.
      texts: Markdown by tag.
      hparams: what TensorBoard compares runs by: numbers, truth values and texts by name.
    """
    from tensorboard.plugins.hparams import api

    writer = _anew(folder, part)
    with writer.as_default(step):
        for tag, value in (scalars or {}).items():
            tf.summary.scalar(tag, value, description=_meaning(tag))
        for tag, shown in (pictures or {}).items():
            tf.summary.image(tag, _of_one_size(shown), max_outputs=len(shown), description=_meaning(tag))
        for tag, text in (texts or {}).items():
            tf.summary.text(tag, text, description=_meaning(tag))
        if hparams:
            api.hparams(dict(hparams))
    writer.close()


def write_projector(
    folder: Path, embeddings: np.ndarray, columns: Mapping[str, Iterable], pictures: np.ndarray | None = None
) -> None:
    """Writes what TensorBoard's PROJECTOR shows of some images.

    Args:
      folder: of the events.
      embeddings: [n, dim].
      columns: of what is known of each image, [n] each.
      pictures: [n, h, w, 3] uint8, h and w up to 64; None where there are no images.
    """
    from PIL import Image
    from tensorboard.plugins import projector

    folder.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join([f"{x:.4g}" for x in row]) for row in np.asarray(embeddings).tolist()]
    write_text(folder / "embeddings.tsv", "\n".join(lines) + "\n")
    head = ["\t".join(columns)] if len(columns) > 1 else []  # TensorBoard takes a single column without a head
    known = ["\t".join(map(str, values)) for values in zip(*columns.values(), strict=True)]
    write_text(folder / "metadata.tsv", "\n".join([*head, *known]) + "\n")
    config = projector.ProjectorConfig()
    shown = config.embeddings.add()
    shown.tensor_name, shown.tensor_path, shown.metadata_path = "train images", "embeddings.tsv", "metadata.tsv"
    if pictures is not None:
        file = io.BytesIO()
        Image.fromarray(_sprite(pictures)).save(file, "PNG")
        write_atomic(folder / "sprite.png", lambda out: out.write(file.getvalue()))
        shown.sprite.image_path = "sprite.png"
        shown.sprite.single_image_dim.extend([pictures.shape[2], pictures.shape[1]])
    write_text(folder / "projector_config.pbtxt", str(config))


def _sprite(pictures: np.ndarray) -> np.ndarray:
    """[n, h, w, 3] -> [s h, s w, 3], row by row, s^2 the next square number."""
    number, height, width = pictures.shape[:3]
    side = int(np.ceil(np.sqrt(number)))
    whole = np.full((side * side, height, width, 3), 255, np.uint8)
    whole[:number] = pictures
    return tiled(whole.reshape(side, side, height, width, 3))


def _meaning(tag: str) -> str:
    """Of a tag, or of the pattern that it follows.

    Raises:
      KeyError: the table does not explain it.
    """
    if "way-" in tag:
        tag = f"SPLIT/{tag.split('/')[1].split('-')[0]}-WAYway-SHOTshot"
    return TAGS[tag]


def _of_one_size(shown: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of any sizes as [n, h, w, 3], filled up with white."""
    height, width = (max(picture.shape[i] for picture in shown) for i in (0, 1))
    whole = np.full((len(shown), height, width, 3), 255, np.uint8)
    for room, picture in zip(whole, shown, strict=True):
        room[: picture.shape[0], : picture.shape[1]] = picture
    return whole


def _anew(folder: Path, part: str):
    """A writer for one part, whose earlier files are deleted."""
    for old in folder.glob(f"events.out.tfevents.*.{part}"):
        old.unlink()
    return tf.summary.create_file_writer(str(folder), filename_suffix=f".{part}")


def _take_back(path: Path, step: int) -> None:
    """Leaves in a file of events those before a step: the others are logged anew."""
    kept, dropped = [], False
    with contextlib.suppress(tf.errors.DataLossError):  # the last one of a killed run may be half written
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
            before = tf.compat.v1.Event.FromString(record).step < step
            dropped |= not before
            kept += [record] if before else []
    if dropped:
        temporary = path.with_name(f".{os.getpid()}.tmp")
        with tf.io.TFRecordWriter(str(temporary)) as file:
            for record in kept:
                file.write(record)
        os.replace(temporary, path)
