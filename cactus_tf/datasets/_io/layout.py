"""Splits and classes of a user's pictures, by the folders they lie in."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from cactus_tf.datasets._io.decoding import EXTENSIONS
from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets._io.listing import Listing, listing
from cactus_tf.datasets._io.preparing import Listed
from cactus_tf.errors import InputError

SPLITS = ("train", "val", "test")
FEWEST = 2  # training images
COUNTED = {
    "other_files": "files with extensions that are not those of pictures were ignored",
    "of_eval_dir": "pictures of data_dir lie in eval_dir and are not trained on",
}
_TRAINING_NAMES = ("train", "training")
_LIKE_SPLITS = (*_TRAINING_NAMES, "val", "valid", "validation", "dev", "development", "test", "testing", "eval")


class Tree(NamedTuple):
    """A user's pictures.

    Attributes:
      splits: the pictures of each split.
      classes: the class names of each labeled split, by label.
      empty: the subfolders without pictures of each labeled split.
      skipped: what could not be looked at, or has no place in the layout.
      counts: numbers for the summary; COUNTED explains them.
      warnings: other messages for the user.
    """

    splits: dict[str, Listed]
    classes: dict[str, list[str]]
    empty: dict[str, list[str]]
    skipped: list[Skipped]
    counts: dict[str, int]
    warnings: list[str]


class _File(NamedTuple):
    """A picture, and the parts of its path in composed Unicode."""

    parts: tuple[str, ...]
    entry: Entry

    def below(self) -> _File:
        """The same without its top folder."""
        return _File(self.parts[1:], self.entry)


def locate(data_dir: str | Path | None, eval_dir: str | Path | None = None) -> Callable[[], Tree]:
    """The function that lists the pictures."""
    if data_dir is None:
        raise InputError("folder needs --data_dir: name the folder or zip archive that holds your pictures")
    for name, place in (("data_dir", data_dir), ("eval_dir", eval_dir)):
        if place is not None:
            existing(name, place)
    data = Path(data_dir).expanduser()
    if eval_dir is None:
        return functools.partial(_tree, data, None)
    evaluation = Path(eval_dir).expanduser()
    if _lies_in(os.path.realpath(data), os.path.realpath(evaluation)):
        raise InputError(
            f"data_dir {shown(data)} lies in eval_dir {shown(evaluation)}, whose pictures are not trained on: "
            "name another folder for one of them"
        )
    return functools.partial(_tree, data, evaluation)


def existing(name: str, place: str | Path) -> Path:
    """The path of a folder or archive that must exist; `name` is what the user calls it."""
    path = Path(place).expanduser()
    if not os.path.exists(path):
        raise InputError(f"{name} {shown(place)} does not exist: name a folder or zip archive of pictures")
    return path


def pictures(name: str, place: Path) -> Listing:
    """The pictures of a folder or archive, of which there must be one at least."""
    listed = listing(place, EXTENSIONS)
    if not listed.entries:
        looked = f"{', '.join(EXTENSIONS)}; {listed.others} other files"
        first = f"; {listed.skipped[0].name}: {listed.skipped[0].reason}" if listed.skipped else ""
        raise InputError(f"{name} {shown(place)} holds no pictures ({looked}{first}): name a folder that does")
    return listed


def class_folders(name: str, place: Path, skipped: list[Skipped]) -> tuple[Listed, list[str]]:
    """The pictures of a folder or archive with a subfolder per class, and the class names by label."""
    folder_listing = pictures(name, place)
    skipped += folder_listing.skipped
    listed, names = _labeled(_files(folder_listing.entries, place), "test", skipped)
    if not names:
        raise InputError(f"{name} {shown(place)} has no subfolders with pictures: it takes one per class")
    return listed, names


def without_pictures(place: Path, names: Sequence[str]) -> list[str]:
    """The subfolders of a folder that are not among these names."""
    try:
        with os.scandir(place) as scanned:
            folders = [child.name for child in scanned if child.is_dir() and not child.name.startswith(".")]
    except OSError:  # an archive, for one
        return []
    return sorted({shown(unicodedata.normalize("NFC", name)) for name in folders} - set(names))


def _tree(data_dir: Path, eval_dir: Path | None) -> Tree:
    all_pictures = pictures("data_dir", data_dir)
    entries = _outside(all_pictures.entries, data_dir, eval_dir)
    counts = {"other_files": all_pictures.others, "of_eval_dir": len(all_pictures.entries) - len(entries)}
    files, top = _without_wrapper(_files(entries, data_dir), data_dir)
    parts, skipped = _by_split(files, top)
    skipped += all_pictures.skipped
    warnings = _unlike_splits(files, top)
    labeled = {split: _labeled(parts.get(split, []), split, skipped) for split in SPLITS}
    folders = {split: top / split for split in SPLITS}
    if eval_dir is not None:
        if labeled["test"][0].entries:
            warnings.append(f"eval_dir takes the place of {shown(top / 'test')}")
        labeled["test"], folders["test"] = class_folders("eval_dir", eval_dir, skipped), eval_dir
    train = labeled["train"][0].entries
    if len(train) < FEWEST:
        raise InputError(
            f"data_dir {shown(data_dir)} holds {len(all_pictures.entries)} pictures, {len(train)} of them for "
            f"training, and at least {FEWEST} are needed: add more"
        )
    classes = {split: names for split, (_, names) in labeled.items() if names}
    empty = {split: without_pictures(folders[split], names) for split, names in classes.items()}
    return Tree({s: listed for s, (listed, _) in labeled.items()}, classes, empty, skipped, counts, warnings)


def _outside(entries: list[Entry], data_dir: Path, eval_dir: Path | None) -> list[Entry]:
    """The files that do not lie in eval_dir, links followed."""
    if eval_dir is None or not os.path.isdir(data_dir):
        return entries
    evaluation = os.path.realpath(eval_dir)

    @functools.cache
    def apart(folder: str) -> bool:
        return not _lies_in(os.path.realpath(data_dir / folder), evaluation)

    return [entry for entry in entries if apart(os.path.dirname(entry.name))]


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _files(entries: Sequence[Entry], place: Path) -> list[_File]:
    """The pictures with their paths; without the one folder that wraps all files of an archive."""
    files = [_File(tuple(unicodedata.normalize("NFC", entry.name).split("/")), entry) for entry in entries]
    return [file.below() for file in files] if os.path.isfile(place) and _wrapper(files) else files


def _without_wrapper(files: list[_File], data_dir: Path) -> tuple[list[_File], Path]:
    """The files without a folder around train, val and test, and the folder that these lie in."""
    wrapper, below = _wrapper(files), [file.below() for file in files]
    return (below, data_dir / wrapper) if wrapper and _tops(below) & set(SPLITS) else (files, data_dir)


def _wrapper(files: Sequence[_File]) -> str | None:
    """The one folder that holds all files, where there is one and it is not a split."""
    tops = _tops(files)
    single = len(tops) == 1 and all(len(file.parts) > 1 for file in files) and not tops & set(SPLITS)
    return tops.pop() if single else None


def _tops(files: Sequence[_File]) -> set[str]:
    """The top folders of the files."""
    return {file.parts[0] for file in files if len(file.parts) > 1}


def _unlike_splits(files: Sequence[_File], place: Path) -> list[str]:
    """Warnings of folders that look like splits but are not."""
    tops = _tops(files)
    alike = sorted(shown(name) for name in tops - set(SPLITS) if name.lower() in _LIKE_SPLITS)
    rule = "only folders named exactly train, val and test are splits"
    if "train" in tops:
        return [f"{', '.join(alike)} beside train in {shown(place)} left out: {rule}"] if alike else []
    if any(name.lower() in _TRAINING_NAMES for name in alike):
        return [f"{', '.join(alike)} in {shown(place)} are all trained on: {rule}"]
    holders = {file.parts[: file.parts.index("train")] for file in files if "train" in file.parts[:-1]}
    if len(holders) != 1:
        return []
    inner = shown(place.joinpath(*holders.pop()))
    return [f"{inner} has a subfolder train, and {shown(place)} has none: all is trained on; name {inner} as data_dir"]


def _by_split(files: Sequence[_File], data_dir: Path) -> tuple[dict[str, list[_File]], list[Skipped]]:
    """The files of each split, and those that lie beside the splits; without a subfolder train all are for training."""
    tops = _tops(files) & set(SPLITS)
    if not tops:
        return {"train": [_File(file.parts[-1:], file.entry) for file in files]}, []
    if "train" not in tops:
        lone = f"{shown(data_dir)} has a subfolder {min(tops)} and no pictures in a subfolder train"
        raise InputError(f"data_dir {lone}: put the training pictures there, or rename {min(tops)}")
    inside = {split: [f.below() for f in files if len(f.parts) > 1 and f.parts[0] == split] for split in SPLITS}
    beside = [f.entry for f in files if len(f.parts) == 1 or f.parts[0] not in SPLITS]
    return inside, [Skipped(shown(entry.name), "lies beside the subfolder train") for entry in beside]


def _labeled(files: Sequence[_File], split: str, skipped: list[Skipped]) -> tuple[Listed, list[str]]:
    """The pictures of a split and its class names, one per subfolder.

    There are no labels where there are no subfolders, or where training pictures lie beside them.
    """
    loose = [file.entry for file in files if len(file.parts) == 1]
    if len(loose) == len(files) or (loose and split == "train"):
        return Listed([file.entry for file in files]), []
    skipped += [Skipped(shown(entry.name), "lies in no class folder") for entry in loose]
    classes: dict[str, list[Entry]] = {}
    for file in files:
        if len(file.parts) > 1:
            classes.setdefault(file.parts[0], []).append(file.entry)
    names = sorted(classes)
    return Listed.of_classes([classes[name] for name in names]), [shown(name) for name in names]
