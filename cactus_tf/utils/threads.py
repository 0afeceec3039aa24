"""Number of cores, and a map over threads."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

T = TypeVar("T")


def cores() -> int:
    """Number of cores that this process may run on: its affinity mask where the system has one."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def parallel_map(
    call: Callable[[int], T],
    number: int,
    watch: Callable[[Sequence[Future[T]]], Iterable[Future[T]]] = iter,
) -> list[T]:
    """[call(0), call(1), ...], one call per core at a time; BLAS and OpenMP get one thread per call.

    One thread per call fixes the order of sums, and is faster than many threads for one call where calls are small.

    Args:
      call: function of the number of the call; NumPy and scikit-learn release the interpreter lock in it.
      number: of calls.
      watch: wraps the sequence of futures, such as a progress bar.
    """
    limit = functools.partial(threadpool_limits, 1)  # OpenMP counts threads per thread
    with limit():
        pool = ThreadPoolExecutor(min(cores(), number), initializer=limit)
        futures = [pool.submit(call, i) for i in range(number)]
        try:
            return [future.result() for future in watch(futures)]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C, nobody waits for calls that still run
