"""Which of a user's pictures are for training and which to judge on, and of which class, by the folders they lie in."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from cactus_tf.datasets._io.decoding import EXTENSIONS
from cactus_tf.datasets._io.entries import Entry, Listing, Skipped, listing, shown
from cactus_tf.datasets._io.preparing import Listed
from cactus_tf.errors import InputError

SPLITS = ("train", "val", "test")
FEWEST = 2  # training images
COUNTED = {
    "other_files": "files with other extensions than those of pictures were not looked at",
    "of_eval_dir": "pictures of data_dir lie in eval_dir and are not trained on",
}
_TRAINING_NAMES = ("train", "training")
_LIKE_SPLITS = (*_TRAINING_NAMES, "val", "valid", "validation", "dev", "development", "test", "testing", "eval")


class Tree(NamedTuple):
    """What is where.

    Attributes:
      splits: the pictures of each split.
      classes: of each split with labels the names of its classes, by label.
      empty: of such a split the sub-folders without pictures.
      skipped: what could not be looked at, or has no place in the layout.
      about: numbers for the summary, by what they count; COUNTED has it in words.
      warnings: what else is to be said.
    """

    splits: dict[str, Listed]
    classes: dict[str, list[str]]
    empty: dict[str, list[str]]
    skipped: list[Skipped]
    about: dict[str, int]
    warnings: list[str]


def locate(data_dir: str | Path | None, eval_dir: str | Path | None = None) -> Callable[[], Tree]:
    """The function that lists the pictures.

    Raises:
      InputError: no data_dir, one of them is not there, or data_dir lies in eval_dir.
    """
    if data_dir is None:
        raise InputError("folder needs --data_dir: name the folder or zip archive that holds your pictures")
    for name, place in (("data_dir", data_dir), ("eval_dir", eval_dir)):
        if place is not None and not os.path.exists(Path(place).expanduser()):
            raise InputError(f"{name} {shown(place)} is not there: name a folder or zip archive of pictures")
    if eval_dir is None:
        return functools.partial(_tree, Path(data_dir).expanduser(), None)
    data, judged = Path(data_dir).expanduser(), Path(eval_dir).expanduser()
    if _lies_in(os.path.realpath(data), os.path.realpath(judged)):
        raise InputError(
            f"data_dir {shown(data)} lies in eval_dir {shown(judged)}, whose pictures are not trained on: "
            "name another folder for one of them"
        )
    return functools.partial(_tree, data, judged)


def pictures(name: str, place: Path) -> Listing:
    """What a folder or archive holds.

    Raises:
      InputError: no pictures.
    """
    found = listing(place, EXTENSIONS)
    if not found.entries:
        looked = f"{', '.join(EXTENSIONS)}; {found.others} other files"
        first = f"; {found.skipped[0].name}: {found.skipped[0].reason}" if found.skipped else ""
        raise InputError(f"{name} {shown(place)} holds no pictures ({looked}{first}): name a folder that does")
    return found


def class_folders(name: str, place: Path, skipped: list[Skipped]) -> tuple[Listed, list[str]]:
    """The pictures of a folder or archive with a sub-folder per class, and the names of the classes, by label.

    Args:
      name: what the folder is called, for messages.
      place: the folder or archive.
      skipped: is lengthened by what is left out.

    Raises:
      InputError: there are no pictures, or no sub-folders.
    """
    found = pictures(name, place)
    skipped += found.skipped
    listed, names = _labelled(_files(found.entries, place), "test", skipped)
    if not names:
        raise InputError(f"{name} {shown(place)} has no sub-folders with pictures: it takes one per class")
    return listed, names


def without_pictures(place: Path, names: Sequence[str]) -> list[str]:
    """The sub-folders of a folder that are not among the names; of an archive none."""
    try:
        with os.scandir(place) as found:
            there = [child.name for child in found if child.is_dir() and not child.name.startswith(".")]
    except OSError:
        return []
    composed = (shown(unicodedata.normalize("NFC", name)) for name in there)
    return sorted(set(composed) - set(names))


class _File(NamedTuple):
    """A picture and its path as the layout sees it, in composed Unicode."""

    parts: tuple[str, ...]
    entry: Entry


def _tree(data_dir: Path, eval_dir: Path | None) -> Tree:
    found = pictures("data_dir", data_dir)
    entries = _outside(found.entries, data_dir, eval_dir)
    about = {"other_files": found.others, "of_eval_dir": len(found.entries) - len(entries)}
    files, top = _split_files(_files(entries, data_dir), data_dir)
    parts, skipped = _parts(files, top)
    skipped += found.skipped
    warnings = _unlike_splits(files, top)
    named = {split: _labelled(parts.get(split, []), split, skipped) for split in SPLITS}
    if eval_dir is not None:
        if len(named["test"][0].entries):
            warnings.append(f"eval_dir takes the place of {shown(top / 'test')}")
        named["test"] = class_folders("eval_dir", eval_dir, skipped)
    splits = {split: listed for split, (listed, _) in named.items()}
    _check_enough(splits["train"], data_dir, found)
    classes = {split: names for split, (_, names) in named.items() if names}
    judged = {"test": eval_dir} if eval_dir is not None else {}
    empty = {split: without_pictures(judged.get(split, top / split), names) for split, names in classes.items()}
    return Tree(splits, classes, empty, skipped, about, warnings)


def _check_enough(train: Listed, data_dir: Path, found: Listing) -> None:
    if len(train.entries) < FEWEST:
        raise InputError(
            f"data_dir {shown(data_dir)} holds {len(found.entries)} pictures, {len(train.entries)} of them for "
            f"training, and at least {FEWEST} are needed: add more"
        )


def _outside(entries: Sequence[Entry], data_dir: Path, eval_dir: Path | None) -> Sequence[Entry]:
    """The files that do not lie in eval_dir, whatever links lead there."""
    if eval_dir is None or not os.path.isdir(data_dir):
        return entries
    judged = os.path.realpath(eval_dir)

    @functools.cache
    def apart(folder: str) -> bool:
        return not _lies_in(os.path.realpath(data_dir / folder), judged)

    return [entry for entry in entries if apart(os.path.dirname(entry.name))]


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _files(entries: Sequence[Entry], place: Path) -> list[_File]:
    """The pictures with their places; an archive's one folder that holds all the rest does not count."""
    files = [_File(tuple(unicodedata.normalize("NFC", entry.name).split("/")), entry) for entry in entries]
    return [_below(file) for file in files] if os.path.isfile(place) and _around(files) else files


