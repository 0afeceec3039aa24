"""What listings are made of: files, and what is left out."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from cactus_tf.utils.text import printable

MAX_BYTES = 1 << 30  # of a file; an uncompressed image of the largest accepted size takes less


class UnreadableError(Exception):
    """A file cannot be used; the message says why in a few words."""


class Entry(NamedTuple):
    """A file below a folder or in an archive.

    Attributes:
      root: the folder or archive.
      name: path below it, with slashes.
      size: bytes, unpacked.
      stamp: modification time in ns; in an archive the checksum (CRC-32).
      archived: whether `root` is a zip archive, which is unpacked before the file can be read.
    """

    root: str
    name: str
    size: int
    stamp: int = 0
    archived: bool = False

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The open file; errors of the file system in the block become `UnreadableError`."""
        try:
            with open(Path(self.root, self.name), "rb") as file:
                yield file
        except (OSError, ValueError) as error:
            raise UnreadableError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error

    def read(self) -> bytes:
        """All bytes; `UnreadableError` where there are more than a gigabyte."""
        if self.size > MAX_BYTES:
            raise UnreadableError(f"has more than {MAX_BYTES:,} bytes")
        with self.open() as file:
            return file.read()

    @property
    def stem(self) -> str:
        """The last part of the name without its extension."""
        return PurePosixPath(self.name).stem


class Skipped(NamedTuple):
    """A file or folder that is left out, and why."""

    name: str
    reason: str


class Contents(NamedTuple):
    """What lies below a folder or in an archive, whatever its extension.

    Attributes:
      files: in any order.
      folders: paths with slashes.
      skipped: what could not be looked at.
      system: paths of what is hidden or made by a system; what such a folder holds is not looked at.
    """

    files: list[Entry]
    folders: set[str]
    skipped: list[Skipped]
    system: set[str]

    @classmethod
    def empty(cls) -> Contents:
        """Nothing, to be filled."""
        return cls([], set(), [], set())


def shown(name: str | Path) -> str:
    """A name on one printable line: control characters, line ends and bytes outside UTF-8 as escapes."""
    return printable(str(name))
