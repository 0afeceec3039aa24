"""Splits and classes of a user's pictures, by the folders they lie in."""

from __future__ import annotations

import functools
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from cactus_tf.datasets._io.content import Content, File, content_of, folder_around, folder_around_classes
from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets._io.listing import Listing, by_extension, listing
from cactus_tf.datasets._io.picture_formats import EXTENSIONS
from cactus_tf.datasets._io.preparing import Listed
from cactus_tf.errors import InputError
from cactus_tf.utils.paths import expanded

SPLITS = ("train", "val", "test")
FEWEST = 2  # training images
_TRAINING_NAMES = ("train", "training")
_LIKE_SPLITS = (*_TRAINING_NAMES, "val", "valid", "validation", "dev", "development", "test", "testing", "eval")


class Tree(NamedTuple):
    """A user's pictures.

    Attributes:
      splits: the pictures of each split.
      classes: the class names of each labeled split, by label.
      empty: the class folders without pictures of each split.
      skipped: what could not be looked at, or has no place in the layout.
      counts: numbers for the summary: `other_files`, with extensions that are not those of pictures; `hidden` files and
        folders, or a system's; pictures `of_eval_dir` that lie in data_dir.
      warnings: messages for the user.
      notes: less important ones.
    """

    splits: dict[str, Listed]
    classes: dict[str, list[str]]
    empty: dict[str, list[str]]
    skipped: list[Skipped]
    counts: dict[str, int]
    warnings: list[str]
    notes: list[str]


class ClassFolders(NamedTuple):
    """Pictures in a subfolder per class.

    Attributes:
      listed: the pictures.
      names: of the classes, by label.
      empty: names of the subfolders without pictures.
      listing: of the whole folder or archive.
    """

    listed: Listed
    names: list[str]
    empty: list[str]
    listing: Listing


def locate(data_dir: str | Path | None, eval_dir: str | Path | None = None) -> Callable[[], Tree]:
    """The function that lists the pictures."""
    if data_dir is None:
        raise InputError("folder needs --data_dir: name the folder or zip archive that holds your pictures")
    for name, place in (("--data_dir", data_dir), ("--eval_dir", eval_dir)):
        if place is not None and is_one_file(existing(name, place)):
            raise InputError(f"{name} {shown(place)} is one file: name a folder or zip archive of pictures")
    data = expanded(data_dir)
    if eval_dir is None:
        return functools.partial(_tree, data, None)
    evaluation = expanded(eval_dir)
    if _lies_in(os.path.realpath(data), os.path.realpath(evaluation)):
        raise InputError(
            f"data_dir {shown(data)} lies in eval_dir {shown(evaluation)}, whose pictures are not trained on: "
            "name another folder for one of them"
        )
    return functools.partial(_tree, data, evaluation)


def existing(name: str, place: str | Path) -> Path:
    """The path of a folder or archive that must exist; `name` is what the user calls it."""
    path = expanded(place)
    if not os.path.exists(path):
        raise InputError(f"{name} {shown(place)} does not exist: name a folder or zip archive of pictures")
    return path


def is_one_file(path: Path) -> bool:
    """Whether this is neither a folder nor a zip archive, whole or not."""
    return path.is_file() and path.suffix.lower() != ".zip" and not zipfile.is_zipfile(path)


def pictures(name: str, place: Path) -> Listing:
    """The pictures of a folder or archive, of which there must be one at least."""
    listed = listing(place, EXTENSIONS)
    if not listed.entries:
        first = f"{listed.skipped[0].name}: {listed.skipped[0].reason}" if listed.skipped else ""
        others = f"{len(listed.others)} other files: {by_extension(listed.others)}" if listed.others else ""
        about = "; ".join(filter(None, [", ".join(EXTENSIONS), others, listed.hidden, first]))
        raise InputError(f"{name} {shown(place)} holds no pictures ({about}): name a folder that does")
    return listed


def class_folders(name: str, place: Path, skipped: list[Skipped]) -> ClassFolders:
    """The pictures of a folder or archive with a subfolder per class."""
    listed = pictures(name, place)
    skipped += listed.skipped
    content = content_of(listed)
    wrapper = folder_around_classes(content) if os.path.isfile(place) else None
    if wrapper:
        beside = sorted({parts[0] for parts in content.folders} - {wrapper})
        skipped += [Skipped(shown(b), f"lies beside {shown(wrapper)}, which holds all pictures") for b in beside]
        content = content.inside(wrapper)
    files, names = _labeled(content, "test", skipped)
    if not names:
        raise InputError(f"{name} {shown(place)} has no subfolders with pictures: it takes one per class")
    return ClassFolders(files, names, content.empty, listed)


