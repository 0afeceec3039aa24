"""Memory of this process and its children, from /proc (Linux)."""

import contextlib
import glob
import os
import threading
from pathlib import Path

KINDS = {"anonymous": "RssAnon", "all": "VmRSS"}


def processes() -> list[int]:
    """This process and its children, without forks that still share its memory before they execute another program."""
    children: list[int] = []
    for path in glob.glob("/proc/self/task/*/children"):
        with contextlib.suppress(OSError):  # the thread has exited
            children += map(int, Path(path).read_text().split())
    own = command(os.getpid())
    return [os.getpid(), *(child for child in children if command(child) not in (own, b""))]


def command(process: int) -> bytes:
    """The command line of a process; empty if it has exited."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def resident() -> dict[str, int]:
    """Resident bytes: "anonymous" memory has no file behind it, "all" includes pages of memory maps."""
    total = dict.fromkeys(KINDS, 0)
    for process in processes():
        with contextlib.suppress(OSError):  # it has exited
            lines = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
            for kind, name in KINDS.items():
                total[kind] += 1024 * int(lines.get(name, "0 kB").split()[0])
    return total


class Peak:
    """Context manager that records the peak of `resident`, sampled 50 times a second."""

    def __enter__(self):
        self.bytes = resident()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            now = resident()
            self.bytes = {kind: max(value, now[kind]) for kind, value in self.bytes.items()}
