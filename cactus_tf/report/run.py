"""What a report tells of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.plan import RunPlan
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.types import Partitions, Splits
from cactus_tf.utils import history

PICTURED = 8  # images that embedders are shown with


@dataclasses.dataclass(frozen=True)
class Run:
    """What the page tells of.

    Attributes:
      plan: of the run.
      folder: the workdir.
      data: images, or features.
      rows: of results.json.
      partitions: that tasks were made from, none where nobody learns from tasks.
      tasks: the training tasks of the first learner, over images; None where there are none to look at.
      embedder: the fitted one, None where nothing is embedded.
    """

    plan: RunPlan
    folder: Path
    data: Splits
    rows: Sequence[Mapping[str, Any]]
    partitions: Partitions = ()
    tasks: Episodes | None = None
    embedder: Any = None

    @property
    def images(self) -> np.ndarray | None:
        """The training images; None where there are only features."""
        return None if self.plan.data.features else self.data.train.images

    @property
    def histories(self) -> dict[str, list[dict[str, float]]]:
        """Learning curves of those learners that have one."""
        names = [learner.name for learner in self.plan.meta_learners]
        read = {name: history.read(self.folder / name / history.NAME) for name in names}
        return {name: rows for name, rows in read.items() if rows}


def pictured(images: np.ndarray) -> np.ndarray:
    """The few images that an embedder is shown with, spread over all."""
    return np.asarray(images[np.linspace(0, len(images) - 1, PICTURED).astype(int)])
