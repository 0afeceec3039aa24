"""A user's pictures as images of a given shape, for prediction."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cactus_tf.datasets._io import headers, layout
from cactus_tf.datasets._io.decoding import in_range
from cactus_tf.datasets._io.depth import PixelRange, report, used_range
from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets._io.listing import Listing
from cactus_tf.datasets._io.preparing import Listed, unpacked
from cactus_tf.datasets._io.rows import Decoded, Decoding, decode_files
from cactus_tf.errors import InputError

Decode = Callable[[bytes], np.ndarray]
_PIECE = 256  # rows moved at once


class Pictures(NamedTuple):
    """Pictures that could be read.

    Attributes:
      images: [n, height, width, channels] uint8.
      files: [n] names below their folder.
      labels: [n] name of the class of each; None where there are no classes.
      skipped: what was left out, and why.
      passed_over: files with other extensions, in words; "" if there are none.
      hidden: what is hidden or a system's, in words; "" if nothing is.
      pixel_range: the range that pictures with more than 8 bits were read in; None where none was given or has more.
    """

    images: np.ndarray
    files: np.ndarray
    labels: np.ndarray | None
    skipped: list[Skipped]
    passed_over: str = ""
    hidden: str = ""
    pixel_range: PixelRange | None = None


def read_classes(
    name: str, place: str | Path, decode: Decode, shape: tuple[int, ...], pixel_range: PixelRange | None = None
) -> Pictures:
    """The pictures of a folder or zip archive with a subfolder per class.

    Args:
      name: what the user calls the folder, for messages.
      place: the folder or archive.
      decode: from a file's bytes to an image of `shape`; see `datasets.picture_decoder`.
      shape: (height, width, channels).
      pixel_range: of pictures with more than 8 bits; None takes what they use.

    Raises:
      InputError: it does not exist, has no pictures or no subfolders, or no picture of a class can be read.
    """
    path, skipped = layout.existing(name, place), list[Skipped]()
    if layout.is_one_file(path):
        raise InputError(f"{name} {shown(place)} is one file: name a folder or zip archive with a subfolder per class")
    folders = layout.class_folders(name, path, skipped)
    pictures = _decoded(name, folders.listed, decode, shape, skipped, pixel_range)
    assert pictures.labels is not None
    labels = np.array(folders.names)[pictures.labels]
    without = sorted({*folders.names, *folders.empty} - set(labels.tolist()))
    if without:
        about = "; ".join(filter(None, [_first(pictures.skipped), folders.listing.passed_over]))
        raise InputError(
            f"{name} {shown(place)} has no readable picture of {', '.join(without)}{f' ({about})' if about else ''}: "
            "add one to each class, or remove its folder"
        )
    return _with_notes(pictures, folders.listing)._replace(labels=labels)


def read_all(
    name: str,
    place: str | Path,
    decode: Decode,
    shape: tuple[int, ...],
    pixel_range: PixelRange | None = None,
    folder: Path | None = None,
) -> Pictures:
    """The pictures below a folder or in a zip archive, or one picture; arguments as of `read_classes`.

    Args:
      name, place, decode, shape, pixel_range: as of `read_classes`.
      folder: for more pictures than fit in memory: an empty one, which then holds `images` as a memory map.

    Raises:
      InputError: it does not exist, or no picture in it can be read.
    """
    if layout.is_one_file(path := layout.existing(name, place)):
        return _read_one(name, path, decode, shape, pixel_range)
    listing = layout.pictures(name, path)
    pictures = _decoded(name, Listed(listing.entries), decode, shape, listing.skipped, pixel_range, folder)
    if not len(pictures.images):
        raise InputError(f"{name} {shown(place)} has no readable picture ({_first(pictures.skipped)})")
    return _with_notes(pictures, listing)


def _with_notes(pictures: Pictures, listing: Listing) -> Pictures:
    return pictures._replace(passed_over=listing.passed_over, hidden=listing.hidden)


def _read_one(
    name: str, path: Path, decode: Decode, shape: tuple[int, ...], pixel_range: PixelRange | None
) -> Pictures:
    """One picture."""
    status = path.stat()
    one = Entry(str(path.parent), path.name, status.st_size, status.st_mtime_ns)
    picture = _decoded(name, Listed([one]), decode, shape, [], pixel_range)
    if picture.skipped:
        raise InputError(
            f"{name} {shown(path)} {picture.skipped[0].reason}: name a picture, or a folder or zip archive of pictures"
        )
    return picture


def _decoded(
    name: str,
    listed: Listed,
    decode: Decode,
    shape: tuple[int, ...],
    skipped: list[Skipped],
    pixel_range: PixelRange | None,
    rows: Path | None = None,
) -> Pictures:
    """The pictures that can be read; `labels` are numbers."""
    with tempfile.TemporaryDirectory(prefix="cactus_tf-", ignore_cleanup_errors=True) as folder:
        listed = unpacked(listed, Path(folder) / "unpacked", skipped)
        found = headers.read(f"{name.strip('-')} headers", listed.entries, Path(folder) / "headers")
        pixel_range = pixel_range or used_range(found.extremes)
        if pixel_range is not None:
            report(name, found.extremes, pixel_range)
            decode = functools.partial(in_range, decode=decode, pixel_range=pixel_range)
        decoded = decode_files(name.strip("-"), listed.entries, Decoding(decode, shape), rows or Path(folder) / "rows")
        images = np.array(decoded.rows[decoded.read]) if rows is None else _kept(decoded, rows)
    files = np.array([shown(listed.entries[i].name) for i in decoded.read])
    labels = None if listed.labels is None else listed.labels[decoded.read]
    return Pictures(images, files, labels, [*skipped, *decoded.skipped], pixel_range=pixel_range)


def _kept(decoded: Decoded, folder: Path) -> np.ndarray:
    """The rows that could be read, moved to the front of FOLDER/rows, as a memory map."""
    if not len(decoded.read):
        return decoded.rows[:0]
    rows = np.memmap(folder / "rows", decoded.rows.dtype, "r+", shape=decoded.rows.shape)
    for start in range(0, len(decoded.read), _PIECE):
        wanted = decoded.read[start : start + _PIECE]  # ascending, so no row is overwritten before it is moved
        rows[start : start + len(wanted)] = rows[wanted]
    return rows[: len(decoded.read)]


def originals(name: str, place: str | Path, files: Sequence[str], folder: Path) -> list[Path]:
    """The paths of pictures of `Pictures.files` or of a data set's `names`; those of an archive are unpacked.

    Args:
      name: what the user calls the folder, for messages.
      place: the folder or archive, or the one picture.
      files: names below it.
      folder: to unpack into.

    Raises:
      InputError: a picture is no longer there.
    """
    path = layout.existing(name, place)
    if layout.is_one_file(path):
        return [path]
    listed = {shown(entry.name): entry for entry in layout.pictures(name, path).entries}
    gone = [file for file in files if file not in listed]
    if gone:
        raise InputError(f"{name} {shown(place)} has lost {gone[0]} since it was read: run the command again")
    skipped = list[Skipped]()
    found = unpacked(Listed([listed[file] for file in files]), folder, skipped)
    if skipped:
        raise InputError(f"{name} {shown(place)}: {skipped[0].name} {skipped[0].reason}: mend the archive")
    return [Path(entry.root, entry.name) for entry in found.entries]


def _first(skipped: list[Skipped]) -> str:
    return f"{skipped[0].name} {skipped[0].reason}" if skipped else ""
