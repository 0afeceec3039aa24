"""Arrays: stored ones are read without unpickling and checked against the length of their file."""

from __future__ import annotations

import io
import math
import os
import sys
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from cactus_tf.errors import InputError
from cactus_tf.utils.digests import digest

REMEDY = "restore it, or delete it and run again"
_PIECE = 1 << 24  # elements checked at once, as arrays may be memory maps
_SAMPLED, _STEP = 1000, 1e-5  # rows that tell the scale, and the part of it that rounding errors stay below
_LARGEST_EMPTY = 1 << 20  # side of an array without elements
_LONGEST_HEADER = 1 << 16  # bytes; NumPy refuses headers above 10,000
_UNPACKED, _RATIO = 1 << 28, 200  # bytes that an archive may always unpack to, or times its own size
_KINDS = "biufcSU"  # bools, numbers and strings
warnings.filterwarnings("ignore", message="Reading `.npy` or `.npz` file required additional")  # Python 2 wrote it


class ArrayError(ValueError):
    """Bytes are not one whole array; the message says why in a few words."""


def read_array(path: str | Path, *, mapped: bool = False, remedy: str = REMEDY) -> np.ndarray:
    """The array of a .npy file.

    Args:
      path: the file.
      mapped: leave the numbers in the file, as a read-only memory map.
      remedy: what the user can do, for the message.

    Raises:
      InputError: the file is missing, damaged, or holds pickled objects.
    """
    try:
        with open(path, "rb") as file:
            check_stored(file, os.fstat(file.fileno()).st_size)
        return _text_checked(np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False))
    except Exception as error:  # NumPy raises errors of every kind on damaged files
        raise InputError(f"{path} {_problem(error)}; {remedy}") from error


def read_archive(path: str | Path, keys: Sequence[str] | None = None, *, remedy: str = REMEDY) -> dict[str, np.ndarray]:
    """The arrays of a .npz archive by name, in its order.

    Args:
      path: the archive.
      keys: the arrays to read, which the archive must hold; None reads all.
      remedy: what the user can do, for the message.

    Raises:
      InputError: the archive is missing, damaged, lacks an array, or holds pickled objects.
    """
    key = ""
    arrays = {}
    try:
        with zipfile.ZipFile(path) as archive:
            for key in _keys(archive) if keys is None else keys:
                arrays[key] = parse_array(member(archive, key))
    except Exception as error:  # of zipfile, zlib and NumPy, of every kind
        raise InputError(f"{key + ' of ' if key else ''}{path} {_problem(error)}; {remedy}") from error
    return arrays


def member(archive: zipfile.ZipFile, key: str) -> bytes:
    """The content of KEY.npy in an open archive; ArrayError where it is not there or not one whole array."""
    check_member(archive, key)
    return archive.read(f"{key}.npy")  # checks its checksum


def check_member(archive: zipfile.ZipFile, key: str) -> None:
    """Checks the beginning of KEY.npy in an open archive, as `check_stored` does."""
    name = f"{key}.npy"
    if name not in archive.namelist():
        raise ArrayError(f"is not in the archive, which holds {', '.join(_keys(archive)) or 'no arrays'}")
    check_unpacked(archive, name)
    with archive.open(name) as file:
        check_stored(file, archive.getinfo(name).file_size)


def check_unpacked(archive: zipfile.ZipFile, name: str | None = None) -> None:
    """Checks that a member of an open archive, or all of them, does not unpack to much more than the archive.

    Raises:
      ArrayError: it does, as a decompression bomb does.
    """
    unpacked = sum(info.file_size for info in archive.infolist() if name in (None, info.filename))
    assert archive.fp is not None
    packed = archive.fp.seek(0, os.SEEK_END)
    if unpacked > max(_UNPACKED, _RATIO * packed):
        raise ArrayError(f"is damaged (its {packed:,} bytes unpack to {unpacked:,})")


def parse_array(content: bytes) -> np.ndarray:
    """The array in the bytes of a .npy file; ArrayError where they are not one whole array."""
    check_stored(io.BytesIO(content), len(content))
    return _text_checked(np.load(io.BytesIO(content), allow_pickle=False))


