"""Pictures of your own: a folder or zip archive without labels, and perhaps one of labelled pictures to judge on.

Every picture below `data_dir` is for training, whatever sub-folder it lies in. Only where `data_dir` has a sub-folder
`train` are its sub-folders `train`, `val` and `test` the splits, and their sub-folders classes; one folder around them
does not count. Below `eval_dir` each
sub-folder is a class of the test split; pictures that lie there are never trained on.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import os
import tempfile
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cactus_tf.config import option
from cactus_tf.contracts import DataContext
from cactus_tf.datasets._entries import Entry, Listing, Skipped, listing, shown
from cactus_tf.datasets._image_files import Listed, prepare_files
from cactus_tf.datasets._pictures import EXTENSIONS, FITS, array, is_grey, opened
from cactus_tf.datasets._shards import Decoded, decode_all
from cactus_tf.datasets._splits import KEEP_NOTHING
from cactus_tf.errors import InputError
from cactus_tf.types import Splits

logger = logging.getLogger(__name__)

VERSION = 1
TAKES = ("image_size", "eval_dir")
SPLITS = ("train", "val", "test")
SIDE, SMALL_SIDE = 84, 28  # pixels: miniImageNet's, and Omniglot's for pictures that are grey and small
SMALL = 64  # pixels that the longer side of half of the small ones has at most
COUNTED = {
    "other_files": "files with other extensions than those of pictures were not looked at",
    "of_eval_dir": "pictures of data_dir lie in eval_dir and are not trained on",
}
_FEWEST = 2  # training images
_TRAINING_NAMES = ("train", "training")
_LIKE_SPLITS = (*_TRAINING_NAMES, "val", "valid", "validation", "dev", "development", "test", "testing", "eval")


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of a folder of pictures."""

    fit: str = option(
        "crop", "what becomes of oblong pictures: crop keeps the middle, stretch distorts, pad adds black bars"
    )


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


def load(data_dir: str | Path | None = None, context: DataContext = KEEP_NOTHING) -> Splits:
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
    if len(splits.train) < _FEWEST:
        raise InputError(f"{shown(str(data_dir))}: only {len(splits.train)} picture could be read: add more")
    return splits


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


def _check_enough(train: Listed, data_dir: Path, found: Listing) -> None:
    if len(train.entries) < _FEWEST:
        raise InputError(
            f"data_dir {shown(data_dir)} holds {len(found.entries)} pictures, {len(train.entries)} of them for "
            f"training, and at least {_FEWEST} are needed: add more"
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


def without_pictures(place: Path, names: Sequence[str]) -> list[str]:
    """The sub-folders of a folder that are not among the names; of an archive none."""
    try:
        with os.scandir(place) as found:
            there = [child.name for child in found if child.is_dir() and not child.name.startswith(".")]
    except OSError:
        return []
    composed = (shown(unicodedata.normalize("NFC", name)) for name in there)
    return sorted(set(composed) - set(names))


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


def picture_decoder(shape: tuple[int, int, int], options: Options | None = None) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row [height, width, channels] uint8."""
    return functools.partial(array, shape=shape, fit=(options or Options()).fit, reduced=True)


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
