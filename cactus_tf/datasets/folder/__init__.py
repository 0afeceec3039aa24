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
from cactus_tf.datasets._io import headers
from cactus_tf.datasets._io.decoding import FITS, array
from cactus_tf.datasets._io.depth import PixelRange, report, used_range
from cactus_tf.datasets._io.entries import shown
from cactus_tf.datasets._io.headers import Headers
from cactus_tf.datasets._io.layout import FEWEST, Tree, locate
from cactus_tf.datasets._io.preparing import NOT_CACHED, Labeled, Listed, SplitFiles, prepare_files
from cactus_tf.datasets._io.rows import Decoding
from cactus_tf.errors import InputError
from cactus_tf.types import Splits

log = logging.getLogger(__name__)

SIDE, SMALL_SIDE = 84, 28  # pixels: as in miniImageNet, and as in Omniglot for small gray pictures
DARK = 64  # of 255, a quarter
_SAMPLED = 256  # training images that are checked
_GLANCED = 64  # training pictures whose headers tell photographs from drawings
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
    notes: dict[str, Any] = {}

    def listing(_: Path) -> SplitFiles:
        return SplitFiles(tree.splits, tree.skipped, lambda splits: {**_summary(tree, splits), **notes})

    def decoding(listed: Mapping[str, Listed], folder: Path) -> Decoding:
        found = _headers(listed, folder, context.workers)
        shape, pixel_range = default_shape(found["train"], context.image_size), _range(found)
        notes.update({"pixel_range": pixel_range} if pixel_range else {})
        return Decoding(picture_decoder(shape, options, pixel_range), shape)

    splits = prepare_files("folder", listing, decoding, context)
    if len(splits.train) < FEWEST:
        raise InputError(f"{shown(str(data_dir))}: only {len(splits.train)} picture could be read: add more")
    _warn_of_dark(splits.train.images, context.folder)
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


def kind(data_dir: str | Path | None, eval_dir: str | Path | None) -> str:
    """Most training pictures, by a sample: "photographs", in color and larger than 64 pixels, or "drawings"."""
    entries = locate(data_dir, eval_dir)().splits["train"].entries
    sample = entries[:: max(1, len(entries) // _GLANCED)]
    found = [headers.glance(entry) for entry in sample]
    large = [max(width, height) > SMALL and not gray for width, height, gray in filter(None, found)]
    return "photographs" if large and np.mean(large) > 0.5 else "drawings"


def default_shape(found: Headers, image_size: int | None) -> tuple[int, int, int]:
    """(height, width, channels) for pictures with these headers."""
    if not len(found.sizes):
        first = f"; the first is {found.skipped[0].name}, which {found.skipped[0].reason}" if found.skipped else ""
        raise InputError(
            f"not one of {len(found.skipped)} training pictures could be read{first}: name a folder of other pictures"
        )
    gray = bool(found.gray.all())
    small = gray and np.median(found.sizes.max(axis=1)) <= SMALL
    side = image_size or (SMALL_SIDE if small else SIDE)
    return side, side, 1 if gray else 3


def picture_decoder(
    shape: tuple[int, ...], options: Options | None = None, pixel_range: PixelRange | None = None
) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row [height, width, channels] uint8."""
    fit = (options or Options()).fit
    return functools.partial(array, shape=shape, fit=fit, reduced=True, pixel_range=pixel_range)


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


def _headers(listed: Mapping[str, Listed], folder: Path, workers: int | None) -> dict[str, Headers]:
    """The headers of each split that has pictures."""
    return {
        split: headers.read(f"folder {split} headers", one.entries, folder / f"headers-{split}", workers)
        for split, one in listed.items()
        if one.entries or split == "train"
    }


def _range(found: Mapping[str, Headers]) -> PixelRange | None:
    """The range of training pictures with more than 8 bits, or of the others where no training picture has more."""
    own = used_range(found["train"].extremes)
    pixel_range = own or used_range(np.concatenate([split.extremes for split in found.values()]))
    if pixel_range is not None:
        for split, of_split in found.items():
            report(f"folder {split}", of_split.extremes, pixel_range)
    return pixel_range


def _warn_of_dark(images: np.ndarray, folder: Path | None) -> None:
    """Warns where a sample of the training images has no pixel of a quarter of the full brightness."""
    sample = images[:: max(1, len(images) // _SAMPLED)]
    if sample.max(initial=0) < DARK:
        log.warning(
            "folder: the brightest pixel of %d training pictures is %d of 255: scale them to 0..255; if 0.1.0 prepared "
            "them from 16-bit files, delete %s to prepare them again",
            len(sample),
            sample.max(initial=0),
            shown(folder or "their artifact"),
        )


def _hash(*parts: Listed) -> str:
    """Of names, sizes, times and classes."""
    state = hashlib.blake2b(digest_size=8)
    for part in parts:
        for entry in part.entries:
            state.update(f"{shown(entry.name)}\0{entry.size}\0{entry.stamp}\0".encode())
        state.update(b"-" if part.labels is None else part.labels.tobytes())
    return state.hexdigest()


INFO = DatasetInfo(
    takes=("image_size", "eval_dir"),
    files_key=files_key,
    train_files=train_files,
    picture_decoder=picture_decoder,
    kind=kind,
)
