"""From labeled images to the three splits: decoded and ordered once, then read from the cache."""

from __future__ import annotations

import contextlib
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
from cactus_tf.datasets._io import archives
from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets._io.rows import Decoded, Decoding, Ready, claim, decode_files
from cactus_tf.datasets._io.sharing import decode_together
from cactus_tf.errors import InputError
from cactus_tf.types import AssignedPartitions, ImageSet, Partitions, PiecewiseArray, Splits
from cactus_tf.utils import digests, files

log = logging.getLogger(__name__)

NOT_CACHED = DataContext()
_PIECE = 1024  # rows copied at once
_NAMED = 5  # files that a warning names


class Labeled(NamedTuple):
    """Images and their classes.

    Attributes:
      images: [n, height, width, channels] uint8, 0..255.
      labels: [n] int32, at least 0; or [n, attributes]; or empty where there are none.
      names: [n] bytes, the file of each image; empty where images are not files.
    """

    images: np.ndarray | PiecewiseArray
    labels: np.ndarray
    names: np.ndarray = np.zeros(0, "S1")

    def take(self, rows: np.ndarray) -> Labeled:
        """The rows of a mask or of a list of row numbers, in that order; of images in memory without names."""
        return Labeled(np.asarray(self.images)[rows], self.labels[rows])


class Listed(NamedTuple):
    """The files of one split.

    Attributes:
      entries: in an order that depends on their names alone; empty where the images are not files.
      labels: [n] classes, or [n, attributes]; None where there are none.
      decoded: the rows, where they are already decoded.
    """

    entries: Sequence[Entry]
    labels: np.ndarray | None = None
    decoded: Decoded | None = None

    @classmethod
    def of_classes(cls, classes: Sequence[Sequence[Entry]]) -> Listed:
        """From the files of each class, numbered from 0."""
        entries = [entry for members in classes for entry in members]
        return cls(entries, np.repeat(np.arange(len(classes), dtype=np.int32), [len(c) for c in classes]))


class SplitFiles(NamedTuple):
    """The files of a data set.

    Attributes:
      splits: "train", "val" and "test".
      skipped: files and folders that were left out.
      summary: the prepared splits -> more for prepared.json.
    """

    splits: Mapping[str, Listed]
    skipped: Sequence[Skipped]
    summary: Callable[[Mapping[str, Labeled]], Mapping[str, Any]] = lambda _: {}


def in_order(data: Labeled) -> Labeled:
    """Rows ordered by class, then by image bytes: the same array whatever the order of the source."""
    n, images = len(data.labels), np.asarray(data.images)
    classes = data.labels.astype(">i4").reshape(n, 1).view(np.uint8)  # big-endian: byte order is number order
    keys = np.concatenate([classes, images.reshape(n, -1)], axis=1)
    return data.take(np.argsort(keys.view(f"S{keys.shape[1]}").ravel(), kind="stable"))


def by_class(labels: np.ndarray) -> Partitions:
    """[n] labels as one partition: the classes present, numbered from 0 by rising label."""
    return AssignedPartitions([np.unique(labels, return_inverse=True)[1]])


def prepare(
    name: str,
    read: Callable[[], Mapping[str, Labeled]],
    context: DataContext,
    arrays: Sequence[str] = ("images", "labels"),
    partitions: Callable[[np.ndarray], Partitions] = by_class,
) -> Splits:
    """The splits of a data set, read only if the context does not store them all.

    Args:
      name: of the data set, for messages.
      read: "train", "val" and "test", each in its final order; called at most once.
      context: stores `train-images`, `train-labels`, `val-images`, ...
      arrays: which fields of `Labeled` are stored.
      partitions: from the labels of a split; called where there are any.
    """

    @functools.cache
    def labeled() -> Mapping[str, Labeled]:
        started = time.monotonic()
        splits = read()
        counts = ", ".join(f"{data.images.shape[0]} {split}" for split, data in splits.items())
        log.info("prepared %s: %s images in %.1f seconds", name, counts, time.monotonic() - started)
        return splits

    def image_set(split: str) -> ImageSet:
        def stored(array: str) -> np.ndarray:
            return context.cache(f"{split}-{array}", lambda: getattr(labeled()[split], array))

        images, labels, *names = map(stored, arrays)
        truth = partitions(labels) if len(labels) else None
        return ImageSet(images, truth, names[0] if names and len(names[0]) else None)

    return Splits(image_set("train"), image_set("val"), image_set("test"))