def _split_files(files: Sequence[_File], data_dir: Path) -> tuple[Sequence[_File], Path]:
    """The files without a folder around train, val and test, and the place below which they lie."""
    around, below = _around(files), [_below(file) for file in files]
    if around and _tops(below) & set(SPLITS):
        return below, data_dir / around
    return files, data_dir


def _around(files: Sequence[_File]) -> str | None:
    """The one folder that holds all files, where there is one and it is no split."""
    tops = _tops(files)
    alone = len(tops) == 1 and all(len(file.parts) > 1 for file in files) and not tops & set(SPLITS)
    return tops.pop() if alone else None


def _tops(files: Sequence[_File]) -> set[str]:
    """The sub-folders that files lie in."""
    return {file.parts[0] for file in files if len(file.parts) > 1}


def _unlike_splits(files: Sequence[_File], place: Path) -> list[str]:
    """Warnings of folders that look like splits and are not taken for any."""
    tops = _tops(files)
    alike = sorted(shown(name) for name in tops - set(SPLITS) if name.lower() in _LIKE_SPLITS)
    rule = "only train, val and test, so written, are splits"
    if "train" in tops:
        return [f"{', '.join(alike)} beside train in {shown(place)} left out: {rule}"] if alike else []
    if any(name.lower() in _TRAINING_NAMES for name in alike):
        return [f"{', '.join(alike)} in {shown(place)} are all trained on: {rule}"]
    holders = {file.parts[: file.parts.index("train")] for file in files if "train" in file.parts[:-1]}
    if len(holders) != 1:
        return []
    inner = shown(place.joinpath(*holders.pop()))
    return [f"{inner} has a sub-folder train, and {shown(place)} has none: all is trained on; name {inner} as data_dir"]


def _below(file: _File) -> _File:
    return _File(file.parts[1:], file.entry)


def _parts(files: Sequence[_File], data_dir: Path) -> tuple[dict[str, list[_File]], list[Skipped]]:
    """The files of each split, and those that lie beside the splits.

    Raises:
      InputError: there is `val` or `test`, and no `train`: whether to train on them is not for us to guess.
    """
    tops = _tops(files) & set(SPLITS)
    if not tops:
        return {"train": [_File(file.parts[-1:], file.entry) for file in files]}, []  # sub-folders mean nothing
    if "train" not in tops:
        lone = f"{shown(data_dir)} has a sub-folder {min(tops)} and no pictures in a sub-folder train"
        raise InputError(f"data_dir {lone}: put the training pictures there, or rename {min(tops)}")
    parts = {split: [_below(f) for f in files if len(f.parts) > 1 and f.parts[0] == split] for split in SPLITS}
    beside = [f.entry for f in files if len(f.parts) == 1 or f.parts[0] not in SPLITS]
    return parts, [Skipped(shown(entry.name), "lies beside the sub-folder train") for entry in beside]


def _labelled(files: Sequence[_File], split: str, skipped: list[Skipped]) -> tuple[Listed, list[str]]:
    """The pictures of a split by class, a class per sub-folder, and the names of the classes.

    Where there are no sub-folders, or training pictures lie beside them, there are no labels.
    """
    loose = [file.entry for file in files if len(file.parts) == 1]
    if len(loose) == len(files) or (loose and split == "train"):
        return Listed([file.entry for file in files]), []
    skipped += [Skipped(shown(entry.name), "lies in no class's folder") for entry in loose]
    classes: dict[str, list[Entry]] = {}
    for file in files:
        if len(file.parts) > 1:
            classes.setdefault(file.parts[0], []).append(file.entry)
    names = sorted(classes)
    return Listed.of_classes([classes[name] for name in names]), [shown(name) for name in names]
