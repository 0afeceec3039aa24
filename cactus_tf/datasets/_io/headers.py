"""What pictures are before they are resized: sizes, colors, and the values of those with more than 8 bits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cactus_tf.datasets._io import depth
from cactus_tf.datasets._io.decoding import is_gray, opened
from cactus_tf.datasets._io.entries import Entry, Skipped
from cactus_tf.datasets._io.rows import Decoding, decode_files, unread


class Headers(NamedTuple):
    """Headers of the pictures in a list of files that can be read.

    Attributes:
      sizes: [m, 2] width and height.
      gray: [m] bool, whether the format has no color.
      extremes: [m, 3] as of `depth.extremes`.
      skipped: the other files.
    """

    sizes: np.ndarray
    gray: np.ndarray
    extremes: np.ndarray
    skipped: list[Skipped]


def read(name: str, entries: Sequence[Entry], folder: Path, workers: int | None = None) -> Headers:
    """The headers of these files; arguments as of `decode_files`."""
    decoded = decode_files(name, entries, Decoding(header, (6,), "float64", read=unread), folder, workers)
    rows = np.asarray(decoded.rows[decoded.read])
    return Headers(rows[:, :2].astype(np.int64), rows[:, 2] > 0, rows[:, 3:], decoded.skipped)


def header(entry: Entry) -> np.ndarray:
    """[6] float64 of a picture: width, height, whether its format is gray, and `depth.extremes`.

    Reads only the beginning of a file of 8 bits; the others may be damaged after it.
    """
    with entry.open() as file, opened(file) as image:
        return np.array([image.width, image.height, is_gray(image), *depth.extremes(image)], np.float64)


def glance(entry: Entry) -> tuple[int, int, bool] | None:
    """Width, height and whether the format is gray; None if the picture cannot be read."""
    try:
        with entry.open() as file, opened(file) as image:
            return image.width, image.height, is_gray(image)
    except Exception:  # whatever is wrong with it, preparation says so
        return None
