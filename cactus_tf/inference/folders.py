"""Folders of pictures as people have them, read as the images of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cactus_tf.datasets._io import layout
from cactus_tf.datasets._io.entries import Skipped, shown
from cactus_tf.datasets._io.preparing import Listed
from cactus_tf.datasets._io.shards import decode_all
from cactus_tf.errors import InputError

Decode = Callable[[bytes], np.ndarray]


class Pictures(NamedTuple):
    """Pictures that were read.

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
    """The pictures of a folder or zip archive with a sub-folder per class.

    Args:
      name: what the folder is called, for messages.
      place: the folder or archive.
      decode: from a file's bytes to an image of `shape`; see `datasets.picture_decoder`.
      shape: (height, width, channels).

    Raises:
      InputError: it is not there, holds no pictures or no sub-folders, or a class has no picture that can be read.
    """
    path, skipped = _there(name, place), list[Skipped]()
    listed, classes = layout.class_folders(name, path, skipped)
    read, kept = _decoded(name, listed, decode, shape)
    assert listed.labels is not None
    labels = np.array(classes)[listed.labels[kept]]
    without = sorted({*classes, *layout.without_pictures(path, classes)} - set(labels.tolist()))
    if without:
        raise InputError(
            f"{name} {shown(place)} has no picture that can be read of {', '.join(without)}{_first(read.skipped)}: add "
            "one to each class, or remove its folder"
        )
    return read._replace(labels=labels, skipped=skipped + read.skipped)


def read_all(name: str, place: str | Path, decode: Decode, shape: tuple[int, ...]) -> Pictures:
    """The pictures below a folder or in a zip archive; arguments as of `read_classes`.

    Raises:
      InputError: it is not there, or holds no picture that can be read.
    """
    listing = layout.pictures(name, _there(name, place))
    read, _ = _decoded(name, Listed(listing.entries), decode, shape)
    if not len(read.images):
        raise InputError(f"{name} {shown(place)} has no picture that can be read{_first(read.skipped)}")
    return read._replace(skipped=listing.skipped + read.skipped)


def _there(name: str, place: str | Path) -> Path:
    path = Path(place).expanduser()
    if not path.exists():
        raise InputError(f"{name} {shown(place)} is not there: name a folder or zip archive of pictures")
    return path


def _decoded(name: str, listed: Listed, decode: Decode, shape: tuple[int, ...]) -> tuple[Pictures, np.ndarray]:
    """The pictures that can be read, and their numbers in the list."""
    with tempfile.TemporaryDirectory(prefix="cactus_tf-") as scratch:
        made = decode_all(name.strip("-"), listed.entries, decode, shape, Path(scratch) / "rows", None, "uint8")
        images = np.array(made.rows[made.kept])
    files = np.array([shown(listed.entries[i].name) for i in made.kept])
    return Pictures(images, files, None, made.skipped), made.kept


def _first(skipped: list[Skipped]) -> str:
    return f" ({skipped[0].name} {skipped[0].reason})" if skipped else ""
