"""Ravi and Larochelle's lists of miniImageNet: `train.csv`, `val.csv`, `test.csv`, a row `filename,label` per image."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets.miniimagenet import ravi
from cactus_tf.errors import InputError

FILES = {split: f"{split}.csv" for split in ravi.CLASSES}
_HEADER = ["filename", "label"]


class ListedImage(NamedTuple):
    """One row of a list.

    Attributes:
      place: file and line, for messages.
      stem: name of the image without its extension.
      wnid: its class.
    """

    place: str
    stem: str
    wnid: str


def find(folders: Iterable[Path]) -> dict[str, Path] | None:
    """The three lists by split, in the first of these folders that has any; None where none has."""
    for folder in folders:
        present = {split: folder / name for split, name in FILES.items() if (folder / name).is_file()}
        missing = [FILES[split] for split in FILES if split not in present]
        if present and missing:
            raise InputError(f"{shown(folder)} lacks {' and '.join(missing)}: add all three lists of miniImageNet")
        if present:
            return present
    return None


def read(path: Path, split: str, skipped: list[Skipped]) -> list[ListedImage]:
    """The rows of one list; those that cannot be used are added to `skipped`."""
    images: dict[str, ListedImage] = {}
    reader = None
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = [cell.strip() for cell in next(reader, [])]
            if header != _HEADER:
                header_text = shown(",".join(header))
                raise InputError(f"{path.name}, line 1: the header is {header_text!r}, expected 'filename,label'")
            for cells in filter(None, reader):
                image = _image(cells, f"{path.name}, line {reader.line_num}", split, skipped)
                if image and image.stem in images:
                    skipped.append(Skipped(image.place, f"repeats {image.stem} of {images[image.stem].place}"))
                elif image:
                    images[image.stem] = image
    except csv.Error as error:
        line = reader.line_num if reader else 1
        raise InputError(f"{path.name}, line {line}: not CSV ({error}): get miniImageNet's list again") from error
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"{shown(path)} cannot be read ({reason}): get miniImageNet's list again") from error
    return list(images.values())


def _image(cells: Sequence[str], place: str, split: str, skipped: list[Skipped]) -> ListedImage | None:
    """One row, or None where it breaks a rule; folders before the name, with slashes or backslashes, do not matter."""
    stem, wnid = (
        PurePosixPath(shown(cells[0].strip()).replace("\\", "/")).stem,
        cells[1].strip() if len(cells) > 1 else "",
    )
    problem = None
    if len(cells) != len(_HEADER):
        problem = f"has {len(cells)} columns, expected 2"
    elif wnid not in ravi.SPLIT_OF:
        problem = f"has label {shown(wnid)!r}, which is not a WordNet id of miniImageNet"
    elif ravi.SPLIT_OF[wnid] != split:
        raise InputError(
            f"{place}: {wnid} is a {ravi.SPLIT_OF[wnid]} class of Ravi and Larochelle, not a {split} class"
        )
    elif not stem:
        problem = "has no file name"
    elif ravi.WNID.match(stem) and not stem.startswith(wnid):
        problem = f"labels {stem} as {wnid}"
    if problem:
        skipped.append(Skipped(place, problem))
        return None
    return ListedImage(place, stem, wnid)


class FilesByStem:
    """The files that rows of a list may name.

    Args:
      entries: all of them, of any class.
      skipped: of two files with one name, the one in more folders is added.
    """

    def __init__(self, entries: Sequence[Entry], skipped: list[Skipped]):
        self._by_stem: dict[str, Entry] = {}
        for entry in sorted(entries, key=lambda entry: entry.name.count("/")):
            first = self._by_stem.setdefault(shown(entry.stem), entry)
            if first is not entry:
                skipped.append(Skipped(shown(entry.name), f"has the same name as {shown(first.name)}"))
        numbered: dict[str, list[Entry]] = {}
        for stem, entry in self._by_stem.items():
            if ravi.imagenet_number(stem) is not None:
                numbered.setdefault(stem[:9], []).append(entry)
        self._numbered = {wnid: ravi.by_number(members) for wnid, members in numbered.items()}

    def of(self, image: ListedImage) -> Entry | None:
        """The file of a row: by its name, else by its position in ImageNet's class folder; None where there is none."""
        if image.stem in self._by_stem:
            return self._by_stem[image.stem]
        position, files = ravi.position(image.stem), self._numbered.get(image.wnid, [])
        return files[position - 1] if position and position <= len(files) else None


def by_class(images: Sequence[ListedImage], files: FilesByStem, skipped: list[Skipped]) -> dict[str, list[Entry]]:
    """The files of each class in the order of the rows.

    Rows without a file, or with the file of another row, are added to `skipped`.
    """
    classes: dict[str, list[Entry]] = {}
    taken: set[Entry] = set()
    for image in images:
        entry = files.of(image)
        if entry is None:
            skipped.append(Skipped(image.place, f"names {image.stem}, which does not exist"))
        elif entry in taken:
            skipped.append(Skipped(image.place, f"names {image.stem}, a file that another row names"))
        else:
            taken.add(entry)
            classes.setdefault(image.wnid, []).append(entry)
    return classes
