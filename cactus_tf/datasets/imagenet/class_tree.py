"""Where a user has ImageNet's class folders, and what is said of them: missing classes, images that are too small."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cactus_tf.datasets._io import decoding
from cactus_tf.datasets._io.entries import Entry, UnreadableError, shown
from cactus_tf.datasets.folder import class_folders
from cactus_tf.datasets.imagenet import features
from cactus_tf.datasets.miniimagenet import ravi
from cactus_tf.errors import InputError

logger = logging.getLogger(__name__)

SIDE, CLASSES = 84, 1000
_FOLDERS = (".", "train", "ILSVRC/Data/CLS-LOC/train", "imagenet")
_SIDES = (84, 224)  # of the authors' folders
REMEDY = (
    "unpack ILSVRC2012_img_train.tar of https://image-net.org, which asks for a registration, to a folder per WordNet "
    "id (n01440764/*.JPEG) and name their folder as data_dir"
)


class Source(NamedTuple):
    """Where the class folders are.

    Attributes:
      root: their folder.
      classes: {split: WordNet ids}.
      extensions: of the files.
    """

    root: Path
    classes: Mapping[str, list[str]]
    extensions: tuple[str, ...]


def locate(data_dir: str | Path | None, kind: str = "images", side: int = SIDE) -> Source:
    """The class folders of images or features.

    Raises:
      InputError: there are none, or a class of val or test or every other one is missing.
    """
    if data_dir is None:
        raise InputError(f"imagenet needs data_dir, tensorflow-datasets does not download it: {REMEDY}")
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise InputError(f"data_dir {shown(folder)} is not a folder: {REMEDY}")
    extensions = features.EXTENSIONS if kind == "features" else decoding.EXTENSIONS
    root = next((root for root in _roots(folder, kind, side) if _holds(root, extensions)), None)
    if root is None:
        what = "*.npy" if kind == "features" else "*.JPEG"
        raise InputError(f"data_dir {shown(folder)} has no class folders with {kind} (n01440764/{what}): {REMEDY}")
    there = class_folders.wnids(root)
    classes = {split: [wnid for wnid in ravi.CLASSES[split] if wnid in there] for split in ("val", "test")}
    for split, found in classes.items():
        missing = [wnid for wnid in ravi.CLASSES[split] if wnid not in found]
        if missing:
            raise InputError(f"{shown(root)} lacks the {split} classes {', '.join(missing)}: {REMEDY}")
    train = [wnid for wnid in there if ravi.SPLIT_OF.get(wnid) not in ("val", "test")]
    if not train:
        raise InputError(f"{shown(root)} has no class to train on, only those of val and test: {REMEDY}")
    return Source(root, {"train": train, **classes}, extensions)


@functools.lru_cache(8)
def digests(data_dir: str) -> list[str]:
    """Of the names of all files by class, one for each folder that holds class folders; looks once in a process."""
    folder = Path(data_dir).expanduser()
    originals = [folder / name for name in _FOLDERS]
    sides = [root for side in _SIDES for root in _roots(folder, "images", side)]
    roots = dict.fromkeys([*originals, *sides, *_roots(folder, "features", SIDE)])
    return [class_folders.names_digest(root) for root in roots if class_folders.wnids(root)]


def say_missing(source: Source) -> None:
    """Warns where there are not as many class folders as ImageNet has classes."""
    there = sum(map(len, source.classes.values()))
    if there != CLASSES:
        lacking = [wnid for wnid in ravi.CLASSES["train"] if wnid not in source.classes["train"]]
        some = f", such as {lacking[0]}" if lacking else ""
        logger.warning(
            "imagenet: %d class folders, ImageNet has %d; of miniImageNet's 64 training classes %d are missing%s",
            there,
            CLASSES,
            len(lacking),
            some,
        )


def say_enlarged(source: Source, side: int) -> None:
    """Warns where the first image of every class to validate on is smaller than what is made of it."""
    sizes = [size for wnid in source.classes["val"] if (size := _first_size(source, wnid))]
    if sizes and all(max(size) < side for size in sizes):
        width, height = max(sizes)
        logger.warning(
            "imagenet: the images in %s (%dx%d, for one) are enlarged to %dx%d: name a folder with larger ones as "
            "data_dir, or lower --image_size",
            shown(source.root),
            width,
            height,
            side,
            side,
        )


def _roots(folder: Path, kind: str, side: int) -> list[Path]:
    """Folders that class folders may lie in, the likeliest first."""
    if kind == "features":
        return [folder / name for name in ("imagenet/features", "features", *_FOLDERS)]
    others = sorted({*_SIDES} - {side}, reverse=True)
    originals = [folder / name for name in _FOLDERS]
    return [*_of_side(folder, side), *originals, *(root for other in others for root in _of_side(folder, other))]


def _of_side(folder: Path, side: int) -> list[Path]:
    """Where the authors' folders with squares of this side lie."""
    return [folder / f"{above}images_{side}x{side}" for above in ("imagenet/", "")]


def _holds(root: Path, extensions: tuple[str, ...]) -> bool:
    """Whether a class folder has such a file."""
    folders = (root / wnid for wnid in class_folders.wnids(root))
    return any(name.lower().endswith(extensions) for folder in folders for name in _names(folder))


def _first_size(source: Source, wnid: str) -> tuple[int, int] | None:
    """Width and height of a class's first image, where it has one that can be read."""
    name = min((n for n in _names(source.root / wnid) if n.lower().endswith(source.extensions)), default=None)
    if name is None:
        return None
    try:
        with Entry(str(source.root), f"{wnid}/{name}", 0).open() as file, decoding.opened(file) as image:
            return image.size
    except UnreadableError:
        return None


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []
