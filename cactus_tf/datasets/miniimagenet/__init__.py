"""miniImageNet, 84x84 in colour: 64 / 16 / 20 classes of 600 images, divided as by Ravi and Larochelle 2017.

`data_dir` holds one of

- `train.csv`, `val.csv`, `test.csv` and the images that they name in `images/` or `images.zip`, as in the common
  release of 84x84 JPEGs, whose pixels are taken as they are;
- the same lists and ImageNet's training folders (`n01532829/n01532829_629.JPEG`), in it or in its `train/`. Ravi's
  names are not ImageNet's: `n0153282900000005.jpg` is the fifth image of its class by the number in ImageNet's names,
  counted in the whole folder, as the common scripts that make the release read it. A list may name ImageNet's files
  directly, too. Without lists the first 600 images of each class are taken, which are not Ravi's 600;
- a tree `train|val|test/WNID/*.jpg`.

Other sizes are resized once with Lanczos filtering to the square, aspect ratio not kept, as in the authors' script.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cactus_tf.contracts import DataContext
from cactus_tf.datasets._io import decoding
from cactus_tf.datasets._io.entries import Entry, Skipped, listing, shown
from cactus_tf.datasets._io.preparing import Listed, prepare_files
from cactus_tf.datasets._io.splits import NOT_CACHED
from cactus_tf.datasets.folder import class_folders
from cactus_tf.datasets.miniimagenet import ravi, split_lists
from cactus_tf.errors import InputError
from cactus_tf.types import Splits

logger = logging.getLogger(__name__)

VERSION = 1
TAKES = ("image_size",)
SIDE = 84
LAYOUTS = (
    "train.csv, val.csv, test.csv and images/ or images.zip; or the three lists and ImageNet's training folders; "
    "or train/, val/, test/ with a folder per WordNet id"
)
REMEDY = f"put {LAYOUTS} into a folder and name it as data_dir"


class Found(NamedTuple):
    """The files of each class, by split.

    Attributes:
      classes: {split: {WordNet id: files}}.
      skipped: what was left out.
      warning: what else is to be said.
    """

    classes: Mapping[str, Mapping[str, list[Entry]]]
    skipped: list[Skipped]
    warning: str = ""


def load(data_dir: str | Path | None = None, context: DataContext = NOT_CACHED) -> Splits:
    """miniImageNet: 38,400 train, 9,600 val and 12,000 test images [84, 84, 3].

    Args:
      data_dir: folder with one of the layouts above.
      context: keeps the arrays; its image_size replaces 84. Labels are the classes of a split by WordNet id.

    Raises:
      InputError: no layout is there, a list is wrong, or a split has no image at all.
    """
    side = context.image_size or SIDE
    shape = (side, side, 3)
    find = locate(data_dir)
    skipped: list[Skipped] = []

    def listed() -> dict[str, Listed]:
        found = find()
        skipped.extend(found.skipped)
        if found.warning:
            logger.warning("miniimagenet: %s", found.warning)
        check_counts(found.classes)
        return {split: Listed.of_classes(list(found.classes[split].values())) for split in ravi.CLASSES}

    decode = picture_decoder(shape)
    return prepare_files("miniimagenet", listed, decode, lambda: shape, context, skipped=skipped)


def picture_decoder(shape: tuple[int, int, int], options: Any = None) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row [height, width, channels] uint8."""
    return functools.partial(decoding.array, shape=shape, fit="stretch")


def locate(data_dir: str | Path | None) -> Callable[[], Found]:
    """The function that lists the files of each class.

    Raises:
      InputError: no data_dir, or one that holds none of the layouts.
    """
    if data_dir is None:
        raise InputError(f"miniimagenet needs data_dir, it cannot be downloaded: {REMEDY}")
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise InputError(f"data_dir {shown(folder)} is not a folder: {REMEDY}")
    lists = split_lists.find([folder])
    images = next((path for path in (folder / "images", folder / "images.zip") if path.exists()), None)
    root = next((path for path in (folder, folder / "train") if _has_every_split(path)), None)
    if images and lists:
        return functools.partial(_from_lists, lists, functools.partial(_below, images))
    if root and lists:
        return functools.partial(_from_lists, lists, functools.partial(_of_folders, root))
    if root:
        return functools.partial(_first_of_folders, root)
    if all(class_folders.wnids(folder / split) for split in ravi.CLASSES):
        return functools.partial(_from_tree, folder)
    if images:
        raise InputError(
            f"data_dir {shown(folder)} has {images.name} but not train.csv, val.csv, test.csv: add these lists"
        )
    raise InputError(f"data_dir {shown(folder)} does not hold miniImageNet: {REMEDY}")