def prepare_arrays(name: str, read: Callable[[], Mapping[str, Labeled]], context: DataContext) -> Splits:
    """`prepare` for a source whose images fit in memory, in any order."""
    return prepare(name, lambda: {split: in_order(data) for split, data in read().items()}, context)


def prepare_files(
    name: str,
    listing: Callable[[Path], SplitFiles],
    decoding: Callable[[Mapping[str, Listed], Path], Decoding],
    context: DataContext,
    partitions: Callable[[np.ndarray], Partitions] = by_class,
) -> Splits:
    """`prepare` for many image files: rows are ordered by class, then by a digest of the image, whatever the source.

    Args:
      name: of the data set, for messages.
      listing: the files; gets a folder for unfinished work.
      decoding: how they become rows; gets the listed files, unpacked, and a folder for unfinished work.
      context: stores the arrays and unfinished work.
      partitions: as of `prepare`.

    Raises:
      InputError: not one file of a split could be read.
      RunError: the disk is full.
    """
    with _unfinished(context.folder) as folder:

        def read() -> dict[str, Labeled]:
            split_files = listing(folder)
            skipped = list(split_files.skipped)
            if context.share and any(one.entries and one.entries[0].archived for one in split_files.splits.values()):
                context.share([], _never)  # the others stop here, before they unpack
            listed = {s: unpacked(one, folder / "unpacked" / s, skipped) for s, one in split_files.splits.items()}
            how = decoding(listed, folder)
            ready = _decoded_by_all(split_files.splits, how, context)
            splits, found = {}, {}
            for split, one in listed.items():
                rows = one.decoded or decode_files(
                    f"{name} {split}", one.entries, how, folder / split, context.workers, ready.get(split)
                )
                skipped.extend(rows.skipped)
                _check_readable(name, split, len(split_files.splits[split].entries) or len(rows.rows), rows, skipped)
                splits[split], found[split] = in_digest_order(one, rows), rows.digests
            report_skipped(name, skipped)
            reasons = [{"file": s.name, "reason": s.reason} for s in skipped]
            known = in_train(name, found)
            known_images = {"in_train": known} if known else {}
            context.report({**split_files.summary(splits), **known_images, "skipped": reasons})
            return splits

        return prepare(name, read, context, ("images", "labels", "names"), partitions)


def _never(name: str) -> np.ndarray:
    raise AssertionError(name)


def _decoded_by_all(splits: Mapping[str, Listed], how: Decoding, context: DataContext) -> dict[str, Ready]:
    """By split, what several workers have decoded; nothing where nobody shares, or where files lie in an archive."""
    lists = {split: one.entries for split, one in splits.items() if one.entries}
    if context.share is None or not lists or any(entries[0].archived for entries in lists.values()):
        return {}
    return decode_together(lists, how, context.share)


def unpacked(listed: Listed, folder: Path, skipped: list[Skipped]) -> Listed:
    """The same files below FOLDER, if they lie in an archive; damaged ones are added to `skipped`."""
    archived, note = listed.entries, folder / "unpacked.json"
    if not archived or not archived[0].archived:
        return listed
    if claim(folder, ["apart"], archived) or not note.exists():
        files.write_json(note, list(archives.unpack(archived, folder / "files").items()))
    damaged = dict(files.read_json(note))
    skipped.extend(Skipped(shown(archived[i].name), reason) for i, reason in damaged.items())
    intact = [i for i in range(len(archived)) if i not in damaged]
    places = archives.places(archived, folder / "files")
    entries = [archived[i]._replace(root=str(places[i]), archived=False) for i in intact]
    return Listed(entries, None if listed.labels is None else listed.labels[intact])


