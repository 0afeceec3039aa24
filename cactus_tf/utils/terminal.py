"""Standard error at the level of file descriptors."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def without_stderr() -> Iterator[None]:
    """Discards what the process writes to standard error, C++ libraries included."""
    original = os.dup(2)
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
