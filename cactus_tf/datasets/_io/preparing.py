"""Data sets of many image files: decoded once, put in canonical order, and kept."""

from __future__ import annotations

import functools
import logging
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cactus_tf.contracts import DataContext
from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets._io.shards import Decode, Decoded, decode_all
from cactus_tf.errors import InputError
from cactus_tf.types import AssignedPartitions, ImageSet, Partitions, Rows, Splits

logger = logging.getLogger(__name__)

_PIECE = 1024  # rows copied at once


class Listed(NamedTuple):
    """The files of one split.

    Attributes:
      entries: in an order that depends on their names alone; none where the images are not files.
      labels: [n] classes, or [n, attributes]; None where there are none.
      made: the rows, where they are made already.
    """

    entries: Sequence[Entry]
    labels: np.ndarray | None = None
    made: Decoded | None = None

    @classmethod
    def of_classes(cls, classes: Sequence[Sequence[Entry]]) -> Listed:
        """From the files of each class, numbered from 0."""
        entries = [entry for members in classes for entry in members]
        return cls(entries, np.repeat(np.arange(len(classes), dtype=np.int32), [len(c) for c in classes]))


def prepare_files(
    name: str,
    listing: Callable[[], Mapping[str, Listed]],
    decode: Decode,
    shape: Callable[[], tuple[int, ...]],
    context: DataContext,
    *,
    dtype: str = "uint8",
    skipped: Sequence[Skipped] = (),
    partitions: Callable[[np.ndarray], Partitions] | None = None,
    about: Mapping[str, Any] | None = None,
) -> Splits:
    """The splits of a data set of many files, decoded only if the context does not keep them all.

    Args:
      name: of the data set, for messages.
      listing: the files of "train", "val" and "test"; called at most once, and not at all where all is kept.
      decode: bytes to one row.
      shape: gives that of a row; called after `listing`.
      context: keeps `train-images`, `train-labels`, `train-names` and so on, and what a stopped preparation has done.
      dtype: of a row.
      skipped: found before, or by `listing`, which may lengthen it; counted with the rest.
      partitions: what labels say; by default one partition, the classes present numbered from 0 by rising label.
      about: more that the context is told of what was found; read at the end.

    Returns:
      Splits whose rows are ordered by class, then by a digest of the image: independent of names and of the source.

    Raises:
      InputError: not one file of a split could be read.
      RunError: the disk is full.
    """
    scratch = _Scratch(context.folder)
    left_out: list[Skipped] = []

    @functools.cache
    def decoded() -> dict[str, tuple[Listed, Decoded, np.ndarray]]:
        started = time.monotonic()
        found = {}
        for split, listed in listing().items():
            made = listed.made or decode_all(
                f"{name} {split}", listed.entries, decode, shape(), scratch.path(split), context.workers, dtype
            )
            if len(made.rows) and not len(made.kept):
                raise InputError(f"{name}: not one of {len(made.rows)} files for {split} could be read; {_first(made)}")
            left_out.extend(made.skipped)
            found[split] = (listed, made, canonical_order(listed, made))
        counts = ", ".join(f"{len(order)} {split}" for split, (_, _, order) in found.items())
        logger.info("prepared %s: %s images in %.1f seconds", name, counts, time.monotonic() - started)
        return found

    def image_set(split: str) -> ImageSet:
        images = context.cache(f"{split}-images", lambda: ordered_rows(*decoded()[split][1:]))
        labels = context.cache(f"{split}-labels", lambda: _labels(*decoded()[split]))
        names = context.cache(f"{split}-names", lambda: _names(*decoded()[split]))
        said = (partitions or by_class)(labels) if len(labels) else None
        return ImageSet(images, said, names if len(names) else None)

    splits = Splits(image_set("train"), image_set("val"), image_set("test"))
    if decoded.cache_info().currsize:
        left_out = [*skipped, *left_out]
        report_skipped(name, left_out)
        context.report({**(about or {}), "skipped": [{"file": s.name, "reason": s.reason} for s in left_out]})
    scratch.remove(splits)
    return splits


def by_class(labels: np.ndarray) -> Partitions:
    """[n] labels as one partition: the classes present, numbered from 0 by rising label."""
    return AssignedPartitions([np.unique(labels, return_inverse=True)[1]])


def report_skipped(name: str, skipped: Sequence[Skipped], most: int = 5) -> None:
    """A warning that counts what was left out and names the first few."""
    if skipped:
        some = "; ".join(f"{s.name} {s.reason}" for s in skipped[:most])
        more = f"; and {len(skipped) - most} more" if len(skipped) > most else ""
        logger.warning("%s: %d files or folders left out: %s%s", name, len(skipped), some, more)


def canonical_order(listed: Listed, made: Decoded) -> np.ndarray:
    """[m] positions in `made.kept`: by class where there is one, then by digest, then by attributes."""
    halves = np.ascontiguousarray(made.digests).view(">u8")
    keys = [halves[:, 1], halves[:, 0]]
    if listed.labels is not None:
        labels = listed.labels[made.kept]
        keys = [*keys, labels] if labels.ndim == 1 else [*labels.T, *keys]
    return np.lexsort(keys)


def ordered_rows(made: Decoded, order: np.ndarray) -> Rows:
    """The rows in this order, in pieces."""
    numbers = made.kept[order]

    def pieces() -> Iterator[np.ndarray]:
        for start in range(0, len(numbers), _PIECE):
            wanted = numbers[start : start + _PIECE]
            along = np.argsort(wanted)  # in the order of the file
            piece = np.empty((len(wanted), *made.rows.shape[1:]), made.rows.dtype)
            piece[along] = made.rows[wanted[along]]
            yield piece

    return Rows((len(numbers), *made.rows.shape[1:]), made.rows.dtype, pieces)


def _labels(listed: Listed, made: Decoded, order: np.ndarray) -> np.ndarray:
    return np.zeros(0, np.int32) if listed.labels is None else listed.labels[made.kept[order]]


def _names(listed: Listed, made: Decoded, order: np.ndarray) -> np.ndarray:
    names = [shown(listed.entries[i].name).encode() for i in made.kept[order]] if listed.entries else []
    return np.array(names, np.bytes_) if names else np.zeros(0, "S1")


def _first(made: Decoded) -> str:
    return f"the first is {made.skipped[0].name}, which {made.skipped[0].reason}"


class _Scratch:
    """Where unfinished work lies: the context's folder, or one that ends with the process."""

    def __init__(self, folder: Path | None):
        self._kept = folder
        self._passing = None if folder else tempfile.TemporaryDirectory(prefix="cactus_tf-")

    def path(self, split: str) -> Path:
        return (self._kept or Path(self._passing.name)) / "partial" / split  # type: ignore[union-attr]

    def remove(self, splits: Splits) -> None:
        """Called when all rows are where they stay."""
        shutil.rmtree((self._kept or Path(self._passing.name)) / "partial", ignore_errors=True)  # type: ignore[union-attr]
