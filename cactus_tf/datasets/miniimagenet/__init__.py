"""miniImageNet, 84x84 in color: 64 / 16 / 20 classes of 600 images, split as by Ravi and Larochelle 2017.

`data_dir` holds one of

- `train.csv`, `val.csv`, `test.csv` and the images that they name in `images/` or `images.zip`, as in the common
  release of 84x84 JPEGs, whose pixels are not changed;
- the same lists and ImageNet's training folders (`n01532829/n01532829_629.JPEG`), in it or in its `train/`. Ravi's
  names are not ImageNet's: `n0153282900000005.jpg` is the fifth image of its class by the number in ImageNet's names,
  counted in the whole folder, as in the common scripts that make the release. A list may also name ImageNet's files.
  Without lists the first 600 images of each class are taken, which are Ravi's 600 only if they bear his names;
- a tree `train|val|test/WNID/*.jpg`; or
- `images/` or `images.zip` alone, with Ravi's or ImageNet's names, which begin with their class.

Lists may lie in `split/` or `splits/`.

Other sizes are resized once with Lanczos filtering to the square, aspect ratio not kept, as in the authors' script.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cactus_tf.contracts import DataContext, DatasetInfo
from cactus_tf.datasets._io import decoding, picture_formats
from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets._io.listing import listing
from cactus_tf.datasets._io.preparing import NOT_CACHED, Listed, SplitFiles, prepare_files
from cactus_tf.datasets._io.rows import Decoding
from cactus_tf.datasets.folder import class_folders
from cactus_tf.datasets.miniimagenet import ravi, split_lists
from cactus_tf.errors import InputError
from cactus_tf.types import Splits
from cactus_tf.utils.paths import expanded

log = logging.getLogger(__name__)

SIDE = 84
_NAMED = 3  # classes or files that a message names
_LISTS = (".", "split", "splits")
_OTHER_IMAGES = (
    f"without train.csv, val.csv, test.csv the first {ravi.IMAGES} images of each class are taken, which are not "
    "Ravi and Larochelle's"
)
LAYOUTS = (
    "train.csv, val.csv, test.csv and images/ or images.zip; or the three lists and ImageNet's training folders; "
    "or train/, val/, test/ with a folder per WordNet id"
)
REMEDY = f"put {LAYOUTS} into a folder and name it as data_dir"

Classes = Mapping[str, list[Entry]]
"""{WordNet id: files}."""


class ClassFiles(NamedTuple):
    """The files of each class.

    Attributes:
      classes: {split: {WordNet id: files}}.
      skipped: what was left out.
      warning: another message for the user.
    """

    classes: Mapping[str, Classes]
    skipped: list[Skipped]
    warning: str = ""


def load(data_dir: str | Path | None = None, context: DataContext = NOT_CACHED) -> Splits:
    """miniImageNet: 38,400 train, 9,600 val and 12,000 test images [84, 84, 3].

    Args:
      data_dir: folder with one of the layouts above.
      context: stores the arrays; its image_size replaces 84. Labels are the classes of a split by WordNet id.

    Raises:
      InputError: no such layout, a list breaks a rule, or a split has no image at all.
    """
    side = context.image_size or SIDE
    shape = (side, side, 3)
    list_files = locate(data_dir)

    def split_files(_: Path) -> SplitFiles:
        class_files = list_files()
        if class_files.warning:
            log.warning("miniimagenet: %s", class_files.warning)
        check_counts(class_files)
        listed = {split: Listed.of_classes(list(class_files.classes[split].values())) for split in ravi.CLASSES}
        return SplitFiles(listed, class_files.skipped)

    return prepare_files("miniimagenet", split_files, lambda *_: Decoding(picture_decoder(shape), shape), context)


def picture_decoder(shape: tuple[int, ...], options: Any = None) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row [height, width, channels] uint8."""
    return functools.partial(decoding.array, shape=shape, fit="stretch")


