"""Pictures of your own: a folder or zip archive without labels, and perhaps one of labelled pictures to judge on.

Every picture below `data_dir` is for training, whatever sub-folder it lies in. Only where `data_dir` has a sub-folder
`train` are its sub-folders `train`, `val` and `test` the splits, and their sub-folders classes; one folder around them
does not count. Below `eval_dir` each sub-folder is a class of the test split; pictures that lie there are never trained
on.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import DataContext
from cactus_tf.datasets._io.decoding import FITS, array, is_grey, opened
from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets._io.layout import COUNTED, FEWEST, Tree, locate
from cactus_tf.datasets._io.preparing import Listed, prepare_files
from cactus_tf.datasets._io.shards import Decoded, decode_all
from cactus_tf.datasets._io.splits import NOT_CACHED
from cactus_tf.errors import InputError
from cactus_tf.types import Splits

logger = logging.getLogger(__name__)

VERSION = 1
TAKES = ("image_size", "eval_dir")
SIDE, SMALL_SIDE = 84, 28  # pixels: miniImageNet's, and Omniglot's for pictures that are grey and small
SMALL = 64  # pixels that the longer side of half of the small ones has at most


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of a folder of pictures."""

    fit: str = option(
        "crop", "what becomes of oblong pictures: crop keeps the middle, stretch distorts, pad adds black bars"
    )


def load(data_dir: str | Path | None = None, context: DataContext = NOT_CACHED) -> Splits:
    """The pictures, square, grey if all training pictures are, else in colour.

    Args:
      data_dir: folder or zip archive.
      context: keeps the arrays. `image_size` is by default 84, or 28 where all training pictures are grey and half of
        them have no side above 64 pixels.

    Raises:
      InputError: there are no two pictures to train on, `eval_dir` has no classes, or it holds `data_dir`.
    """
    options = context.options or Options()
    if options.fit not in FITS:
        raise InputError(f"--folder_fit={options.fit}: there is no such fit; choose from {', '.join(FITS)}")
    list_all = locate(data_dir, context.eval_dir)
    skipped: list[Skipped] = []
    about: dict[str, Any] = {}

    def read(scratch: Path) -> dict[str, Listed]:
        tree = list_all()
        skipped.extend(tree.skipped)
        _say(tree)
        headers = _headers(tree.splits["train"].entries, scratch / "headers", context.workers)
        shape = usual_shape(headers, context.image_size)
        decode = picture_decoder(shape, options)
        splits = {
            split: listed._replace(
                made=decode_all(
                    f"folder {split}", listed.entries, decode, shape, scratch / split, context.workers, "uint8"
                )
            )
            for split, listed in tree.splits.items()
        }
        about.update({"classes": _readable_classes(tree, splits), **tree.about})
        return splits

    with tempfile.TemporaryDirectory(prefix="cactus_tf-") as passing:
        scratch = (context.folder or Path(passing)) / "partial"  # removed by `prepare_files`
        splits = prepare_files(
            "folder", lambda: read(scratch), _made_already, tuple, context, skipped=skipped, about=about
        )
    if len(splits.train) < FEWEST:
        raise InputError(f"{shown(str(data_dir))}: only {len(splits.train)} picture could be read: add more")
    return splits


@functools.lru_cache(4)
def files_key(data_dir: str | Path | None, eval_dir: str | Path | None) -> dict[str, str]:
    """What the pictures are for training, "train", and for judging, "rest": changes when a file is added, removed,
    renamed, or changes its size or time. Looks once in the life of a process.
    """
    splits = locate(data_dir, eval_dir)().splits
    return {"train": _digest(splits["train"]), "rest": _digest(splits["val"], splits["test"])}


def header(entry: Entry) -> np.ndarray:
    """[3] int32 of a picture: width, height, and whether its format is grey. Reads only the beginning of a file."""
    with entry.open() as file, opened(file) as image:
        return np.array([image.width, image.height, is_grey(image)], np.int32)


def usual_shape(found: Decoded, image_size: int | None) -> tuple[int, int, int]:
    """(height, width, channels) for pictures with these headers.

    Raises:
      InputError: none of them could be read.
    """
    if not len(found.kept):
        first = found.skipped[0]
        raise InputError(
            f"not one of {len(found.skipped)} training pictures could be read; the first is {first.name}, "
            f"which {first.reason}: name a folder of other pictures"
        )
    width, height, grey = np.asarray(found.rows[found.kept]).T
    small = grey.all() and np.median(np.maximum(width, height)) <= SMALL
    side = image_size or (SMALL_SIDE if small else SIDE)
    return side, side, 1 if grey.all() else 3


def picture_decoder(shape: tuple[int, int, int], options: Options | None = None) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row [height, width, channels] uint8."""
    return functools.partial(array, shape=shape, fit=(options or Options()).fit, reduced=True)


def _headers(entries: Sequence[Entry], place: Path, workers: int | None) -> Decoded:
    return decode_all("folder headers", entries, header, (3,), place, workers, "int32", read=_itself)


def _made_already(content: bytes) -> np.ndarray:
    raise AssertionError("all splits come with their rows")


def _readable_classes(tree: Tree, splits: Mapping[str, Listed]) -> dict[str, list[str]]:
    """The names of each split's classes with a readable picture, in the order in which `by_class` numbers them.

    A warning names the others.
    """
    readable = {}
    for split, classes in tree.classes.items():
        made, labels = splits[split].made, splits[split].labels
        assert made is not None and labels is not None
        present = set(labels[made.kept].tolist())
        readable[split] = [name for label, name in enumerate(classes) if label in present]
        without = sorted([*tree.empty[split], *(n for label, n in enumerate(classes) if label not in present)])
        if without:
            logger.warning("folder: %d %s classes without a picture: %s", len(without), split, ", ".join(without))
    return readable


def _say(tree: Tree) -> None:
    for warning in tree.warnings:
        logger.warning("folder: %s", warning)
    for counted, number in tree.about.items():
        if number:
            logger.info("folder: %d %s", number, COUNTED[counted])


def _digest(*parts: Listed) -> str:
    """Of names, sizes, times and classes."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        for entry in part.entries:
            state.update(f"{shown(entry.name)}\0{entry.size}\0{entry.stamp}\0".encode())
        state.update(b"-" if part.labels is None else part.labels.tobytes())
    return state.hexdigest()


def _itself(entry: Entry) -> Entry:
    return entry
