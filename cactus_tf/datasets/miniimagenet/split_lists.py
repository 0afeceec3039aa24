"""Ravi and Larochelle's lists of miniImageNet: `train.csv`, `val.csv`, `test.csv`, a row `filename,label` per image."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets.miniimagenet import ravi
from cactus_tf.errors import InputError

FILES = {split: f"{split}.csv" for split in ravi.CLASSES}
_HEADER = ["filename", "label"]


class Row(NamedTuple):
    """One image of a list.

    Attributes:
      place: file and line, to be named.
      stem: name of the image without its extension.
      wnid: its class.
    """

    place: str
    stem: str
    wnid: str


def find(folders: Iterable[Path]) -> dict[str, Path] | None:
    """The three lists by split, in the first of these folders that has any; None where none has.

    Raises:
      InputError: it has some of them only.
    """
    for folder in folders:
        there = {split: folder / name for split, name in FILES.items() if (folder / name).is_file()}
        missing = [FILES[split] for split in FILES if split not in there]
        if there and missing:
            raise InputError(
                f"{shown(folder)} lacks {' and '.join(missing)}: put all three lists of miniImageNet there"
            )
        if there:
            return there
    return None


def read(path: Path, split: str, skipped: list[Skipped]) -> list[Row]:
    """The rows of one list; those that cannot be used go to `skipped`.

    Raises:
      InputError: the file cannot be read or has another header, or a row's class belongs to another split.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise InputError(f"{shown(path)} cannot be read ({reason}): get miniImageNet's list again") from error
    return parse(text, path.name, split, skipped)


def parse(text: str, name: str, split: str, skipped: list[Skipped]) -> list[Row]:
    """The rows of a list's text; see `read`."""
    reader = csv.reader(io.StringIO(text, newline=""))
    rows: dict[str, Row] = {}
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if header != _HEADER:
            raise InputError(f"{name}, line 1: the header is {shown(','.join(header))!r}, it must be filename,label")
        for cells in reader:
            place = f"{name}, line {reader.line_num}"
            if not cells:
                continue
            row = _row(cells, place, split, skipped)
            if row and row.stem in rows:
                skipped.append(Skipped(place, f"repeats {row.stem} of {rows[row.stem].place}"))
            elif row:
                rows[row.stem] = row
    except csv.Error as error:
        raise InputError(f"{name}, line {reader.line_num}: no csv ({error}): get miniImageNet's list again") from error
    return list(rows.values())


def _row(cells: Sequence[str], place: str, split: str, skipped: list[Skipped]) -> Row | None:
    """One row, or None where it breaks a rule."""
    if len(cells) != len(_HEADER):
        skipped.append(Skipped(place, f"has {len(cells)} columns, not 2"))
        return None
    stem, wnid = PurePosixPath(shown(cells[0].strip())).stem, cells[1].strip()
    if wnid not in ravi.SPLIT_OF:
        skipped.append(Skipped(place, f"has label {shown(wnid)!r}, none of miniImageNet's WordNet ids"))
        return None
    if ravi.SPLIT_OF[wnid] != split:
        raise InputError(
            f"{place}: {wnid} is a {ravi.SPLIT_OF[wnid]} class of Ravi and Larochelle's division, not a {split} one: "
            "use their lists"
        )
    if not stem:
        skipped.append(Skipped(place, "names no file"))
        return None
    if ravi.WNID.match(stem) and not stem.startswith(wnid):
        skipped.append(Skipped(place, f"labels {stem} as {wnid}"))
        return None
    return Row(place, stem, wnid)


class Files:
    """The files that rows may mean.

    Args:
      entries: all of them, of any class.
      skipped: is told which of two files with one name is left out, the one in more folders.
    """

    def __init__(self, entries: Sequence[Entry], skipped: list[Skipped]):
        self._by_stem: dict[str, Entry] = {}
        for entry in sorted(entries, key=lambda entry: entry.name.count("/")):
            first = self._by_stem.setdefault(shown(entry.stem), entry)
            if first is not entry:
                skipped.append(Skipped(shown(entry.name), f"has the same name as {shown(first.name)}"))
        self._numbered = _numbered(self._by_stem)

    def of(self, row: Row) -> Entry | None:
        """The file that a row means: by its name, else by its place in the class folder; None where there is none."""
        if row.stem in self._by_stem:
            return self._by_stem[row.stem]
        place, there = ravi.counter(row.stem), self._numbered.get(row.wnid, [])
        return there[place - 1] if place and place <= len(there) else None


def _numbered(by_stem: Mapping[str, Entry]) -> dict[str, list[Entry]]:
    """Of each class the files with ImageNet's own names, by their number."""
    found: dict[str, list[Entry]] = {}
    for stem, entry in by_stem.items():
        if ravi.imagenet_number(stem) is not None:
            found.setdefault(stem[:9], []).append(entry)
    return {wnid: ravi.by_number(entries) for wnid, entries in found.items()}


def by_class(rows: Sequence[Row], files: Files, skipped: list[Skipped]) -> dict[str, list[Entry]]:
    """The files of each class in the order of the rows; rows without a file, or with another row's, go to `skipped`."""
    found: dict[str, list[Entry]] = {}
    taken: set[Entry] = set()
    for row in rows:
        entry = files.of(row)
        if entry is None:
            skipped.append(Skipped(row.place, f"names {row.stem}, which is not there"))
        elif entry in taken:
            skipped.append(Skipped(row.place, f"names {row.stem}, a file that another row names"))
        else:
            taken.add(entry)
            found.setdefault(row.wnid, []).append(entry)
    return found