def files_key(data_dir: str | Path | None, eval_dir: str | Path | None) -> str:
    """What tells these images from others: names and sizes of the files of each class, wherever they lie."""
    return _digest(None if data_dir is None else str(data_dir))


@functools.lru_cache(8)
def _digest(data_dir: str | None) -> str:
    classes = locate(data_dir)().classes
    return class_folders.listed_digest([(f"{s}/{c}", files) for s in classes for c, files in classes[s].items()])


def check_counts(classes: Mapping[str, Mapping[str, list[Entry]]]) -> None:
    """Says which classes are missing or have other than 600 images.

    Raises:
      InputError: a split has no image.
    """
    for split, wanted in ravi.CLASSES.items():
        there = classes[split]
        if not there:
            raise InputError(f"miniimagenet: not one image of the {len(wanted)} {split} classes is there: {REMEDY}")
        missing = [wnid for wnid in wanted if wnid not in there]
        if missing:
            logger.warning(
                "miniimagenet: %d of %d %s classes are missing: %s", len(missing), len(wanted), split, _some(missing)
            )
        other = [f"{wnid} has {len(files)}" for wnid, files in there.items() if len(files) != ravi.IMAGES]
        if other:
            logger.warning(
                "miniimagenet: %d %s classes do not have %d images: %s", len(other), split, ravi.IMAGES, _some(other)
            )


def _some(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f", and {len(names) - most} more" if len(names) > most else "")


def _has_every_split(folder: Path) -> bool:
    """Whether a folder has class folders of all three splits, as ImageNet's has."""
    there = {ravi.SPLIT_OF.get(wnid) for wnid in class_folders.wnids(folder)}
    return there >= set(ravi.CLASSES)


def _below(images: Path, skipped: list[Skipped]) -> list[Entry]:
    """All pictures of a folder or an archive."""
    found = listing(images, decoding.EXTENSIONS)
    skipped.extend(found.skipped)
    return found.entries


def _of_folders(root: Path, skipped: list[Skipped]) -> list[Entry]:
    """The pictures of the 100 class folders."""
    return [entry for files in _folders(root, ravi.SPLIT_OF, skipped).values() for entry in files]


def _folders(root: Path, wanted: Any, skipped: list[Skipped]) -> dict[str, list[Entry]]:
    """The pictures of each wanted class folder that has any."""
    found = {}
    for wnid in class_folders.wnids(root):
        if wnid in wanted:
            entries, left_out, _ = class_folders.files(root, wnid, decoding.EXTENSIONS)
            skipped.extend(left_out)
            found[wnid] = entries
    return {wnid: entries for wnid, entries in found.items() if entries}


def _from_lists(lists: Mapping[str, Path], entries: Callable[[list[Skipped]], list[Entry]]) -> Found:
    skipped: list[Skipped] = []
    rows = {split: split_lists.read(path, split, skipped) for split, path in lists.items()}
    files = split_lists.Files(entries(skipped), skipped)
    classes = {split: split_lists.by_class(rows[split], files, skipped) for split in rows}
    return Found({split: dict(sorted(found.items())) for split, found in classes.items()}, skipped)


def _first_of_folders(root: Path) -> Found:
    """The first 600 images of each class by ImageNet's numbers."""
    skipped: list[Skipped] = []
    found = _folders(root, ravi.SPLIT_OF, skipped)
    first = {wnid: ravi.by_number(entries)[: ravi.IMAGES] for wnid, entries in found.items()}
    return Found(
        {split: {wnid: first[wnid] for wnid in wanted if wnid in first} for split, wanted in ravi.CLASSES.items()},
        skipped,
        f"without train.csv, val.csv, test.csv the first {ravi.IMAGES} images of each class are taken, which are not "
        "Ravi and Larochelle's",
    )


def _from_tree(folder: Path) -> Found:
    """The files of train/, val/, test/.

    Raises:
      InputError: a class lies in another split's folder.
    """
    skipped: list[Skipped] = []
    classes = {}
    for split in ravi.CLASSES:
        for wnid in class_folders.wnids(folder / split):
            own = ravi.SPLIT_OF.get(wnid)
            if own is None:
                skipped.append(Skipped(f"{split}/{wnid}", "is no class of miniImageNet"))
            elif own != split:
                raise InputError(
                    f"{shown(folder / split / wnid)} is a {own} class of Ravi and Larochelle's division: "
                    f"move it to {own}/"
                )
        left_out: list[Skipped] = []
        found = _folders(folder / split, ravi.SPLIT_OF, left_out)
        skipped += [Skipped(f"{split}/{s.name}", s.reason) for s in left_out]
        classes[split] = {
            wnid: [Entry(str(folder), f"{split}/{e.name}", e.size) for e in entries] for wnid, entries in found.items()
        }
    return Found(classes, skipped)
