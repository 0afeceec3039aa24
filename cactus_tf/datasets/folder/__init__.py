"""Pictures of your own: a folder or zip archive without labels, and optionally labeled pictures to evaluate on.

All pictures below `data_dir` are for training, in whatever subfolder. Only if `data_dir` has a subfolder `train` are
its subfolders `train`, `val` and `test` the splits, and their subfolders the classes; one folder around them is
ignored. Each subfolder of `eval_dir` is a class of the test split; pictures in it are never trained on.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import DataContext, DatasetInfo
from cactus_tf.datasets._io.decoding import FITS, array, is_gray, opened
from cactus_tf.datasets._io.entries import Entry, shown
from cactus_tf.datasets._io.layout import FEWEST, Tree, locate
from cactus_tf.datasets._io.preparing import NOT_CACHED, Labeled, Listed, SplitFiles, prepare_files
from cactus_tf.datasets._io.rows import Decoded, Decoding, decode_files, unread
from cactus_tf.errors import InputError
from cactus_tf.types import Splits

log = logging.getLogger(__name__)

SIDE, SMALL_SIDE = 84, 28  # pixels: as in miniImageNet, and as in Omniglot for small gray pictures
SMALL = 64  # pixels: small pictures are those whose median longer side is at most this


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of a folder of pictures."""

    fit: str = option(
        "crop", "oblong pictures: crop keeps the middle, stretch distorts, pad adds black bars", source="ours"
    )


def load(data_dir: str | Path | None = None, context: DataContext = NOT_CACHED) -> Splits:
    """The pictures, square; gray if all training pictures are gray, else in color.

    Args:
      data_dir: folder or zip archive.
      context: stores the arrays. `image_size` is by default 84, or 28 where all training pictures are gray and half of
        them have no side above 64 pixels.

    Raises:
      InputError: fewer than two pictures to train on, `eval_dir` has no classes, or it contains `data_dir`.
    """
    options = context.options or Options()
    if options.fit not in FITS:
        raise InputError(f"--folder_fit={options.fit}: choose from {', '.join(FITS)}")
    tree = locate(data_dir, context.eval_dir)()
    _say(tree)

    def listing(_: Path) -> SplitFiles:
        return SplitFiles(tree.splits, tree.skipped, functools.partial(_summary, tree))

    def decoding(listed: Mapping[str, Listed], folder: Path) -> Decoding:
        how = Decoding(header, (3,), "int32", read=unread)
        headers = decode_files("folder headers", listed["train"].entries, how, folder / "headers", context.workers)
        shape = default_shape(headers, context.image_size)
        return Decoding(picture_decoder(shape, options), shape)

    splits = prepare_files("folder", listing, decoding, context)
    if len(splits.train) < FEWEST:
        raise InputError(f"{shown(str(data_dir))}: only {len(splits.train)} picture could be read: add more")
    return splits


@functools.lru_cache(4)
def files_key(data_dir: str | Path | None, eval_dir: str | Path | None) -> dict[str, str]:
    """A key of the training pictures, "train", and one of the others, "rest"; the files are listed once per process.

    They change when a file is added, removed, renamed, or changes its size or time.
    """
    splits = locate(data_dir, eval_dir)().splits
    return {"train": _hash(splits["train"]), "rest": _hash(splits["val"], splits["test"])}


def train_files(data_dir: str | Path | None, eval_dir: str | Path | None) -> list[str]:
    """Names of the training pictures."""
    return [shown(entry.name) for entry in locate(data_dir, eval_dir)().splits["train"].entries]


def header(entry: Entry) -> np.ndarray:
    """[3] int32 of a picture: width, height, and whether its format is gray. Reads only the beginning of a file."""
    with entry.open() as file, opened(file) as image:
        return np.array([image.width, image.height, is_gray(image)], np.int32)


def default_shape(headers: Decoded, image_size: int | None) -> tuple[int, int, int]:
    """(height, width, channels) for pictures with these headers."""
    if not len(headers.read):
        first = (
            f"; the first is {headers.skipped[0].name}, which {headers.skipped[0].reason}" if headers.skipped else ""
        )
        raise InputError(
            f"not one of {len(headers.rows)} training pictures could be read{first}: name a folder of other pictures"
        )
    width, height, gray = np.asarray(headers.rows[headers.read]).T
    small = gray.all() and np.median(np.maximum(width, height)) <= SMALL
    side = image_size or (SMALL_SIDE if small else SIDE)
    return side, side, 1 if gray.all() else 3


def picture_decoder(shape: tuple[int, ...], options: Options | None = None) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row [height, width, channels] uint8."""
    return functools.partial(array, shape=shape, fit=(options or Options()).fit, reduced=True)


def _say(tree: Tree) -> None:
    """Logs what the pictures lack and what is passed over; of pictures that are already prepared, too."""
    for message in tree.warnings:
        log.warning("folder: %s", message)
    for split, names in tree.empty.items():
        _say_empty(split, "picture", names)
    for message in tree.notes:
        log.info("folder: %s", message)


def _say_empty(split: str, lacking: str, names: Sequence[str]) -> None:
    if names:
        log.warning("folder: %d %s classes without a %s: %s", len(names), split, lacking, ", ".join(names))


def _summary(tree: Tree, splits: Mapping[str, Labeled]) -> dict[str, Any]:
    """For prepared.json: counts, and each split's classes with a readable picture, in their order; warns of others."""
    readable = {}
    for split, classes in tree.classes.items():
        present = set(splits[split].labels.tolist())
        readable[split] = [name for label, name in enumerate(classes) if label in present]
        _say_empty(split, "readable picture", sorted(set(classes) - set(readable[split])))
    return {"classes": readable, **tree.counts}


def _hash(*parts: Listed) -> str:
    """Of names, sizes, times and classes."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        for entry in part.entries:
            state.update(f"{shown(entry.name)}\0{entry.size}\0{entry.stamp}\0".encode())
        state.update(b"-" if part.labels is None else part.labels.tobytes())
    return state.hexdigest()


INFO = DatasetInfo(
    takes=("image_size", "eval_dir"), files_key=files_key, train_files=train_files, picture_decoder=picture_decoder
)
