"""Files of precomputed embeddings: which ones there are, and their arrays. Pickled arrays are never loaded."""

from __future__ import annotations

import contextlib
import re
import tempfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cactus_tf.embedders._base.image_arrays import check_images
from cactus_tf.errors import InputError
from cactus_tf.utils.arrays import as_float32, check_member, read_array
from cactus_tf.utils.files import checksum

SPLITS = ("train", "val", "test")
NAMES = ".txt"  # ending of a list of file names
_REMEDY = "get it again, or save it as a plain array of numbers (unpickling could run code)"
PATTERNS = "{dataset}_{dims}_{split}.npz, {dataset}.u-{dims}_{split}.npz, {dataset}.{dims}_{split}.npz or {split}.npy"
_NAME = re.compile(rf"(?P<dataset>.+?)(?P<kind>_|\.u-|\.)(?P<dims>\d+)_(?P<split>{'|'.join(SPLITS)})\.npz")
_DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError)


def find(folder: Path, dataset: str | None) -> dict[str, Path]:
    """The file of each split: archives of the data set (None: of any), or else plain arrays."""
    if not folder.is_dir():
        raise InputError(f"precomputed_dir {folder} is not a folder; it must be one that holds {PATTERNS}")
    paths: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match and dataset in (None, match["dataset"]):
            other = paths.setdefault(match["split"], path)
            if other != path:
                both = f"{other.name} and {path.name}"
                raise InputError(f"precomputed_dir {folder} holds both {both}; leave one archive per split there")
    paths = paths or {split: folder / f"{split}.npy" for split in SPLITS if (folder / f"{split}.npy").exists()}
    if "train" not in paths:
        wanted = PATTERNS.replace("{dataset}", dataset or "{dataset}")
        raise InputError(f"precomputed_dir {folder} holds no embeddings of the training images; it needs {wanted}")
    return paths


def fingerprints(folder: Path) -> dict[str, list[int]]:
    """Checksums of every file that `find` may choose; an archive stores those of its members."""
    if not folder.is_dir():
        find(folder, None)  # raises
    plain = {f"{split}{end}" for split in SPLITS for end in (".npy", NAMES)}
    paths = [path for path in sorted(folder.iterdir()) if _NAME.fullmatch(path.name) or path.name in plain]
    return {path.name: _checksums(path) if path.suffix == ".npz" else [checksum(path)] for path in paths}


def _checksums(path: Path) -> list[int]:
    with _errors_named(path), zipfile.ZipFile(path) as archive:
        return [member.CRC for member in archive.infolist()]


def plain_embeddings(path: Path) -> np.ndarray:
    """[n, dim] float32 of a .npy file, memory-mapped if it holds float32."""
    return _float32(read_array(path, mapped=True, remedy=_REMEDY), str(path))


def plain_names(path: Path) -> list[str] | None:
    """The file of each row of a .npy file, in composed Unicode, from the list beside it; None where there is none."""
    names = path.with_suffix(NAMES)
    if not names.is_file():
        return None
    try:
        lines = names.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{names} cannot be read ({error}): write one file name per line, in UTF-8") from error
    return [tidy(line) for line in lines]


def tidy(name: str) -> str:
    """The name of a picture, as names of pictures are compared: `composed`, with slashes."""
    return composed(name.replace("\\", "/"))


def rows_by_name(path: Path, names: Sequence[str], places: Sequence[str]) -> dict[str, int]:
    """The row of each name.

    Args:
      path: of the list, for messages.
      names: tidy ones.
      places: where each of them stands in the list, for messages.

    Raises:
      InputError: a name stands there twice.
    """
    rows: dict[str, int] = {}
    for row, name in enumerate(names):
        other = rows.setdefault(name, row)
        if other != row:
            raise InputError(f"{path}, {places[row]}: {name} is also in {places[other]}: name each picture once")
    return rows


def composed(name: str) -> str:
    """A name as lists are compared: without "./", in composed Unicode."""
    return unicodedata.normalize("NFC", name.strip().removeprefix("./"))


def archived_embeddings(path: Path) -> np.ndarray:
    """[n, dim] float32: Z, or Z_raw of InfoGAN's archives."""
    match = _NAME.fullmatch(path.name)
    with _errors_named(path), zipfile.ZipFile(path) as archive:
        raw = match and match["kind"] == "." and "Z_raw.npy" in archive.namelist()
    key = "Z_raw" if raw else "Z"
    with member(path, key) as embeddings:
        return np.array(_float32(embeddings, f"{key} of {path}"))


@contextlib.contextmanager
def archived_images(path: Path) -> Iterator[np.ndarray]:
    """[n, height, width, channels] uint8: X, as a memory map of a temporary file."""
    with member(path, "X") as images:
        check_images(images, name=f"X of {path}")
        yield np.ascontiguousarray(images)  # reads a whole array only if it is in Fortran's order


@contextlib.contextmanager
def member(path: Path, key: str) -> Iterator[np.ndarray]:
    """An array of an archive, as a memory map of a temporary file: X of CelebA takes 3 GB."""
    with tempfile.TemporaryDirectory() as folder:
        with _errors_named(path, key), zipfile.ZipFile(path) as archive:
            if f"{key}.npy" not in archive.namelist():
                names = ", ".join(name.removesuffix(".npy") for name in archive.namelist())
                raise InputError(f"{path} has no {key}, only {names}; it must hold images X and embeddings Z")
            check_member(archive, key)
            array = np.load(archive.extract(f"{key}.npy", folder), mmap_mode="r", allow_pickle=False)
        yield array


def _float32(embeddings: np.ndarray, source: str) -> np.ndarray:
    if embeddings.ndim != 2 or embeddings.dtype.kind not in "fiu":
        form = f"{embeddings.dtype} of shape {list(embeddings.shape)}"
        raise InputError(f"{source} is {form}; embeddings are numbers of shape [n, dim]")
    return as_float32(embeddings, source, "remove those images or rescale the embeddings")


@contextlib.contextmanager
def _errors_named(path: Path, key: str = "") -> Iterator[None]:
    """Turns the errors of reading a file into one line that names it."""
    try:
        yield
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(
            f"{f'{key} of ' if key else ''}{path} is damaged, cut short or pickled ({error}); {_REMEDY}"
        ) from error