def _text_checked(array: np.ndarray) -> np.ndarray:
    """The array; ArrayError where strings hold numbers of no character, with which Python fails later."""
    if array.dtype.kind == "U" and array.size:
        codes = np.ascontiguousarray(array).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
        if codes.max() > sys.maxunicode:
            raise ArrayError("is damaged (its strings hold numbers of no character)")
    return array


def check_stored(file: IO[bytes], length: int) -> None:
    """Checks that the header of an open .npy file states plain numbers or strings that fill its length exactly.

    Raises:
      ArrayError: it does not.
    """
    shape, dtype, start = _header(file.read(_LONGEST_HEADER))
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise ArrayError(f"holds {'pickled objects' if dtype.hasobject else dtype}, not numbers or strings")
    expected = start + math.prod(shape) * dtype.itemsize  # Python's integers do not overflow
    if min(shape, default=0) < 0 or max(shape, default=0) > max(length, _LARGEST_EMPTY) or expected != length:
        form = f"{dtype} of shape {list(shape)}, {expected} bytes"
        raise ArrayError(f"is damaged or cut short (its header states {form}, and it has {length})")


def check_finite(embeddings: np.ndarray, source: str, remedy: str = "retrain it") -> None:
    """Checks that all embeddings are finite.

    Args:
      embeddings: [n, dim].
      source: who made them, for the message.
      remedy: what to do about it, for the message.

    Raises:
      InputError: some are NaN or infinite.
    """
    step = max(1, _PIECE // max(1, embeddings.shape[1]))
    pieces = (embeddings[i : i + step] for i in range(0, len(embeddings), step))
    bad = sum(int(np.count_nonzero(~np.isfinite(piece).all(axis=1))) for piece in pieces)
    if bad:
        raise InputError(f"{source}: {bad} of {len(embeddings)} embeddings are NaN or infinite; {remedy}")


def as_float32(embeddings: np.ndarray, source: str, remedy: str = "rescale them") -> np.ndarray:
    """[n, dim] float32; arguments and errors as of `check_finite`, which sees what became infinite."""
    with np.errstate(over="ignore"):
        rows = np.asarray(embeddings, np.float32)
    check_finite(rows, source if rows is embeddings else f"{source} as float32", remedy)
    return rows


def first_distinct(rows: np.ndarray, enough: int) -> tuple[int, tuple[int, int] | None]:
    """The number of distinct rows, counted up to `enough`, and the numbers of the first two that are alike.

    Rows that differ by rounding errors count as one: they are compared in steps of 1e-5 of the largest number.
    """
    first: dict[bytes, int] = {}
    alike = None
    scale = float(np.abs(rows[:: max(1, len(rows) // _SAMPLED)]).max(initial=0))
    for i, row in enumerate(rows):
        seen = first.setdefault(digest(np.rint(row / (_STEP * scale or 1)).astype(np.int64)), i)
        if seen != i and alike is None:
            alike = seen, i
        if len(first) >= enough:
            break
    return len(first), alike


def _header(beginning: bytes) -> tuple[tuple[int, ...], np.dtype, int]:
    """Shape, type and length of a header."""
    file = io.BytesIO(beginning)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except Exception as error:  # a damaged header is parsed as Python and fails in every way that Python can
        raise ArrayError("is not a .npy file, or its header is damaged") from error
    if any(isinstance(side, bool) for side in shape):  # NumPy takes them for integers here, and not later
        raise ArrayError("is damaged (its header states True or False in its shape)")
    return shape, dtype, file.tell()


def _keys(archive: zipfile.ZipFile) -> list[str]:
    return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def _problem(error: Exception) -> str:
    """What is wrong with a file, to follow its name."""
    if isinstance(error, ArrayError):
        return str(error)
    if isinstance(error, MemoryError):
        return "is larger than the memory"
    reason = (isinstance(error, OSError) and error.strerror) or str(error).split("\n")[0]
    return f"cannot be read ({reason})" if isinstance(error, OSError) else f"is damaged ({reason})"
