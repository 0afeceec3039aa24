"""Images that stay in their files until they are asked for."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.datasets._io import decoding
from cactus_tf.datasets._io.entries import Entry, UnreadableError
from cactus_tf.datasets._io.shards import Decode
from cactus_tf.errors import RunError

_CACHE = 1 << 28  # bytes of decoded images that are kept
_ALONE = 4  # images that one thread decodes sooner than others start
_PIECE = 128  # images decoded at once on the way through all
_BEGINNING = 1 << 16  # bytes in which a picture says its format and size


class Beginning(Entry):
    """A file of which only the beginning is read."""

    def read(self) -> bytes:
        """The first 64 KiB.

        Raises:
          UnreadableError: they cannot be had.
        """
        try:
            with open(Path(self.root, self.name), "rb") as file:
                return file.read(_BEGINNING)
        except OSError as error:
            raise UnreadableError(f"cannot be read ({error.strerror})") from error


def header(content: bytes) -> np.ndarray:
    """One zero for the beginning of a picture; what follows may still be damaged.

    Raises:
      UnreadableError: no picture in a known format, or one of no or too many pixels.
    """
    with decoding.opened(content):
        return np.zeros(1, np.uint8)


class LazyImages:
    """[n, ...] images that are decoded when they are indexed, by an integer, a slice, or an array of integers or bools.

    Args:
      root: folder of the files.
      names: [n] bytes, their paths below it in UTF-8.
      decode: a file's bytes to one image.
      shape: of one image.
      dtype: of one image.
      workers: threads; decoding leaves Python alone.
    """

    def __init__(
        self,
        root: Path,
        names: np.ndarray,
        decode: Decode,
        shape: tuple[int, ...],
        dtype: Any = np.uint8,
        workers: int | None = None,
    ):
        self.shape, self.dtype, self.ndim = (len(names), *shape), np.dtype(dtype), 1 + len(shape)
        self.nbytes = int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize
        self._root, self._names, self._decode, self._workers = root, names, decode, workers
        self._numbers = np.arange(len(names))
        kept = _CACHE // max(1, int(np.prod(shape)) * self.dtype.itemsize)
        self._cached = functools.lru_cache(max(1, kept))(self._read)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, key: Any) -> np.ndarray:
        """The images of these numbers.

        Raises:
          RunError: a file cannot be decoded; names it.
        """
        numbers = self._numbers[key]
        if numbers.ndim == 0:
            return self._cached(int(numbers)).copy()
        images = self._all(numbers.ravel().tolist())
        return images.reshape(*numbers.shape, *self.shape[1:])

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), _PIECE):
            yield from self[start : start + _PIECE]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        """All of them, in memory."""
        return self[:] if dtype is None else self[:].astype(dtype)

    def _all(self, numbers: list[int]) -> np.ndarray:
        images = np.empty((len(numbers), *self.shape[1:]), self.dtype)
        if len(numbers) <= _ALONE:
            for i, number in enumerate(numbers):
                images[i] = self._cached(number)
            return images
        with ThreadPoolExecutor(self._workers) as threads:
            for i, image in enumerate(threads.map(self._cached, numbers)):
                images[i] = image
        return images

    def _read(self, number: int) -> np.ndarray:
        name = self._names[number].decode()
        try:
            return self._decode(Entry(str(self._root), name, 0).read())
        except UnreadableError as error:
            raise RunError(
                f"{self._root / name} {error}: put it right and start again, or decode once, which leaves it out"
            ) from error
