"""A thread beside a command: it breaks silence, acknowledges signals, and ends a process that does not stop."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NoReturn

from cactus_tf.utils import progress
from cactus_tf.utils.text import duration

log = logging.getLogger("cactus_tf")

SILENCE = 60.0
"""Seconds after which a line is due in a log; on a terminal only if no bar is shown."""
GRACE = 4.0
"""Seconds that a command has to stop after a signal. A training step may take longer; its end saves a checkpoint."""


on_end: list[Callable[[], None]] = []
"""What to do before a process is ended in the middle of its work; each takes no time to speak of."""


@contextlib.contextmanager
def watching(stopped: str, codes: Mapping[int, int] | None = None) -> Iterator[None]:
    """Watches over the work in the `with` block.

    Args:
      stopped: what to say if the process has to be ended.
      codes: exit code by signal, for a process that runs nothing else and may be ended; None: it may not.
    """
    with _Watchdog(stopped, codes or {}).listening():
        yield


def end_process(code: int) -> NoReturn:
    """Ends the process at once, without waiting for threads that still compute."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


class LastLine(logging.Handler):
    """Records when a line was last logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.time = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Records the time."""
        self.time = time.monotonic()


class _Watchdog:
    """The thread and what it listens to: a socket for signals, a log handler for lines."""

    def __init__(self, stopped: str, codes: Mapping[int, int]):
        self._stopped, self._codes = stopped, codes
        self._signaled = 0.0
        self._code: int | None = None
        self._last_line = LastLine()
        self._inbox, self._outbox = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
        self._over = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Runs the thread; hears signals only in the main thread, where Python delivers them."""
        self._outbox.setblocking(False)
        in_main = threading.current_thread() is threading.main_thread()
        before = signal.set_wakeup_fd(self._outbox.fileno(), warn_on_full_buffer=False) if in_main else -1
        log.addHandler(self._last_line)
        self._thread.start()
        try:
            yield
        finally:
            self._over = True
            if in_main:
                signal.set_wakeup_fd(before)
            log.removeHandler(self._last_line)
            self._outbox.close()  # wakes the thread
            self._thread.join()
            self._inbox.close()

    def _run(self) -> None:
        while not self._over:
            ready, _, _ = select.select([self._inbox], [], [], 1.0)
            received = self._inbox.recv(64) if ready else b""
            if self._over:
                return
            number = next((n for n in (signal.SIGINT, signal.SIGTERM) if n in received), None)
            if number is not None and not self._signaled:
                self._acknowledge(number)
            if self._signaled and time.monotonic() - self._signaled > GRACE:
                self._end()
            elif not self._signaled and self._silent() > SILENCE:
                self._speak()

    def _acknowledge(self, number: int) -> None:
        self._signaled, self._code = time.monotonic(), self._codes.get(number)
        log.warning("stopping%s", " after this step" if _training() else "")

    def _speak(self) -> None:
        if any(bar.shown for bar in progress.open_bars):
            return
        if progress.open_bars:
            log.info("%s", progress.open_bars[-1].line())
        else:
            name = progress.stages[-1] if progress.stages else "start"
            log.info("%s: still working, %s since the last line", name, duration(self._silent()))

    def _silent(self) -> float:
        return time.monotonic() - self._last_line.time

    def _end(self) -> None:
        """Ends the process in the middle of its work; files are renamed into place, so none is half-written."""
        if self._code is None or _training():
            return
        for act in [*on_end]:
            with contextlib.suppress(Exception):
                act()
        sys.stderr.write(self._stopped + "\n")
        end_process(self._code)


def _training() -> bool:
    """Whether a training step runs, at whose end a checkpoint is written."""
    return bool(progress.open_bars) and progress.open_bars[-1].unit == "step"
