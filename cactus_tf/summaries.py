"""TensorBoard: every tag that is ever logged stands in one table (docs/metrics.md shows the same)."""

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.types import Array

TAGS = {
    "train/loss": "mean query loss of the step's episodes, in nats; MAML and its kin: N times it; Reptile: of all "
    "images, after adaptation to them",
    "train/accuracy": "fraction of the step's queries that were right; the labels are clusters, not true labels",
    "train/support_accuracy": "fraction of the support set that was right before adaptation (learners that adapt)",
    "val/accuracy": "mean accuracy on fixed validation episodes with true labels; only watched, not on embeddings",
    "val/ci95": "half width of its 95% interval",
}
"""Tags of meta-training. Embedders log under "embedder/NAME" what their module's METRICS explains."""


class Events:
    """Writes scalars and pictures below one folder; unknown tags are an error."""

    def __init__(self, folder: Path, tags: Mapping[str, str] = TAGS, every: int = 10):
        self._writer = tf.summary.create_file_writer(str(folder))
        self._tags, self._every = tags, every

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes every value at this step.

        Raises:
          KeyError: a tag that the table does not explain.
        """
        with self._writer.as_default(step):
            for tag, value in scalars.items():
                self._tags[tag]
                tf.summary.scalar(tag, value)

    def show(self, step: int, pictures: Mapping[str, Array]) -> None:
        """Writes every picture, [rows, columns, h, w, c] in 0..1, as one at this step.

        Raises:
          KeyError: a tag that the table does not explain.
        """
        with self._writer.as_default(step):
            for tag, picture in pictures.items():
                tf.summary.image(tag, tiled(picture)[None], description=self._tags[tag])

    def on_step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the scalars of a training step, every so many steps."""
        if step % self._every == 0 or step == 1:
            self.write(step, {f"train/{name}": value for name, value in scalars.items()})

    def close(self) -> None:
        """Flushes and closes the file."""
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