def locate(data_dir: str | Path | None) -> Callable[[], ClassFiles]:
    """The function that lists the files of each class.

    Raises:
      InputError: no data_dir, or one with none of the layouts.
    """
    if data_dir is None:
        raise InputError(f"miniimagenet needs --data_dir, it cannot be downloaded: {REMEDY}")
    folder = expanded(data_dir)
    if not folder.is_dir():
        raise InputError(f"--data_dir={shown(folder)} is not a folder: {REMEDY}")
    lists = split_lists.find([folder / below for below in _LISTS])
    images = next((path for path in (folder / "images", folder / "images.zip") if _holds_any(path)), None)
    root = next((path for path in (folder, folder / "train") if _has_every_split(path)), None)
    if lists and (images or root):
        return functools.partial(_from_lists, lists, images, root)
    if root:
        return functools.partial(_first_of_folders, root)
    if all(class_folders.wnids(folder / split) for split in ravi.CLASSES):
        return functools.partial(_from_tree, folder)
    if images:
        return functools.partial(_from_names, images)
    names = ", ".join(sorted(shown(path.name) for path in folder.iterdir())[:_NAMED]) or "nothing"
    raise InputError(f"data_dir {shown(folder)} does not hold miniImageNet, but {names}: {REMEDY}")


def files_key(data_dir: str | Path | None, eval_dir: str | Path | None) -> str:
    """A key of the names and sizes of the files of each class, wherever they lie; looked up once per process."""
    return _files_key(None if data_dir is None else str(data_dir))


@functools.lru_cache(8)
def _files_key(data_dir: str | None) -> str:
    state = hashlib.blake2b(digest_size=8)
    for split, classes in locate(data_dir)().classes.items():
        for wnid, entries in classes.items():
            state.update(f"{split}/{wnid}/{len(entries)}/".encode())
            for last, size in sorted((os.fsencode(entry.name.rsplit("/", 1)[-1]), entry.size) for entry in entries):
                state.update(last + f"/{size}/".encode())
    return state.hexdigest()


def check_counts(class_files: ClassFiles) -> None:
    """Warns of missing classes and of classes without exactly 600 images; a split without images is an InputError."""
    for split, wanted in ravi.CLASSES.items():
        present = class_files.classes[split]
        if not present:
            first = next((s for s in class_files.skipped if s.name.startswith(split)), None)
            why = f"{first.name} {first.reason}" if first else f"expected files such as {wanted[0]}00000001.jpg"
            raise InputError(f"miniimagenet: no image of the {len(wanted)} {split} classes ({why}): {REMEDY}")
        missing = [wnid for wnid in wanted if wnid not in present]
        if missing:
            counts = f"{len(missing)} of {len(wanted)}"
            log.warning("miniimagenet: %s %s classes are missing: %s", counts, split, _some(missing))
        other = [f"{wnid} has {len(files)}" for wnid, files in present.items() if len(files) != ravi.IMAGES]
        if other:
            which = f"{len(other)} {split} classes do not have {ravi.IMAGES} images"
            log.warning("miniimagenet: %s: %s", which, _some(other))