def _tree(data_dir: Path, eval_dir: Path | None) -> Tree:
    everything = pictures("data_dir", data_dir)
    listed = _outside(everything, data_dir, eval_dir)
    content, top = _unwrapped(content_of(listed), data_dir)
    parts, skipped = _by_split(content, top)
    skipped += listed.skipped
    warnings, listings = _unlike_splits(content, top), {"": listed}
    labeled = {split: _labeled(parts[split], split, skipped) for split in SPLITS}
    empty = {split: part.empty for split, part in parts.items() if labeled[split][1] or split != "train"}
    if eval_dir is not None:
        if labeled["test"][0].entries:
            warnings.append(f"eval_dir takes the place of {shown(top / 'test')}")
        classes = class_folders("eval_dir", eval_dir, skipped)
        labeled["test"], empty["test"], listings["eval_dir: "] = classes[:2], classes.empty, classes.listing
    train = labeled["train"][0].entries
    if len(train) < FEWEST:
        raise InputError(
            f"data_dir {shown(data_dir)} has too few training pictures: {len(train)} (of {len(everything.entries)} in "
            f"all); add more, at least {FEWEST} are needed"
        )
    names = {split: names for split, (_, names) in labeled.items() if names}
    counts, passed_over, notes = _beside(listings, len(everything.entries) - len(listed.entries))
    splits = {split: files for split, (files, _) in labeled.items()}
    return Tree(splits, names, empty, skipped, counts, [*warnings, *passed_over], notes)


def _beside(listings: Mapping[str, Listing], of_eval_dir: int) -> tuple[dict[str, int], list[str], list[str]]:
    """Counts, warnings and notes of what is no picture to train on.

    Args:
      listings: by what precedes a message.
      of_eval_dir: number of pictures of data_dir that lie in eval_dir.
    """
    counts = {
        "other_files": sum(len(one.others) for one in listings.values()),
        "hidden": sum(len(one.system) for one in listings.values()),
        "of_eval_dir": of_eval_dir,
    }
    passed_over = [f"{where}{one.passed_over}" for where, one in listings.items() if one.others]
    notes = [f"{where}{one.hidden}" for where, one in listings.items() if one.system]
    notes += [f"{of_eval_dir} pictures of data_dir lie in eval_dir and are not trained on"] if of_eval_dir else []
    return counts, passed_over, notes


def _outside(listed: Listing, data_dir: Path, eval_dir: Path | None) -> Listing:
    """What does not lie in eval_dir, links followed."""
    if eval_dir is None or not os.path.isdir(data_dir):
        return listed
    evaluation = os.path.realpath(eval_dir)

    @functools.cache
    def apart(folder: str) -> bool:
        return not _lies_in(os.path.realpath(data_dir / folder), evaluation)

    return listed._replace(
        entries=[entry for entry in listed.entries if apart(os.path.dirname(entry.name))],
        others=[name for name in listed.others if apart(os.path.dirname(name))],
        folders=set(filter(apart, listed.folders)),
        system=[name for name in listed.system if apart(os.path.dirname(name))],
    )


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def _unwrapped(content: Content, data_dir: Path) -> tuple[Content, Path]:
    """What lies in the one folder around all pictures of an archive or around train, val and test; and its path."""
    top, wrapper = data_dir, folder_around(content)
    if os.path.isfile(data_dir) and wrapper and wrapper not in SPLITS:
        content = content.inside(wrapper)
        wrapper = folder_around(content)
    if wrapper and wrapper not in SPLITS and content.inside(wrapper).tops & set(SPLITS):
        content, top = content.inside(wrapper), data_dir / wrapper
    return content, top


def _unlike_splits(content: Content, place: Path) -> list[str]:
    """Warnings of folders that look like splits but are not."""
    files, tops = content.files, content.tops
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


def _by_split(content: Content, data_dir: Path) -> tuple[dict[str, Content], list[Skipped]]:
    """Each split, and the files that lie beside the splits; without a subfolder train all are for training."""
    files, tops = content.files, content.tops & set(SPLITS)
    if not tops:
        flat = Content([File(file.parts[-1:], file.entry) for file in files], set())
        return {split: flat if split == "train" else Content([], set()) for split in SPLITS}, []
    if "train" not in tops:
        lone = f"{shown(data_dir)} has a subfolder {min(tops)} and no pictures in a subfolder train"
        raise InputError(f"data_dir {lone}: put the training pictures there, or rename {min(tops)}")
    beside = [f.entry for f in files if len(f.parts) == 1 or f.parts[0] not in SPLITS]
    skipped = [Skipped(shown(entry.name), "lies beside the subfolder train") for entry in beside]
    return {split: content.inside(split) for split in SPLITS}, skipped


def _labeled(content: Content, split: str, skipped: list[Skipped]) -> tuple[Listed, list[str]]:
    """The pictures of a split and its class names, one per subfolder.

    There are no labels where there are no subfolders, or where training pictures lie beside them.
    """
    files = content.files
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
