"""CelebA's lists: the attributes and the part of every picture, in the official form and as csv with a header."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
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
PARTS = {"0": 0, "1": 1, "2": 2}  # train, val, test
_VALUES = {"-1": 0, "1": 1}
_REMEDY = "get the file again"


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


def read(attribute_path: Path, part_path: Path) -> Annotations:
    """Both lists, joined by name.

    Raises:
      InputError: a list cannot be read or breaks a rule; names the file, the line and the rule.
    """
    attributes = parse_attributes(str(attribute_path), _content(attribute_path))
    parts = parse_parts(str(part_path), _content(part_path))
    _check_same(attribute_path, attributes, part_path, parts)
    _check_same(part_path, parts, attribute_path, attributes)
    names = sorted(attributes)
    values = np.frombuffer(b"".join(attributes[name][1] for name in names), np.uint8)
    return Annotations(
        names, values.reshape(-1, len(ATTRIBUTES)).astype(bool), np.array([parts[n][1] for n in names], np.uint8)
    )


def parse_attributes(path: str, content: bytes) -> dict[str, tuple[int, bytes]]:
    """Line and 40 values 0 or 1 by picture name.

    Official form: the number of pictures, the 40 names, then a name and 40 values -1 or 1 a line. Csv: a header of
    image_id and the 40 names, then the same rows with commas.

    Args:
      path: for messages; .csv means csv.
      content: of the file.

    Raises:
      InputError: breaks a rule; names the file, the line and the rule.
    """
    lines, promised = _lines(path, content), None
    if not path.lower().endswith(".csv"):
        promised = _count(path, next(lines, _Line(1, [])))
    header = next(lines, _Line(1 if promised is None else 2, []))
    found = header.fields if promised is not None else header.fields[1:]
    if tuple(found) != ATTRIBUTES:
        raise InputError(f"{shown(path)}, line {header.number}: {_wrong_names(found)}; {_REMEDY}")
    rows: dict[str, tuple[int, bytes]] = {}
    for line in lines:
        name, *values = line.fields
        try:
            row = bytes(map(_VALUES.__getitem__, values))
        except KeyError as error:
            attribute = ATTRIBUTES[min(values.index(error.args[0]), len(ATTRIBUTES) - 1)]
            raise _broken(path, line, f"{attribute} is {shown(error.args[0])}, and must be -1 or 1") from error
        if len(row) != len(ATTRIBUTES):
            raise _broken(path, line, f"{len(row)} values, and there must be {len(ATTRIBUTES)}")
        _add(path, line, rows, name, row)
    if promised is not None and len(rows) != promised:
        raise InputError(f"{shown(path)}: {len(rows)} pictures, and line 1 says {promised}; {_REMEDY}")
    return rows


def parse_parts(path: str, content: bytes) -> dict[str, tuple[int, int]]:
    """Line and part by picture name.

    A name and 0 (train), 1 (val) or 2 (test) a line; as csv the same with a comma, below a header.

    Args:
      path: for messages; .csv means csv.
      content: of the file.

    Raises:
      InputError: breaks a rule; names the file, the line and the rule.
    """
    lines = _lines(path, content)
    if path.lower().endswith(".csv"):
        next(lines, None)  # the header
    rows: dict[str, tuple[int, int]] = {}
    for line in lines:
        if len(line.fields) != 2:
            raise _broken(path, line, f"{len(line.fields)} columns, and there must be a name and a part")
        name, part = line.fields
        if part not in PARTS:
            raise _broken(path, line, f"part {shown(part)}, and it must be 0 (train), 1 (val) or 2 (test)")
        _add(path, line, rows, name, PARTS[part])
    return rows


def _add(path: str, line: _Line, rows: dict, name: str, value) -> None:
    if name in rows:
        raise _broken(path, line, f"{shown(name)} has a line already, {rows[name][0]}")
    rows[name] = (line.number, value)


def _broken(path: str, line: _Line, rule: str) -> InputError:
    return InputError(f"{shown(path)}, line {line.number}: {rule}; {_REMEDY}")


def _count(path: str, line: _Line) -> int:
    if len(line.fields) != 1 or not re.fullmatch("[0-9]{1,9}", line.fields[0]):
        raise _broken(path, line, "must be the number of pictures")
    return int(line.fields[0])


def _wrong_names(found: Sequence[str]) -> str:
    """What is wrong with a list of attribute names."""
    if len(found) != len(ATTRIBUTES):
        return f"{len(found)} attribute names, and there must be {len(ATTRIBUTES)}"
    place = next(i for i, (a, b) in enumerate(zip(found, ATTRIBUTES, strict=True)) if a != b)
    return f"attribute {place + 1} is {shown(found[place])}, and must be {ATTRIBUTES[place]}"


def _lines(path: str, content: bytes) -> Iterator[_Line]:
    """The fields of every line that is not blank."""
    try:
        text = io.StringIO(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{shown(path)}, line {number}: must be text in UTF-8; {_REMEDY}") from error
    if not path.lower().endswith(".csv"):
        split = ((number, line.split()) for number, line in enumerate(text, 1))
        yield from (_Line(number, fields) for number, fields in split if fields)
        return
    reader = csv.reader(text)
    try:
        for row in reader:
            fields = [field.strip() for field in row]
            if any(fields):
                yield _Line(reader.line_num, fields)
    except csv.Error as error:
        raise InputError(f"{shown(path)}, line {reader.line_num}: {error}; {_REMEDY}") from error


def _check_same(path: Path, rows: Mapping[str, tuple], other_path: Path, other: Mapping[str, tuple]) -> None:
    """Holds every name of one list to be in the other."""
    apart = rows.keys() - other.keys()
    if apart:
        line, name = min((rows[name][0], name) for name in apart)
        raise InputError(
            f"{shown(path)}, line {line}: {shown(other_path)} has no line for {shown(name)}; "
            "take both files from one release"
        )


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{shown(path)} cannot be read ({error.strerror}): {_REMEDY}") from error
