"""CelebA's lists: the attributes and the split of every picture, in the official form or as CSV with a header."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cactus_tf.datasets._io.entries import shown
from cactus_tf.errors import InputError

ATTRIBUTES = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses",
    "Goatee", "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache",
    "Narrow_Eyes", "No_Beard", "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks",
    "Sideburns", "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip
_ATTRIBUTE_CODES = {"-1": 0, "1": 1}
_PART_CODES = {"0": 0, "1": 1, "2": 2}  # train, val, test
_SHOWN = 40  # letters of a wrong line
_REMEDY = "get the official file again"

Table = Mapping[str, tuple[int, bytes]]
"""Line number and values by picture name."""


class Annotations(NamedTuple):
    """The rows of both lists, by rising name.

    Attributes:
      names: of the picture files.
      attributes: [n, 40] bool.
      parts: [n] 0 train, 1 val, 2 test.
    """

    names: list[str]
    attributes: np.ndarray
    parts: np.ndarray


class _Line(NamedTuple):
    number: int  # from 1
    fields: list[str]


def read_annotations(attribute_path: Path, part_path: Path) -> Annotations:
    """Both lists, joined by name."""
    attributes, parts = read_attributes(attribute_path), read_parts(part_path)
    _check_same(attribute_path, attributes, part_path, parts)
    _check_same(part_path, parts, attribute_path, attributes)
    names = sorted(attributes)
    values = np.frombuffer(b"".join(attributes[name][1] for name in names), np.uint8)
    codes = np.frombuffer(b"".join(parts[name][1] for name in names), np.uint8)
    return Annotations(names, values.reshape(-1, len(ATTRIBUTES)).astype(bool), codes)


def read_attributes(path: Path) -> Table:
    """40 values 0 or 1 of each picture.

    Official form: the number of pictures, the 40 names, then a name and 40 values -1 or 1 per line. CSV: a header of
    image_id and the 40 names, then the same rows with commas.
    """
    lines, count = _lines(path), None
    if not _is_csv(path):
        first = next(lines, _Line(1, []))
        if len(first.fields) != 1 or not first.fields[0].isdecimal() or len(first.fields[0]) > 9:
            found = shown(" ".join(first.fields))[:_SHOWN] or "nothing"
            raise _error(path, first.number, f"must be the number of pictures, not {found}")
        count = int(first.fields[0])
    header = next(lines, _Line(1 if count is None else 2, []))
    names = header.fields if count is not None else header.fields[1:]
    if len(names) != len(ATTRIBUTES):
        raise _error(path, header.number, f"{len(names)} attribute names, expected {len(ATTRIBUTES)}")
    for i, (name, expected) in enumerate(zip(names, ATTRIBUTES, strict=True), 1):
        if name != expected:
            raise _error(path, header.number, f"attribute {i} is {shown(name)}, expected {expected}")
    table = _table(path, lines, ATTRIBUTES, _ATTRIBUTE_CODES)
    if count is not None and len(table) != count:
        raise InputError(f"{shown(path)}: {len(table)} pictures, but line 1 says {count}; {_REMEDY}")
    return table


def read_parts(path: Path) -> Table:
    """0 (train), 1 (val) or 2 (test) of each picture: lines of a name and a number; as CSV with a header."""
    lines = _lines(path)
    if _is_csv(path):
        next(lines, None)  # the header
    return _table(path, lines, ("the split",), _PART_CODES)


def _table(path: Path, lines: Iterable[_Line], columns: Sequence[str], codes: Mapping[str, int]) -> Table:
    """Rows of a name and one value per column, each name once."""
    table: dict[str, tuple[int, bytes]] = {}
    for number, (name, *values) in lines:
        if len(values) != len(columns):
            raise _error(path, number, f"{len(values)} values after the name, expected {len(columns)}")
        try:
            row = bytes(map(codes.__getitem__, values))
        except KeyError as error:
            column = columns[values.index(error.args[0])]
            raise _error(path, number, f"{column} is {shown(error.args[0])}, must be {' or '.join(codes)}") from error
        if name in table:
            raise _error(path, number, f"{shown(name)} is already in line {table[name][0]}")
        table[name] = number, row
    return table


def _lines(path: Path) -> Iterator[_Line]:
    """The fields of every line that is not blank."""
    number = 0
    try:
        content = path.read_bytes()
        text = io.StringIO(content.decode("utf-8-sig"))
        rows = csv.reader(text) if _is_csv(path) else map(str.split, text)
        for number, row in enumerate(rows, 1):
            fields = [field.strip() for field in row]
            if any(fields):
                yield _Line(number, fields)
    except UnicodeDecodeError as error:
        raise _error(path, content.count(b"\n", 0, error.start) + 1, "not text in UTF-8") from error
    except csv.Error as error:
        raise _error(path, number + 1, str(error)) from error
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read ({error.strerror}): {_REMEDY}") from error


def _is_csv(path: Path) -> bool:
    return path.suffix.lower() == ".csv"


def _error(path: Path, line: int, problem: str) -> InputError:
    return InputError(f"{shown(path)}, line {line}: {problem}; {_REMEDY}")


def _check_same(path: Path, table: Table, other_path: Path, other: Table) -> None:
    """Every name of one list must be in the other."""
    missing = table.keys() - other.keys()
    if missing:
        line, name = min((table[name][0], name) for name in missing)
        raise InputError(
            f"{shown(path)}, line {line}: {shown(other_path)} has no line for {shown(name)}; "
            "take both files from one release"
        )
