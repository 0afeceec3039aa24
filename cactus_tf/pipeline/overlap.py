"""Warns where pictures to evaluate on look like pictures that were trained on."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from cactus_tf import plugins
from cactus_tf.config.plan import DataPlan, EmbeddingPlan
from cactus_tf.runs.artifacts import Artifact
from cactus_tf.types import Splits
from cactus_tf.utils import near_duplicates
from cactus_tf.utils.near_duplicates import EMBEDDING_COSINE, THUMBNAIL_COSINE, Compared

log = logging.getLogger(__name__)


def warn_of_alike(plan: DataPlan, data: Splits, artifact: Artifact) -> None:
    """Compares small gray copies of the user's own pictures, which are stored with the prepared data.

    Args:
      plan: which data set; those that are not folders of the user are not compared.
      data: images of the three splits.
      artifact: the prepared data.
    """
    if not _of_user(plan):
        return
    evaluated = [split for split in ("val", "test") if len(data[split])]

    def copies(split: str) -> np.ndarray:
        return artifact.cache(f"{split}-thumbnails", lambda: near_duplicates.thumbnail_pieces(data[split].images))

    _warn("prepare", {split: copies(split) for split in ["train", *evaluated] if evaluated}, THUMBNAIL_COSINE, data)


def warn_of_near(
    plan: EmbeddingPlan | None, data_plan: DataPlan, data: Splits, embeddings: Mapping[str, np.ndarray]
) -> None:
    """Compares the embeddings of the user's own pictures, where they are centered.

    Args:
      plan: how the images were embedded; with another norm, cosines say little.
      data_plan, data: the data set.
      embeddings: [n, dim] float32 by split.
    """
    if plan is not None and plan.context.norm == "centered" and _of_user(data_plan):
        _warn("embed", embeddings, EMBEDDING_COSINE, data)


def _of_user(plan: DataPlan) -> bool:
    return not plan.features and plugins.info("datasets", plan.dataset).train_files is not None


def _warn(stage: str, rows: Mapping[str, np.ndarray], threshold: float, data: Splits) -> None:
    """Warns of rows of val and test that are near-duplicates of rows of train, and names the first pair."""
    for split in [split for split in rows if split != "train"]:
        alike = near_duplicates.nearest(Compared(rows[split], threshold), rows["train"])
        found = np.flatnonzero(alike >= 0)
        if len(found):
            log.warning(
                "%s: %s of %s %s images are near-duplicates of training images%s: they do not test new ones",
                stage, f"{len(found):,}", f"{len(alike):,}", split, _first(data, split, found[0], alike[found[0]]),
            )  # fmt: skip


def _first(data: Splits, split: str, evaluated: int, trained: int) -> str:
    """The files of a pair, if the images are files."""
    names = data[split].names, data.train.names
    if names[0] is None or names[1] is None:
        return ""
    return f" (such as {names[0][evaluated].decode()} and {names[1][trained].decode()})"
