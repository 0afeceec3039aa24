"""MNIST, LeCun, Cortes, Burges: 50,000 / 10,000 / 10,000 images, the same ten digits in every split.

The authors' train / val split is unknown; here the official training images are shuffled with the seed of their
Omniglot split. The images are first ordered by label and bytes, so that every source gives the same split.
"""

from __future__ import annotations

import functools
import gzip
import io
import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cactus_tf.contracts import DataContext, DatasetInfo
from cactus_tf.datasets._io import official_files, tfds
from cactus_tf.datasets._io.entries import shown
from cactus_tf.datasets._io.preparing import NOT_CACHED, Labeled, in_order, prepare_arrays
from cactus_tf.errors import InputError
from cactus_tf.types import Splits

INFO = DatasetInfo(light_on_dark=True)
TRAIN = 50_000  # of the official training images; the others are val
OFFICIAL = {"train": 60_000, "test": 10_000}  # images
FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
WANTED = tuple(
    (name, f"{name}.gz", dotted, f"{dotted}.gz") for name in FILES for dotted in [name.replace("-idx", ".idx")]
)
BELOW = (".", "MNIST/raw", "mnist", "raw")  # subfolders that other libraries make
ORIGIN = "https://storage.googleapis.com/cvdf-datasets/mnist/"
REMEDY = f"put {', '.join(FILES)} (with or without .gz) from {ORIGIN} into a folder and name it as data_dir"
UNSIGNED_BYTE = 0x08  # an idx type code
_GZIP = b"\x1f\x8b"
_MOST = 1 << 26  # bytes of an unpacked file; the largest has 47,040,016


def load(data_dir: str | Path | None = None, context: DataContext = NOT_CACHED) -> Splits:
    """MNIST: 50,000 train, 10,000 val and 10,000 test images [28, 28, 1].

    Args:
      data_dir: folder with the four idx files, with or without .gz, named train-images-idx3-ubyte or as unpackers do,
        train-images.idx3-ubyte; None downloads them by tensorflow-datasets.
      context: stores the arrays; labels are the digits.

    Raises:
      InputError: files are missing, damaged or incomplete.
    """
    read = locate(data_dir)
    return prepare_arrays("mnist", lambda: split(complete(read())), context)


def locate(data_dir: str | Path | None) -> Callable[[], dict[str, Labeled]]:
    """The function that reads the official "train" and "test" images.

    Raises:
      InputError: data_dir is given and lacks files. Damaged files are an error when they are read.
    """
    if data_dir is None:
        return _read_tfds
    return functools.partial(_read_files, official_files.find(data_dir, WANTED, ORIGIN, BELOW))


def complete(official: dict[str, Labeled]) -> dict[str, Labeled]:
    """The same data, or an InputError where they are not 60,000 and 10,000 images."""
    counts_by_split = {name: len(data.labels) for name, data in official.items()}
    if counts_by_split != OFFICIAL:
        counts = f"{counts_by_split['train']} train and {counts_by_split['test']} test images"
        raise InputError(f"MNIST is incomplete: found {counts}, expected 60000 and 10000; {REMEDY}")
    return official


def split(official: dict[str, Labeled]) -> dict[str, Labeled]:
    """Splits the official training images, whatever their order."""
    ordered = in_order(official["train"])
    rows = np.arange(len(ordered.labels))
    np.random.RandomState(42).shuffle(rows)
    return {"train": ordered.take(rows[:TRAIN]), "val": ordered.take(rows[TRAIN:]), "test": official["test"]}


def parse_idx(name: str, content: bytes) -> np.ndarray:
    """The uint8 array of an idx file: two zero bytes, type, rank, big-endian sizes, then the values."""
    if len(content) < 4 or content[:2] != b"\0\0":
        raise InputError(f"{name} does not begin with two zero bytes, as idx files do: get it again from {ORIGIN}")
    kind, rank = content[2], content[3]
    if kind != UNSIGNED_BYTE:
        raise InputError(f"{name} holds idx type 0x{kind:02x}, not unsigned bytes (0x08): get it again from {ORIGIN}")
    start = 4 + 4 * rank
    shape = np.frombuffer(content[4:start].ljust(4 * rank, b"\0"), ">u4").tolist()
    expected = start + math.prod(shape)  # Python's integers do not overflow
    if len(content) != expected:
        promised = f"{expected} bytes expected, {len(content)} present"
        raise InputError(f"{name} is truncated or damaged ({promised}): get it again from {ORIGIN}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _read_tfds() -> dict[str, Labeled]:
    official = {}
    for part in OFFICIAL:
        batches = list(tfds.batches("mnist", part, REMEDY))
        images = np.concatenate([batch["image"] for batch in batches])
        labels = np.concatenate([batch["label"] for batch in batches])
        official[part] = Labeled(images, labels.astype(np.int32))
    return official


def _read_files(paths: Sequence[Path]) -> dict[str, Labeled]:
    return {"train": _labeled(*paths[:2]), "test": _labeled(*paths[2:])}


def _labeled(image_path: Path, label_path: Path) -> Labeled:
    """The images of one file with the labels of the other."""
    images = parse_idx(str(image_path), _content(image_path))
    labels = parse_idx(str(label_path), _content(label_path))
    if images.shape[1:] != (28, 28):
        raise InputError(f"{image_path} has shape {images.shape}, expected (images, 28, 28); {REMEDY}")
    if labels.shape != images.shape[:1]:
        raise InputError(f"{label_path} has shape {labels.shape}, {image_path} {len(images)} images; {REMEDY}")
    if labels.max(initial=0) > 9:
        raise InputError(f"{label_path} holds label {labels.max()}, but digits are 0..9; {REMEDY}")
    return Labeled(images[..., np.newaxis], labels.astype(np.int32))


def _content(path: Path) -> bytes:
    """The bytes of a file, decompressed where they are compressed, whatever its name."""
    try:
        content = path.read_bytes()
        if not content.startswith(_GZIP):
            return content
        with gzip.open(io.BytesIO(content)) as file:
            return file.read(_MOST)
    except (OSError, EOFError, zlib.error) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise InputError(f"{shown(path)} is truncated or damaged ({reason}): get it again from {ORIGIN}") from error
