"""From labelled images to the three splits, prepared once and kept."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from cactus_tf.contracts import DataContext
from cactus_tf.types import AssignedPartitions, ImageSet, Splits

logger = logging.getLogger(__name__)

NOT_CACHED = DataContext()


class Labeled(NamedTuple):
    """Images and their classes.

    Attributes:
      images: [n, height, width, channels] uint8, 0..255.
      labels: [n] int32, at least 0.
    """

    images: np.ndarray
    labels: np.ndarray

    def take(self, rows: np.ndarray) -> Labeled:
        """The rows of a mask or of a list of row numbers, in that order."""
        return Labeled(self.images[rows], self.labels[rows])


def in_order(data: Labeled) -> Labeled:
    """Rows ordered by class, then by image bytes: the same array whatever order a source has them in."""
    n = len(data.images)
    classes = data.labels.astype(">i4").reshape(n, 1).view(np.uint8)  # big-endian: byte order is number order
    keys = np.concatenate([classes, data.images.reshape(n, -1)], axis=1)
    return data.take(np.argsort(keys.view(f"S{keys.shape[1]}").ravel(), kind="stable"))


def prepare(name: str, read: Callable[[], Mapping[str, Labeled]], context: DataContext) -> Splits:
    """The splits of a data set, read only if the context does not keep them all.

    Args:
      name: of the data set, for messages.
      read: the images of "train", "val" and "test" in any order; called at most once.
      context: keeps `train-images`, `train-labels`, `val-images`, ... The labels are kept as `read` gives them.

    Returns:
      Splits in canonical order. Each has one partition, the classes present in it numbered from 0 by rising label.
    """

    @functools.cache
    def ordered() -> dict[str, Labeled]:
        started = time.monotonic()
        splits = {split: in_order(data) for split, data in read().items()}
        counts = ", ".join(f"{len(data.labels)} {split}" for split, data in splits.items())
        logger.info("prepared %s: %s images in %.1f seconds", name, counts, time.monotonic() - started)
        return splits

    def image_set(split: str) -> ImageSet:
        images = context.cache(f"{split}-images", lambda: ordered()[split].images)
        labels = context.cache(f"{split}-labels", lambda: ordered()[split].labels)
        return ImageSet(images, AssignedPartitions([np.unique(labels, return_inverse=True)[1]]))

    return Splits(image_set("train"), image_set("val"), image_set("test"))
