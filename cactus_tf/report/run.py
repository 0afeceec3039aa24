"""What a report is made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.plan import RunPlan
from cactus_tf.contracts import Embedder
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.types import Partitions, Splits
from cactus_tf.utils import history

PICTURED = 8  # images that show an embedder's pictures


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
      plan: of the run.
      folder: of the run.
      data: images, or features.
      rows: of results.json.
      partitions: that tasks were made from; empty if no learner is meta-trained.
      tasks: the training tasks of the first meta-learner; None if there is none, or no images.
      embedder: the fitted one; None if nothing is embedded.
      embeddings: [n, dim] float32 of the training images; None if nothing is embedded.
    """

    plan: RunPlan
    folder: Path
    data: Splits
    rows: Sequence[Mapping[str, Any]]
    partitions: Partitions = ()
    tasks: Episodes | None = None
    embedder: Embedder | None = None
    embeddings: np.ndarray | None = None

    @property
    def subject(self) -> str:
        """What the run learned from, in words: the data set, or the folder of pictures."""
        data = self.plan.data
        if data.dataset != "folder" or not data.data_dir:
            return data.dataset
        return f"the pictures in {Path(data.data_dir).absolute().name}"

    @property
    def images(self) -> np.ndarray | None:
        """The training images; None if there are only features."""
        return None if self.plan.data.features else self.data.train.images

    @property
    def histories(self) -> dict[str, list[dict[str, float]]]:
        """Learning curves by meta-learner."""
        names = [learner.name for learner in self.plan.meta_learners]
        read = {name: history.read(self.folder / name / history.NAME) for name in names}
        return {name: rows for name, rows in read.items() if rows}


def pictured(images: np.ndarray) -> np.ndarray:
    """The few images that show an embedder's pictures, spread over all."""
    return np.asarray(images[np.linspace(0, len(images) - 1, PICTURED).astype(int)])
