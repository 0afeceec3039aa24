"""Shards of an artifact: parts that several workers make side by side on a shared file system, without a server.

Of W workers, number w makes every W-th shard and renames it into place. Then it waits until all are there, and makes
those that do not come, because another worker ended. Shards are named by what they hold, so a stopped run, or another
number of workers, goes on with those that are there.
"""

from __future__ import annotations

import functools
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from cactus_tf.errors import InputError, RunError
from cactus_tf.types import PiecewiseArray
from cactus_tf.utils import files
from cactus_tf.utils.arrays import read_array
from cactus_tf.utils.distribution import Workers

log = logging.getLogger(__name__)

ROWS = 1 << 16
"""Images of one shard."""
_POLL = 0.5  # seconds between two looks for the shards of others
_PATIENCE = 600.0  # seconds without a new shard, beyond three times what one's own took, after which it is made here

Made = np.ndarray | PiecewiseArray
Make = Callable[[str], Made]
"""From the name of a shard to its array."""


class Shards:
    """The shards of an artifact, in a subfolder of its own.

    Args:
      folder: of the artifact.
    """

    def __init__(self, folder: Path):
        self._folder = folder / "shards"

    def share(self, names: Sequence[str], store: Callable[[Sequence[str]], object], workers: Workers) -> None:
        """Makes one worker's part of the shards, and waits for the others'.

        Args:
          names: of all shards.
          store: makes and stores those of the names.
          workers: every W-th shard is this one's.
        """
        own = names[workers.index :: len(workers.addresses)]
        began = time.monotonic()
        store(own)
        patience = _PATIENCE + 3 * (time.monotonic() - began)
        missing, since = self._missing(names), time.monotonic()
        while missing:
            time.sleep(_POLL)
            left = self._missing(missing)
            if len(left) < len(missing):
                since = time.monotonic()
            elif time.monotonic() - since > patience:
                log.warning("%d shards of %s have not appeared, such as %s: making them here",
                            len(left), self._folder.parent, left[-1])  # fmt: skip
                store(left[::-1])  # their worker, if it is only slow, comes from the other end
                if self._missing(left):
                    raise RunError(f"shard {left[-1]} of {self._folder.parent} was made under another name")
                return
            missing = left

    def _missing(self, names: Sequence[str]) -> list[str]:
        return [name for name in names if not self._path(name).exists()]

    def get(self, name: str, make: Make) -> np.ndarray:
        """A shard, as a memory map; made and stored first if it is missing or damaged."""
        whole = self._whole(name)
        if whole is not None:
            return whole
        array = np.asarray(make(name))
        self._folder.mkdir(parents=True, exist_ok=True)
        files.write_atomic(self._path(name), functools.partial(np.save, arr=array, allow_pickle=False))
        return read_array(self._path(name), mapped=True)

    def read_or_make(self, name: str, make: Callable[[], Made]) -> Made:
        """A shard if it is there and whole, else what `make` returns, which is not stored."""
        whole = self._whole(name)
        return make() if whole is None else whole

    def _whole(self, name: str) -> np.ndarray | None:
        """A shard, as a memory map; None if it is missing or damaged."""
        path = self._path(name)
        if path.exists():
            try:
                return read_array(path, mapped=True)
            except InputError:
                log.warning("%s is damaged; making it again", path)
        return None

    def joined(self, names: Sequence[str], rows: int, make: Make) -> PiecewiseArray:
        """The array [rows, dim] of all shards, one after the other; each that is missing is made and stored."""
        first = self.get(names[0], make)

        def pieces() -> Iterator[np.ndarray]:
            left = rows
            for name in names:
                yield (piece := self.get(name, make))
                left -= len(piece)
            if left:
                raise RunError(f"the shards in {self._folder} have {rows - left} rows, not {rows}: delete the folder")

        return PiecewiseArray((rows, *first.shape[1:]), first.dtype, pieces)

    def remove(self) -> None:
        """Removes them, once the artifact is whole."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.npy"