def report_skipped(name: str, skipped: Sequence[Skipped]) -> None:
    """A warning that counts what was left out and names the first few."""
    if skipped:
        some = "; ".join(f"{s.name} {s.reason}" for s in skipped[:_NAMED])
        more = f"; and {len(skipped) - _NAMED} more" if len(skipped) > _NAMED else ""
        log.warning("%s: %d files or folders left out: %s%s", name, len(skipped), some, more)


def in_train(name: str, found: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many images of val and test are in train, too, where any are, by digests of each split; warns of them."""
    flat = {split: np.ascontiguousarray(one).view(f"V{digests.SIZE}").ravel() for split, one in found.items()}
    counts = {split: digests.in_both(one, flat["train"]) for split, one in flat.items() if split != "train"}
    known = {split: number for split, number in counts.items() if number}
    for split, number in known.items():
        log.warning("%s: %s of %s %s images are in train, too", name, f"{number:,}", f"{len(flat[split]):,}", split)
    return known


def in_digest_order(listed: Listed, decoded: Decoded) -> Labeled:
    """The rows that could be read, by class where there is one, then by digest, then by attributes."""
    halves = np.ascontiguousarray(decoded.digests).view(">u8")
    keys = [halves[:, 1], halves[:, 0]]
    labels = np.zeros(0, np.int32)
    if listed.labels is not None:
        labels = listed.labels[decoded.read]
        keys = [*keys, labels] if labels.ndim == 1 else [*labels.T, *keys]
    order = np.lexsort(keys)
    numbers = decoded.read[order]
    return Labeled(
        _rows_at(decoded.rows, numbers),
        labels[order] if listed.labels is not None else labels,
        _names(listed.entries, numbers) if listed.entries else np.zeros(0, "S1"),
    )


def _names(entries: Sequence[Entry], numbers: np.ndarray) -> np.ndarray:
    """[n] bytes, the names of the files with these numbers, made piece by piece: n Python strings take much more."""
    starts = range(0, len(numbers), _PIECE)
    pieces = ([shown(entries[i].name).encode() for i in numbers[start : start + _PIECE]] for start in starts)
    return np.concatenate([np.zeros(0, "S1"), *(np.array(piece, np.bytes_) for piece in pieces)])


def _rows_at(rows: np.ndarray, numbers: np.ndarray) -> PiecewiseArray:
    """The rows with these numbers, in pieces."""

    def pieces() -> Iterator[np.ndarray]:
        for start in range(0, len(numbers), _PIECE):
            wanted = numbers[start : start + _PIECE]
            along = np.argsort(wanted)  # in the order of the file
            piece = np.empty((len(wanted), *rows.shape[1:]), rows.dtype)
            piece[along] = rows[wanted[along]]
            yield piece

    return PiecewiseArray((len(numbers), *rows.shape[1:]), rows.dtype, pieces)


def _check_readable(name: str, split: str, number: int, decoded: Decoded, skipped: Sequence[Skipped]) -> None:
    if number and not len(decoded.read):
        first, reason = (decoded.skipped or skipped)[0]
        raise InputError(
            f"{name}: not one of {number} files for {split} could be read; the first is {first}, which {reason}"
        )


@contextlib.contextmanager
def _unfinished(folder: Path | None) -> Iterator[Path]:
    """Where unfinished work is stored: FOLDER/partial, removed at a good end; without a folder a temporary one."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="cactus_tf-", ignore_cleanup_errors=True) as temporary:
            yield Path(temporary)
        return
    yield folder / "partial"
    shutil.rmtree(folder / "partial", ignore_errors=True)
