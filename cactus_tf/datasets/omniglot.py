"""Omniglot as in CACTUs: 28x28 binary drawings, 1100 / 100 / 423 characters for train / val / test.

Lake, Salakhutdinov, Tenenbaum 2015. The split and the pixels equal the authors' own arrays byte for byte, apart from
the order of the rows. Characters are not rotated.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.contracts import DataContext, DatasetInfo
from cactus_tf.datasets._io import archives, decoding, official_files, tfds
from cactus_tf.datasets._io.entries import Entry, UnreadableError, shown
from cactus_tf.datasets._io.preparing import NOT_CACHED, Labeled, prepare_arrays
from cactus_tf.errors import InputError
from cactus_tf.types import Splits
from cactus_tf.utils import progress

CHARACTERS, DRAWINGS = 1623, 20  # drawings of each character
SIZE = 105  # pixels of a side of the original drawings
SAMPLED = (2 * np.arange(28) + 1) * SIZE // 56  # floor((i + 0.5) 105 / 28): nearest neighbors of 28 rows or columns
CUTS = {"train": range(0, 1100), "val": range(1100, 1200), "test": range(1200, CHARACTERS)}  # of permuted labels
WANTED = (("images_background.zip", "images_background"), ("images_evaluation.zip", "images_evaluation"))
ORIGIN = "the folder python/ of https://github.com/brendenlake/omniglot"
REMEDY = f"put images_background.zip and images_evaluation.zip from {ORIGIN} into a folder and name it as data_dir"
BELOW = (".", "python", "omniglot/python", "omniglot-master/python", "omniglot-py", "omniglot")  # of other sources
_LARGEST = 1 << 20  # bytes of a drawing; the official ones have a few hundred
DRAWING = re.compile(r"(?:.*/)?\d{4}_\d{2}\.png")


def load(data_dir: str | Path | None = None, context: DataContext = NOT_CACHED) -> Splits:
    """Omniglot: 22,000 train, 2,000 val and 8,460 test images [28, 28, 1], ink 255 on paper 0.

    Args:
      data_dir: folder with the official archives or the folders they unpack to; None downloads by tensorflow-datasets.
      context: stores the arrays. Labels are the authors': 0..1099, 1100..1199 and 1200..1622.

    Raises:
      InputError: files are missing, damaged or incomplete.
    """
    read = locate(data_dir)
    return prepare_arrays("omniglot", lambda: split(complete(read())), context)


def locate(data_dir: str | Path | None) -> Callable[[], Labeled]:
    """The function that reads all drawings with their class number c = 0..1622.

    Raises:
      InputError: data_dir is given and lacks files. Damaged files are an error when they are read.
    """
    if data_dir is None:
        return _read_tfds
    return functools.partial(_read_files, official_files.find(data_dir, WANTED, ORIGIN, BELOW))


def sample(ink: np.ndarray) -> np.ndarray:
    """[..., 105, 105] bool, ink true -> [..., 28, 28, 1] uint8, ink 255: nearest-neighbor sampling, no smoothing."""
    return np.uint8(255) * ink[..., SAMPLED[:, np.newaxis], SAMPLED, np.newaxis]


def picture_decoder(shape: tuple[int, ...], options: Any = None) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row, dark ink made light; drawings of other sizes are smoothed."""
    return functools.partial(_drawing, shape=shape)


def _drawing(content: bytes, shape: tuple[int, ...]) -> np.ndarray:
    with decoding.opened(content) as picture:
        pixels = decoding.flattened(picture, 1)
        official = picture.size == (SIZE, SIZE)
        return sample(np.asarray(pixels) == 0) if official else 255 - decoding.fitted(pixels, shape)


def complete(data: Labeled) -> Labeled:
    """The same data, or an InputError where they are not 1623 characters with 20 drawings each."""
    counts = np.bincount(data.labels, minlength=CHARACTERS)
    wrong = np.flatnonzero(counts != DRAWINGS)
    if len(wrong):
        counted = f"{len(data.labels)} images, {counts[wrong[0]]} of character {wrong[0] + 1:04}"
        expected = f"{CHARACTERS * DRAWINGS} ({CHARACTERS} characters, {DRAWINGS} of each)"
        raise InputError(f"Omniglot is incomplete: found {counted}, expected {expected} named 0001_01.png; {REMEDY}")
    return data


def split(data: Labeled) -> dict[str, Labeled]:
    """Class c gets label P[c], P a fixed permutation; labels below 1100 train, from 1200 on test."""
    permutation = np.random.RandomState(42).permutation(CHARACTERS).astype(np.int32)
    data = Labeled(data.images, permutation[data.labels])
    return {name: data.take((data.labels >= cut.start) & (data.labels < cut.stop)) for name, cut in CUTS.items()}


def _read_tfds() -> Labeled:
    images, labels = [], []
    for part in ("train", "test"):  # the background and the evaluation characters
        for batch in tfds.batches("omniglot", part, REMEDY):
            images.append(sample(batch["image"][..., 0] == 0))
            labels.append(batch["label"].astype(np.int32))
    return Labeled(np.concatenate(images), np.concatenate(labels))


def _read_files(paths: Sequence[Path]) -> Labeled:
    drawings = (drawing for path in paths for drawing in (_unpacked if path.is_dir() else _zipped)(path))
    images = np.zeros((CHARACTERS * DRAWINGS, 28, 28, 1), np.uint8)
    labels: list[int] = []
    for name, content in progress.Bar(drawings, "omniglot", CHARACTERS * DRAWINGS, unit="image"):
        if len(labels) == len(images):
            raise InputError(f"{name} is one image too many: Omniglot has {len(images)}; {REMEDY}")
        images[len(labels)] = sample(_ink(name, content))
        labels.append(_class_number(name))
    return Labeled(images[: len(labels)], np.array(labels, np.int32))


def _zipped(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each drawing in an archive."""
    try:
        for name, content in archives.read(path, DRAWING, _LARGEST):
            yield f"{path}/{name}", content
    except UnreadableError as error:
        raise InputError(f"{shown(path)} {error}: get it again from {ORIGIN}") from error


def _unpacked(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each drawing below a folder."""
    for file in path.rglob("*.png"):
        if DRAWING.fullmatch(file.as_posix()):
            yield file.as_posix(), _read(file)


def _read(file: Path) -> bytes:
    try:
        with Entry(str(file.parent), file.name, 0).open() as opened:
            return opened.read(_LARGEST)
    except UnreadableError as error:
        raise InputError(f"{shown(file)} {error}: get it again from {ORIGIN}") from error


def _ink(name: str, content: bytes) -> np.ndarray:
    """[105, 105] bool, true where a PNG is black."""
    try:
        with decoding.opened(content) as image:
            width, height = image.size
            if (width, height) == (SIZE, SIZE):
                return np.asarray(image.convert("L")) == 0
    except UnreadableError as error:
        raise InputError(f"{name} {error}: get it again from {ORIGIN}") from error
    raise InputError(f"{name} is {width}x{height} pixels, but drawings are {SIZE}x{SIZE}; {REMEDY}")


def _class_number(name: str) -> int:
    """c = 0..1622 of a drawing, the number before the underscore minus one."""
    c = int(name.rsplit("/", 1)[-1][:4]) - 1
    if not 0 <= c < CHARACTERS:
        raise InputError(f"{name} is not a drawing of a character 0001..{CHARACTERS}: remove it, or {REMEDY}")
    return c


INFO = DatasetInfo(light_on_dark=True, picture_decoder=picture_decoder)
