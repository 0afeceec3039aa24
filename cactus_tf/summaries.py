"""TensorBoard: every tag that is ever logged stands in one table (docs/metrics.md shows the same)."""

from collections.abc import Mapping
from pathlib import Path

import keras
import tensorflow as tf

TAGS = {
    "train/loss": "mean query loss of the step's episodes, in nats; MAML and its kin: N times it; Reptile: of all "
    "images, after adaptation to them",
    "train/accuracy": "fraction of the step's queries that were right; the labels are clusters, not true labels",
    "train/support_accuracy": "fraction of the support set that was right before adaptation (learners that adapt)",
    "val/accuracy": "mean accuracy on fixed validation episodes with true labels; only watched, not on embeddings",
    "val/ci95": "half width of its 95% interval",
}
"""Tags of meta-training. Embedders log under "embedder/NAME" what their module's METRICS explains."""


class Scalars:
    """Writes scalars below one folder; unknown tags are an error."""

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

    def on_step(self, step: int, scalars: Mapping[str, float]) -> None:
        """Writes the scalars of a training step, every so many steps."""
        if step % self._every == 0 or step == 1:
            self.write(step, {f"train/{name}": value for name, value in scalars.items()})

    def close(self) -> None:
        """Flushes and closes the file."""
        self._writer.close()


class EmbedderScalars(keras.callbacks.Callback):
    """A Keras callback that logs what `train_step` returns as embedder/NAME."""

    def __init__(self, folder: Path, metrics: Mapping[str, str], every: int = 10):
        super().__init__()
        tags = {f"embedder/{name}": meaning for name, meaning in metrics.items()}
        self._scalars, self._every = Scalars(folder, tags), every

    def on_train_batch_end(self, batch, logs=None):
        """Logs every so many steps; `batch` counts from 0."""
        if (batch + 1) % self._every == 0:
            self._scalars.write(batch + 1, {f"embedder/{name}": float(v) for name, v in (logs or {}).items()})

    def on_train_end(self, logs=None):
        """Flushes."""
        self._scalars.close()
