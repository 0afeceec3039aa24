"""What the workers of a run share: its folders, and the files to decode, if the chief finds that there are any."""

from __future__ import annotations

import contextlib
import functools
import logging
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from cactus_tf.errors import InputError
from cactus_tf.runs.shards import Shards
from cactus_tf.utils import files, progress
from cactus_tf.utils.distribution import Distribution
from cactus_tf.utils.threads import parallel_map

log = logging.getLogger(__name__)

_APPEARS, _POLL = 10.0, 0.5  # seconds: in which a file of another machine appears; between two looks for it

_Make = Callable[[str], np.ndarray]


class _DoneError(Exception):
    """This worker has made its shards; the chief goes on with them."""


class SharedDecoding:
    """What a data set gets as `DataContext.share`.

    Every worker exchanges one number with the others, in which the chief says whether it has files to decode. If it
    has, all list the files, compare their lists, and decode every W-th shard.

    Args:
      shards: of the prepared data.
      distribution: the workers.
    """

    def __init__(self, shards: Shards, distribution: Distribution):
        self._shards, self._distribution = shards, distribution
        self._asked = False

    def help(self, load: Callable[[], object]) -> None:
        """Does what another worker than the chief does.

        Args:
          load: loads the data set without storing anything; it ends as soon as this worker's shards are made.
        """
        if self._distribution.of_all(0)[0]:
            try:
                load()
            except _DoneError:
                return
            except InputError as error:
                if self._asked:
                    raise
                log.warning("prepare: %s; this worker decodes nothing", error)
            self._distribution.differing(b"")  # nothing to decode here, other than at the chief

    def end(self) -> None:
        """Lets the others go on if the chief had nothing to decode."""
        if not self._asked:
            self._asked = True
            self._distribution.of_all(0)

    def __call__(self, names: Sequence[str], make: _Make) -> _Make | None:
        """As `contracts.Share`."""
        workers = self._distribution.workers
        if self._asked:
            return None
        self._asked = True
        if workers.is_chief:
            self._distribution.of_all(1)
        other = self._distribution.differing("\n".join(names).encode())
        if other is None and names:
            own = len(names[workers.index :: len(workers.addresses)])
            log.info("prepare: %d of %d shards are decoded here, the rest by the other workers", own, len(names))
            self._shards.share(names, functools.partial(self._store, make), workers)
        elif other is not None:
            log.warning("the worker at %s has files of other names, sizes or times: the chief decodes alone", other)
        if not workers.is_chief:
            raise _DoneError
        return functools.partial(self._shards.get, make=make) if other is None else None

    def _store(self, make: _Make, names: Sequence[str]) -> None:
        def store(i: int) -> None:
            self._shards.get(names[i], make)

        bar = functools.partial(progress.Bar, desc="decode", unit="shard", delay=progress.DELAY)
        if names:
            parallel_map(store, len(names), watch=bar)


def check_shared(folder: Path, flag: str, distribution: Distribution) -> None:
    """Checks that all workers see the same folder: the chief keeps a file there until the others have looked for it.

    Args:
      folder: of the chief, and what it is called here.
      flag: that names it.
      distribution: all workers call it.

    Raises:
      InputError: one does not; names it.
      WorkerLostError: another worker ended.
    """
    workers = distribution.workers
    if not workers.others:
        return
    (number, *_) = distribution.of_all(uuid.uuid4().int >> 65)  # the chief's, of 63 bits
    path = folder / f"shared.{number:x}"
    with files.present(path) if workers.is_chief else contextlib.nullcontext():
        distribution.barrier()
        seen = distribution.of_all(int(_appears(files.temporary_name(path))))
    blind = [address for address, sees in zip(workers.addresses, seen, strict=True) if not sees]
    if blind:
        raise InputError(
            f"the worker at {blind[0]} does not see what the chief at {workers.addresses[0]} writes to "
            f"{flag} (here {folder.resolve()}): name a folder on a file system that all machines share"
        )


def _appears(path: Path) -> bool:
    """Whether a file is there, or comes."""
    last = time.monotonic() + _APPEARS
    while not path.exists():
        if time.monotonic() > last:
            return False
        time.sleep(_POLL)
    return True
