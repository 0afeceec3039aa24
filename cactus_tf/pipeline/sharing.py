"""The workers of a run decode files together, if the chief finds that there is something to decode."""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable, Sequence

import numpy as np

from cactus_tf.runs.shards import Shards
from cactus_tf.utils import progress
from cactus_tf.utils.distribution import Distribution
from cactus_tf.utils.threads import parallel_map

log = logging.getLogger(__name__)

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
            with contextlib.suppress(_DoneError):
                load()
                self._distribution.differing(b"")  # nothing to decode here, other than at the chief

    def end(self) -> None:
        """Lets the others go on if the chief had nothing to decode."""
        if not self._asked:
            self._asked = True
            self._distribution.of_all(0)

    def __call__(self, names: Sequence[str], make: _Make) -> _Make | None:
        """As `contracts.Share`."""
        workers = self._distribution.workers
        if workers.is_chief:
            if self._asked:
                return None
            self._asked = True
            self._distribution.of_all(1)
        other = self._distribution.differing("\n".join(names).encode())
        if other is None:
            own = len(names[workers.index :: len(workers.addresses)])
            log.info("prepare: %d of %d shards are decoded here, the rest by the other workers", own, len(names))
            self._shards.share(names, functools.partial(self._store, make), workers)
        else:
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
