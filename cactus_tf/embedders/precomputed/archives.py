"""Archives of images X and embeddings Z, as the authors of CACTUs ship them; nothing in them is ever unpickled."""

from __future__ import annotations

import contextlib
import hashlib
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from cactus_tf.embedders._base.image_arrays import channels_first
from cactus_tf.errors import InputError
from cactus_tf.utils.files import checksum

SPLITS = ("train", "val", "test")
PATTERNS = "{dataset}_{dims}_{split}.npz, {dataset}.u-{dims}_{split}.npz, {dataset}.{dims}_{split}.npz or {split}.npy"
_NAME = re.compile(rf"(?P<dataset>.+?)(?P<kind>_|\.u-|\.)(?P<dims>\d+)_(?P<split>{'|'.join(SPLITS)})\.npz")
_CHUNK = 1 << 24  # bytes of images hashed at a time
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError)


class Header(NamedTuple):
    """What a .npy file says of its array."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype


def find(folder: str | Path, dataset: str | None) -> dict[str, Path]:
    """The file of each split that the folder has: archives of the data set, else plain arrays.

    Args:
      folder: where to look.
      dataset: name at the beginning of the archives' names; None takes any.

    Raises:
      InputError: no folder, no file of the training images, or two archives of one split.
    """
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise InputError(f"precomputed_dir {folder} is not a folder; it must be one that holds {PATTERNS}")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match and dataset in (None, match["dataset"]):
            split = match["split"]
            if split in found:
                both = f"{found[split].name} and {path.name}"
                raise InputError(f"precomputed_dir {folder} holds both {both}; leave one archive per split there")
            found[split] = path
    found = found or {split: folder / f"{split}.npy" for split in SPLITS if (folder / f"{split}.npy").exists()}
    if "train" not in found:
        wanted = PATTERNS.replace("{dataset}", dataset or "{dataset}")
        raise InputError(f"precomputed_dir {folder} holds no embeddings of the training images; it needs {wanted}")
    return found


def is_embeddings(path: Path) -> bool:
    """Whether the file's name is one that `find` looks for."""
    return bool(_NAME.fullmatch(path.name)) or path.name in {f"{split}.npy" for split in SPLITS}


def fingerprint(path: Path) -> list[int]:
    """Checksums of what a file holds: an archive has them in its directory, so it need not be read."""
    if path.suffix != ".npz":
        return [checksum(path)]
    with _named(path), zipfile.ZipFile(path) as archive:
        return [member.CRC for member in archive.infolist()]


def digest(image: np.ndarray) -> bytes:
    """A fingerprint of an image's bytes; two images share one with a probability of 2^-128."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def image_digests(path: Path) -> tuple[tuple[int, ...], list[bytes]]:
    """(height, width, channels) of X and the digest of each of its images, read in pieces.

    Raises:
      InputError: X is missing, damaged, pickled, or not uint8 with the channels last.
    """
    with _member(path, "X") as file:
        header = _header(file, path, "X")
        _check_images(header, path)
        digests = [digest(image) for images in _pieces(file, header) for image in images]
    return header.shape[1:], digests


def archived_embeddings(path: Path) -> np.ndarray:
    """[n, dim] float32: Z, or Z_raw in the archives of InfoGAN.

    Raises:
      InputError: it is missing, damaged, pickled, of another rank, or not finite.
    """
    match = _NAME.fullmatch(path.name)
    keys = ("Z_raw", "Z") if match and match["kind"] == "." else ("Z",)
    with _named(path), zipfile.ZipFile(path) as archive:
        key = next((k for k in keys if f"{k}.npy" in archive.namelist()), keys[0])
    with _member(path, key) as file:
        header = _header(file, path, key)
        _check_form(header.shape, header.dtype, f"{key} of {path}")
        whole = np.concatenate([np.empty((0, header.shape[1]), header.dtype), *_pieces(file, header)])
    return checked(whole, f"{key} of {path}")


def plain_embeddings(path: Path) -> np.ndarray:
    """[n, dim] float32 of a .npy file in the prepared order.

    Raises:
      InputError: it is damaged, pickled, of another rank, or not finite.
    """
    with _named(path):
        with open(path, "rb") as file:
            _header(file, path, "the array")
        whole = np.load(path, allow_pickle=False)
    return checked(whole, str(path))


def checked(z: np.ndarray, where: str) -> np.ndarray:
    """Embeddings as float32.

    Raises:
      InputError: not [n, dim], not numbers, or not finite.
    """
    _check_form(z.shape, z.dtype, where)
    bad = np.count_nonzero(~np.isfinite(z).all(axis=1))
    if bad:
        raise InputError(f"{where} has NaN or infinity in {bad} of {len(z)} rows; remove those images or embed anew")
    return z.astype(np.float32)


def _check_form(shape: tuple[int, ...], dtype: np.dtype, where: str) -> None:
    if len(shape) != 2 or dtype.kind not in "fiu":
        raise InputError(f"{where} is {dtype} of shape {list(shape)}; embeddings are numbers of shape [n, dim]")


def _check_images(header: Header, path: Path) -> None:
    shape, rule = list(header.shape), "images are uint8 of shape [n, height, width, channels]"
    if header.dtype != np.uint8:
        raise InputError(f"X of {path} is {header.dtype}; {rule}: save the 0..255 bytes that were embedded")
    if len(shape) != 4:
        raise InputError(f"X of {path} has shape {shape}; {rule}: give grey images a last axis of 1")
    if channels_first(header.shape):
        raise InputError(f"X of {path} has shape {shape}, channels first; {rule}: save X.transpose(0, 2, 3, 1)")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns what reading a damaged file raises into one line that names it."""
    try:
        yield
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{path} is damaged or cut short ({error}); get it again") from error


@contextlib.contextmanager
def _member(path: Path, key: str) -> Iterator[IO[bytes]]:
    with _named(path), zipfile.ZipFile(path) as archive:
        if f"{key}.npy" not in archive.namelist():
            there = ", ".join(name.removesuffix(".npy") for name in archive.namelist())
            raise InputError(f"{path} has no {key}, only {there}; it must hold images X and embeddings Z")
        with archive.open(f"{key}.npy") as file:
            yield file  # which compares its checksum when all of it is read


def _header(file: IO[bytes], path: Path, key: str) -> Header:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header = Header(*read(file))
    if header.dtype.hasobject:
        raise InputError(
            f"{key} of {path} is pickled, and unpickling can run code; save it as a plain array of numbers"
        )
    return header


def _pieces(file: IO[bytes], header: Header) -> Iterator[np.ndarray]:
    """The array a few rows at a time, so that it need not fit in memory."""
    shape, fortran_order, dtype = header
    row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
    if fortran_order:
        whole = np.frombuffer(_exactly(file, row * shape[0]), dtype).reshape(shape, order="F")
        yield whole
        return
    rows = max(1, _CHUNK // max(1, row))
    for start in range(0, shape[0], rows):
        count = min(rows, shape[0] - start)
        yield np.frombuffer(_exactly(file, row * count), dtype).reshape(count, *shape[1:])


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError("it holds fewer numbers than it announces")
    return data
