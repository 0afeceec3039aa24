"""Files below a folder or in a zip archive, in an order that depends on their names alone."""

from __future__ import annotations

import functools
import os
import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cactus_tf.errors import InputError


class UnreadableError(Exception):
    """A file that cannot be used, and why, in a few words."""


class Entry(NamedTuple):
    """A file below a folder or in an archive.

    Attributes:
      root: the folder or archive.
      name: the path below it, with slashes.
      size: bytes.
    """

    root: str
    name: str
    size: int

    def read(self) -> bytes:
        """The bytes.

        Raises:
          UnreadableError: they cannot be had.
        """
        try:
            if os.path.isdir(self.root):
                return Path(self.root, self.name).read_bytes()
            return _archive(self.root).read(self.name)
        except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise UnreadableError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error

    @property
    def stem(self) -> str:
        """The last part of the name without its extension."""
        return PurePosixPath(self.name).stem


class Skipped(NamedTuple):
    """A file or folder that is left out, and why."""

    name: str
    reason: str


class Listing(NamedTuple):
    """What a folder or archive holds.

    Attributes:
      entries: files with one of the wanted extensions, sorted by name.
      skipped: what could not be looked at.
      others: number of files with other extensions.
    """

    entries: list[Entry]
    skipped: list[Skipped]
    others: int


def listing(root: str | Path, extensions: tuple[str, ...]) -> Listing:
    """The files with these extensions (lower-case, with the dot) below a folder or in a zip archive.

    Hidden files are not counted. Symbolic links are followed, but not into a folder that they lie in.

    Raises:
      InputError: neither a folder nor a zip archive, or an archive whose names leave their folder.
    """
    root = Path(root).expanduser()
    skipped: list[Skipped] = []
    if root.is_dir():
        found = list(_below(root, "", (_identity(root.stat()),), skipped))
    elif root.is_file():
        found = _archived(root, skipped)
    else:
        raise InputError(f"{shown(root)} is neither a folder nor a zip archive: name one that is there")
    wanted = [entry for entry in found if entry.name.lower().endswith(extensions)]
    return Listing(sorted(wanted, key=_sort_key), sorted(skipped), len(found) - len(wanted))


def shown(name: str | Path) -> str:
    """A name as it can be printed and written anywhere, whatever bytes it has."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def _sort_key(entry: Entry) -> tuple[str, str]:
    """Composed Unicode first: file systems differ in how they keep accents."""
    return unicodedata.normalize("NFC", entry.name), entry.name


def _below(root: Path, folder: str, above: tuple[tuple[int, int], ...], skipped: list[Skipped]) -> Iterator[Entry]:
    """Regular files below root/folder; `above` identifies the folders that it lies in."""
    try:
        with os.scandir(root / folder) as scanned:
            children = sorted(scanned, key=lambda child: child.name)
    except OSError as error:
        skipped.append(Skipped(shown(folder or root), f"folder cannot be read ({error.strerror})"))
        return
    for child in children:
        name = f"{folder}/{child.name}" if folder else child.name
        if child.name.startswith("."):
            continue
        try:
            found = child.stat()
        except OSError as error:  # a link to nowhere, or in a circle
            skipped.append(Skipped(shown(name), f"cannot be read ({error.strerror})"))
            continue
        if stat.S_ISREG(found.st_mode):
            yield Entry(str(root), name, found.st_size)
        elif stat.S_ISDIR(found.st_mode):
            if _identity(found) in above:
                skipped.append(Skipped(shown(name), "link to a folder that it lies in"))
            else:
                yield from _below(root, name, (*above, _identity(found)), skipped)


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _archived(path: Path, skipped: list[Skipped]) -> list[Entry]:
    """Files of a zip archive; of several with one name the last, as unpacking would leave it."""
    found: dict[str, Entry] = {}
    for member in _archive(str(path)).infolist():
        parts = PurePosixPath(member.filename.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in (parts.parts or ("",))[0]:
            raise InputError(
                f"{shown(path)} holds {shown(member.filename)}, a path that leaves its folder: use another archive"
            )
        if member.is_dir() or any(part.startswith((".", "__MACOSX")) for part in parts.parts):
            continue
        if member.filename in found:
            skipped.append(Skipped(shown(member.filename), "the archive holds a later file of this name"))
        found[member.filename] = Entry(str(path), member.filename, member.file_size)
    return list(found.values())


@functools.lru_cache(8)
def _archive(path: str) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"{shown(path)} is no zip archive, or a damaged one ({error}): get it again") from error
