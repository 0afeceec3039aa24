"""Images that stay in their files until they are indexed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.datasets._io.entries import Entry, UnreadableError
from cactus_tf.errors import RunError

_CACHED = 1 << 28  # bytes of decoded images
_ALONE = 4  # images that one thread decodes sooner than others start
_PIECE = 128  # images decoded at once when iterating


class LazyImages:
    """[n, ...] images that are decoded when they are indexed, by an integer, a slice, or an array of integers or bools.

    Args:
      root: folder of the files.
      names: [n] bytes, their paths below it in UTF-8.
      decode: a file's bytes -> one image, uint8.
      shape: of one image.
      workers: threads; None lets Python choose.
    """

    def __init__(
        self,
        root: Path,
        names: np.ndarray,
        decode: Callable[[bytes], np.ndarray],
        shape: tuple[int, ...],
        workers: int | None = None,
    ):
        self.shape, self.dtype, self.ndim = (len(names), *shape), np.dtype(np.uint8), 1 + len(shape)
        self.nbytes = int(np.prod(self.shape, dtype=np.int64))
        self._root, self._names, self._decode, self._workers = root, names, decode, workers
        self._numbers = np.arange(len(names))
        self._cached = functools.lru_cache(max(1, _CACHED // max(1, int(np.prod(shape)))))(self._read)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, key: Any) -> np.ndarray:
        """The images with these numbers."""
        numbers = self._numbers[key]
        if numbers.ndim == 0:
            return self._cached(int(numbers)).copy()
        return self._all(numbers.ravel().tolist()).reshape(*numbers.shape, *self.shape[1:])

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self), _PIECE):
            yield from self[start : start + _PIECE]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
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
            remedy = "repair or remove it and start again, or use --imagenet_decode=once, which leaves it out"
            raise RunError(f"{self._root / name} {error}: {remedy}") from error
