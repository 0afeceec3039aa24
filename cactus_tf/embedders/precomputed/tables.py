"""Files with a row of numbers for each file name: CSV, or .npz archives with `names` and `embeddings`."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from cactus_tf.errors import InputError
from cactus_tf.utils.arrays import read_archive
from cactus_tf.utils.text import shortened

FORMS = "a .csv file (file name, then numbers) or a .npz archive with names [n] and embeddings [n, dim]"
_DELIMITERS = "\t;,"


class Table(NamedTuple):
    """The content of such a file.

    Attributes:
      names: [n] as the file has them.
      places: [n] where each row stands in the file, for messages.
      embeddings: [n, dim] float32, finite.
    """

    names: list[str]
    places: list[str]
    embeddings: np.ndarray


def read(path: Path) -> Table:
    """The rows of a file.

    Raises:
      InputError: it is missing, damaged, of another form, or has numbers that are not finite.
    """
    if not path.is_file():
        about = "is a folder" if path.is_dir() else "does not exist"
        raise InputError(f"--precomputed_file={path} {about}: name {FORMS}")
    readers = {".npz": _from_archive, ".csv": _from_text, ".tsv": _from_text, ".txt": _from_text}
    if path.suffix.lower() not in readers:
        raise InputError(f"--precomputed_file={path} is of another kind: name {FORMS}")
    table = readers[path.suffix.lower()](path)
    bad = np.flatnonzero(~np.isfinite(table.embeddings).all(axis=1))
    if len(bad):
        first = f"{table.places[bad[0]]} ({table.names[bad[0]]})"
        raise InputError(
            f"{path}: {len(bad)} of {len(table.names)} rows have NaN or infinite numbers, the first {first}: embed "
            "those pictures again, or remove them"
        )
    return table


def _from_archive(path: Path) -> Table:
    stored = read_archive(path, ["names", "embeddings"], remedy=f"it must be {FORMS}, without pickled objects")
    names, z = stored["names"], stored["embeddings"]
    if names.ndim != 1 or names.dtype.kind not in "SU":
        raise InputError(f"{path}: names are {names.dtype} of shape {list(names.shape)}; save [n] strings")
    if z.ndim != 2 or z.dtype.kind not in "fiu" or not z.size:
        raise InputError(f"{path}: embeddings are {z.dtype} of shape {list(z.shape)}; save numbers of shape [n, dim]")
    if len(names) != len(z):
        raise InputError(f"{path} has {len(names)} names and {len(z)} embeddings: save one name for each row")
    try:
        texts = [name.decode() if isinstance(name, bytes) else name for name in names.tolist()]
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: names are bytes that are not UTF-8 ({error}): save them as strings") from error
    with np.errstate(over="ignore"):
        return Table(texts, [f"row {i}" for i in range(len(texts))], np.asarray(z, np.float32))


def _from_text(path: Path) -> Table:
    names, places, rows = list[str](), list[str](), list[np.ndarray]()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=next((d for d in _DELIMITERS if d in first), ","))
            for number, cells in enumerate(row for row in reader if any(row)):
                place = f"line {reader.line_num}"
                if number == 0 and _is_header(cells):
                    continue
                rows.append(_numbers(cells, f"{path}, {place}", len(rows[0]) if rows else None))
                names.append(cells[0])
                places.append(place)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} cannot be read ({error}): save it as CSV, in UTF-8") from error
    if not rows:
        raise InputError(f"{path} has no rows: it must be {FORMS}")
    return Table(names, places, np.stack(rows))


def _is_header(cells: Sequence[str]) -> bool:
    """Whether a first line names columns: without numbers, or with the numbers of the columns, as pandas writes it.

    Numbers that count the columns belong to a picture if the first cell looks like its file.
    """
    rest = cells[1:]
    counted = len(rest) > 1 and rest == [str(i) for i in range(len(rest))]
    return (counted and not PurePosixPath(cells[0]).suffix) or not any(_is_number(cell) for cell in rest)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(cells: Sequence[str], place: str, dim: int | None) -> np.ndarray:
    """[dim] float32 behind the name in a line."""
    if len(cells) < 2:
        raise InputError(f"{place} has no numbers: write the file name and its numbers, separated by commas")
    if dim is not None and len(cells) - 1 != dim:
        raise InputError(f"{place} has {len(cells) - 1} numbers and the lines before {dim}: make all rows alike")
    try:
        with np.errstate(over="ignore"):
            return np.array([float(cell) for cell in cells[1:]], np.float64).astype(np.float32)
    except ValueError:
        wrong = next(cell for cell in cells[1:] if not _is_number(cell))
        raise InputError(
            f"{place}: {shortened(repr(wrong), 40)} is not a number; after the file name, write numbers such as 0.25"
        ) from None