def _some(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    return ", ".join(names[:_NAMED]) + (f", and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _has_every_split(folder: Path) -> bool:
    """Whether a folder has class folders of all three splits, as ImageNet's has."""
    return {ravi.SPLIT_OF.get(wnid) for wnid in class_folders.wnids(folder)} >= set(ravi.CLASSES)


def _of_folders(root: Path, wanted: Collection[str], skipped: list[Skipped]) -> dict[str, list[Entry]]:
    """The pictures of each wanted class folder that has any."""
    classes = {}
    for wnid in class_folders.wnids(root):
        if wnid in wanted:
            listed = class_folders.files(root, wnid, picture_formats.EXTENSIONS)
            skipped.extend(listed.skipped)
            classes[wnid] = listed.entries
    return {wnid: entries for wnid, entries in classes.items() if entries}


def _from_lists(lists: Mapping[str, Path], images: Path | None, root: Path | None) -> ClassFiles:
    """The files that the lists name: of the folder or archive `images`, else of the class folders below `root`."""
    skipped: list[Skipped] = []
    rows = {split: split_lists.read(path, split, skipped) for split, path in lists.items()}
    if images:
        listed = listing(images, picture_formats.EXTENSIONS)
        skipped += [*listed.skipped, *listed.other_files(images.name)]
        entries = listed.entries
    else:
        assert root is not None
        entries = [entry for files in _of_folders(root, ravi.SPLIT_OF, skipped).values() for entry in files]
    files = split_lists.FilesByStem(entries, skipped)
    classes = {split: split_lists.by_class(rows[split], files, skipped) for split in rows}
    return ClassFiles({split: dict(sorted(by_wnid.items())) for split, by_wnid in classes.items()}, skipped)


def _first_of_folders(root: Path) -> ClassFiles:
    """The first 600 images of each class by ImageNet's numbers."""
    skipped: list[Skipped] = []
    folders = _of_folders(root, ravi.SPLIT_OF, skipped)
    first = {wnid: ravi.by_number(entries)[: ravi.IMAGES] for wnid, entries in folders.items()}
    classes = {split: {w: first[w] for w in wanted if w in first} for split, wanted in ravi.CLASSES.items()}
    by_ravi = all(ravi.position(entry.stem) for entries in first.values() for entry in entries)
    return ClassFiles(classes, skipped, "" if by_ravi else _OTHER_IMAGES)


def _from_names(images: Path) -> ClassFiles:
    """The files of `images` by the class that their names begin with; InputError where none has such a name."""
    listed = listing(images, picture_formats.EXTENSIONS)
    classes: dict[str, dict[str, list[Entry]]] = {split: {} for split in ravi.CLASSES}
    skipped = list(listed.skipped)
    for entry in listed.entries:
        wnid = ravi.own_class(entry.stem)
        if wnid is None:
            skipped.append(Skipped(shown(entry.name), "does not begin with a class, as n0153282900000005.jpg does"))
        else:
            classes[ravi.SPLIT_OF[wnid]].setdefault(wnid, []).append(entry)
    if not any(classes.values()):
        first = f"{skipped[0].name} {skipped[0].reason}" if skipped else "it holds no pictures"
        raise InputError(
            f"{shown(images.parent)} has {images.name} but not train.csv, val.csv, test.csv ({first}): add these lists"
        )
    by_ravi = all(ravi.position(entry.stem) for of_split in classes.values() for e in of_split.values() for entry in e)
    first_of = {
        split: {wnid: ravi.by_number(entries)[: ravi.IMAGES] for wnid, entries in sorted(of_split.items())}
        for split, of_split in classes.items()
    }
    return ClassFiles(first_of, skipped, "" if by_ravi else _OTHER_IMAGES)


def _holds_any(path: Path) -> bool:
    """Whether a path is a file, or a folder that is not empty."""
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def _from_tree(folder: Path) -> ClassFiles:
    """The files of train/, val/, test/; a class in another split's folder is an InputError."""
    skipped: list[Skipped] = []
    classes: dict[str, Classes] = {}
    for split in ravi.CLASSES:
        for wnid in class_folders.wnids(folder / split):
            own = ravi.SPLIT_OF.get(wnid)
            if own is None:
                skipped.append(Skipped(f"{split}/{wnid}", "is not a class of miniImageNet"))
            elif own != split:
                place = shown(folder / split / wnid)
                raise InputError(f"{place} is a {own} class of Ravi and Larochelle: move it to {own}/")
        left_out: list[Skipped] = []
        folders = _of_folders(folder / split, ravi.SPLIT_OF, left_out)
        skipped += [Skipped(f"{split}/{s.name}", s.reason) for s in left_out]
        classes[split] = {
            wnid: [Entry(str(folder), f"{split}/{e.name}", e.size) for e in entries]
            for wnid, entries in folders.items()
        }
    return ClassFiles(classes, skipped)


INFO = DatasetInfo(takes=("image_size",), files_key=files_key, picture_decoder=picture_decoder)
