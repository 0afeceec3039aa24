"""A user's pictures as images of a given shape, for prediction."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cactus_tf.datasets._io import layout
from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets._io.preparing import Listed, unpacked
from cactus_tf.datasets._io.rows import Decoding, decode_files
from cactus_tf.errors import InputError

Decode = Callable[[bytes], np.ndarray]


class Pictures(NamedTuple):
    """Pictures that could be read.

    Attributes:
      images: [n, height, width, channels] uint8.
      files: [n] names below their folder.
      labels: [n] name of the class of each; None where there are no classes.
      skipped: what was left out, and why.
    """

    images: np.ndarray
    files: np.ndarray
    labels: np.ndarray | None
    skipped: list[Skipped]


def read_classes(name: str, place: str | Path, decode: Decode, shape: tuple[int, ...]) -> Pictures:
    """The pictures of a folder or zip archive with a subfolder per class.

    Args:
      name: what the user calls the folder, for messages.
      place: the folder or archive.
      decode: from a file's bytes to an image of `shape`; see `datasets.picture_decoder`.
      shape: (height, width, channels).

    Raises:
      InputError: it does not exist, has no pictures or no subfolders, or no picture of a class can be read.
    """
    path, skipped = layout.existing(name, place), list[Skipped]()
    if _is_one_file(path):
        raise InputError(f"{name} {shown(place)} is one file: name a folder or zip archive with a subfolder per class")
    listed, classes = layout.class_folders(name, path, skipped)
    pictures = _decoded(name, listed, decode, shape, skipped)
    assert pictures.labels is not None
    labels = np.array(classes)[pictures.labels]
    without = sorted({*classes, *layout.without_pictures(path, classes)} - set(labels.tolist()))
    if without:
        raise InputError(
            f"{name} {shown(place)} has no readable picture of {', '.join(without)}{_first(pictures.skipped)}: add one "
            "to each class, or remove its folder"
        )
    return pictures._replace(labels=labels)


def read_all(name: str, place: str | Path, decode: Decode, shape: tuple[int, ...]) -> Pictures:
    """The pictures below a folder or in a zip archive, or one picture; arguments as of `read_classes`.

    Raises:
      InputError: it does not exist, or no picture in it can be read.
    """
    if _is_one_file(path := layout.existing(name, place)):
        return _read_one(name, path, decode, shape)
    listing = layout.pictures(name, path)
    pictures = _decoded(name, Listed(listing.entries), decode, shape, listing.skipped)
    if not len(pictures.images):
        raise InputError(f"{name} {shown(place)} has no readable picture{_first(pictures.skipped)}")
    return pictures


def _is_one_file(path: Path) -> bool:
    """Whether this is neither a folder nor a zip archive, whole or not."""
    return path.is_file() and path.suffix.lower() != ".zip" and not zipfile.is_zipfile(path)


def _read_one(name: str, path: Path, decode: Decode, shape: tuple[int, ...]) -> Pictures:
    """One picture."""
    status = path.stat()
    one = Entry(str(path.parent), path.name, status.st_size, status.st_mtime_ns)
    picture = _decoded(name, Listed([one]), decode, shape, [])
    if picture.skipped:
        raise InputError(
            f"{name} {shown(path)} {picture.skipped[0].reason}: name a picture, or a folder or zip archive of pictures"
        )
    return picture


def _decoded(name: str, listed: Listed, decode: Decode, shape: tuple[int, ...], skipped: list[Skipped]) -> Pictures:
    """The pictures that can be read; `labels` are numbers."""
    with tempfile.TemporaryDirectory(prefix="cactus_tf-") as folder:
        listed = unpacked(listed, Path(folder) / "unpacked", skipped)
        decoded = decode_files(name.strip("-"), listed.entries, Decoding(decode, shape), Path(folder) / "rows")
        images = np.array(decoded.rows[decoded.read])
    files = np.array([shown(listed.entries[i].name) for i in decoded.read])
    labels = None if listed.labels is None else listed.labels[decoded.read]
    return Pictures(images, files, labels, [*skipped, *decoded.skipped])


def _first(skipped: list[Skipped]) -> str:
    return f" ({skipped[0].name} {skipped[0].reason})" if skipped else ""
