"""Standard output and error: silence at the level of file descriptors, and characters that a terminal lacks."""

from __future__ import annotations

import codecs
import contextlib
import io
import logging
import os
import sys
import threading
from collections.abc import Iterator

_LOCK = threading.RLock()  # the descriptor belongs to the whole process
_PLAIN = {"±": "+/-", "…": "..."}


class ReaderLeft(KeyboardInterrupt):
    """The program that reads the output, such as `head`, has ended; the command stops as after Ctrl-C."""


@contextlib.contextmanager
def without_stderr() -> Iterator[None]:
    """Discards what the process writes to standard error, C++ libraries included."""
    with _LOCK:
        try:
            original = os.dup(2)
        except OSError:  # a program without a console has none
            yield
            return
        try:
            with open(os.devnull, "wb") as sink:
                os.dup2(sink.fileno(), 2)
            yield
        finally:
            os.dup2(original, 2)
            os.close(original)


@contextlib.contextmanager
def any_character() -> Iterator[None]:
    """In its block, standard output and error take every character: one that their encoding lacks is spelled out."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    earlier = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="cactus_tf.spelled_out")
    try:
        yield
    finally:
        for stream, errors in zip(streams, earlier, strict=True):
            if not stream.closed:
                stream.reconfigure(errors=errors)


def for_lines(handler: logging.StreamHandler) -> logging.StreamHandler:
    """The handler, changed to print its lines above progress bars and to raise ReaderLeft if nobody reads them.

    Only the main thread raises; lines of other threads are dropped.
    """
    from tqdm import tqdm

    emit, report = handler.emit, handler.handleError

    def above(record: logging.LogRecord) -> None:
        with tqdm.external_write_mode():
            emit(record)

    def leave_or_report(record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            report(record)
        elif threading.current_thread() is threading.main_thread():
            drop_output()
            raise ReaderLeft

    handler.emit, handler.handleError = above, leave_or_report  # type: ignore[method-assign]
    return handler


def drop_output() -> None:
    """Discards what is written to standard output from now on, what is still buffered included."""
    with contextlib.suppress(OSError, ValueError), open(os.devnull, "wb") as sink:
        os.dup2(sink.fileno(), sys.stdout.fileno())


def _spelled_out(error: UnicodeError) -> tuple[str, int]:
    """An error handler of codecs: "+/-" for "±", and "\\xe4" for "ä"."""
    assert isinstance(error, UnicodeEncodeError)
    characters = error.object[error.start : error.end]
    plain = [_PLAIN.get(c) or c.encode("ascii", "backslashreplace").decode() for c in characters]
    return "".join(plain), error.end


codecs.register_error("cactus_tf.spelled_out", _spelled_out)
