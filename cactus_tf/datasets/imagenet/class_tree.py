"""The class folders of a user's ImageNet, with warnings of missing classes and of images that are too small."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cactus_tf.datasets._io import decoding, picture_formats
from cactus_tf.datasets._io.entries import Entry, UnreadableError, shown
from cactus_tf.datasets.folder import class_folders
from cactus_tf.datasets.imagenet import features
from cactus_tf.datasets.miniimagenet import ravi
from cactus_tf.errors import InputError
from cactus_tf.utils.paths import expanded

log = logging.getLogger(__name__)

SIDE, CLASSES = 84, 1000
_FOLDERS = (".", "train", "ILSVRC/Data/CLS-LOC/train", "imagenet")
_SIDES = (84, 224)  # of the authors' folders
REMEDY = (
    "unpack ILSVRC2012_img_train.tar of https://image-net.org, which asks for a registration, to a folder per WordNet "
    "id (n01440764/*.JPEG) and name their folder as data_dir"
)


class Source(NamedTuple):
    """Class folders.

    Attributes:
      root: their folder.
      classes: {split: WordNet ids}.
      extensions: of the files.
    """

    root: Path
    classes: Mapping[str, list[str]]
    extensions: tuple[str, ...]


def locate(data_dir: str | Path | None, kind: str = "images", side: int = SIDE) -> Source:
    """The class folders of images or features."""
    if data_dir is None:
        raise InputError(f"imagenet needs --data_dir, tensorflow-datasets does not download it: {REMEDY}")
    folder = expanded(data_dir)
    if not folder.is_dir():
        raise InputError(f"--data_dir={shown(folder)} is not a folder: {REMEDY}")
    extensions = features.EXTENSIONS if kind == "features" else picture_formats.EXTENSIONS
    root = next((root for root in _roots(folder, kind, side) if _holds(root, extensions)), None)
    if root is None:
        what = "*.npy" if kind == "features" else "*.JPEG"
        raise InputError(f"data_dir {shown(folder)} has no class folders with {kind} (n01440764/{what}): {REMEDY}")
    wnids = class_folders.wnids(root)
    for split in ("val", "test"):
        missing = [wnid for wnid in ravi.CLASSES[split] if wnid not in wnids]
        if missing:
            raise InputError(f"{shown(root)} lacks the {split} classes {', '.join(missing)}: {REMEDY}")
    train = [wnid for wnid in wnids if ravi.SPLIT_OF.get(wnid) not in ("val", "test")]
    if not train:
        raise InputError(f"{shown(root)} has no class to train on, only those of val and test: {REMEDY}")
    return Source(root, {"train": train, **{s: list(ravi.CLASSES[s]) for s in ("val", "test")}}, extensions)


@functools.lru_cache(8)
def names_keys(data_dir: str) -> list[str]:
    """A key of the names of all files for each folder that holds class folders; looked up once per process."""
    folder = expanded(data_dir)
    originals = [folder / name for name in _FOLDERS]
    sides = [root for side in _SIDES for root in _roots(folder, "images", side)]
    roots = dict.fromkeys([*originals, *sides, *_roots(folder, "features", SIDE)])
    return [class_folders.names_key(root) for root in roots if class_folders.wnids(root)]


def warn_of_missing(source: Source) -> None:
    """Warns where the number of class folders is not that of ImageNet's classes."""
    folders = sum(map(len, source.classes.values()))
    if folders != CLASSES:
        lacking = [wnid for wnid in ravi.CLASSES["train"] if wnid not in source.classes["train"]]
        some = f", such as {lacking[0]}" if lacking else ""
        log.warning(
            "imagenet: %d class folders, ImageNet has %d; of miniImageNet's 64 training classes %d are missing%s",
            folders,
            CLASSES,
            len(lacking),
            some,
        )


def warn_of_enlarging(source: Source, side: int) -> None:
    """Warns where the first image of every val class is smaller than the images made of it."""
    sizes = [size for wnid in source.classes["val"] if (size := _first_size(source, wnid))]
    if sizes and all(max(size) < side for size in sizes):
        width, height = max(sizes)
        log.warning(
            "imagenet: the images in %s (such as %dx%d) are enlarged to %dx%d: name a folder with larger images as "
            "data_dir, or lower --image_size",
            shown(source.root),
            width,
            height,
            side,
            side,
        )


def _roots(folder: Path, kind: str, side: int) -> list[Path]:
    """Folders that may hold the class folders, in order of preference."""
    if kind == "features":
        return [folder / name for name in ("imagenet/features", "features", *_FOLDERS)]
    others = sorted({*_SIDES} - {side}, reverse=True)
    originals = [folder / name for name in _FOLDERS]
    return [*_of_side(folder, side), *originals, *(root for other in others for root in _of_side(folder, other))]


def _of_side(folder: Path, side: int) -> list[Path]:
    """The authors' folders of squares of this side."""
    return [folder / f"{above}images_{side}x{side}" for above in ("imagenet/", "")]


def _holds(root: Path, extensions: tuple[str, ...]) -> bool:
    """Whether a class folder has such a file."""
    folders = (root / wnid for wnid in class_folders.wnids(root))
    return any(name.lower().endswith(extensions) for folder in folders for name in _names(folder))


def _first_size(source: Source, wnid: str) -> tuple[int, int] | None:
    """Width and height of a class's first image; None where it cannot be read."""
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
