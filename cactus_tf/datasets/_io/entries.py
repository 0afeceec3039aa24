"""Files below a folder or in a zip archive, in an order that depends on their names alone."""

from __future__ import annotations

import contextlib
import functools
import lzma
import os
import re
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from cactus_tf.errors import InputError

_MOST_BYTES = 1 << 30  # of a file; more than any picture that is accepted takes, even unpacked
_DAMAGE = (  # what zipfile raises on members and directories that are damaged, locked or of unknown kinds
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error,
    ValueError, KeyError,
)  # fmt: skip


class UnreadableError(Exception):
    """A file that cannot be used, and why, in a few words."""


class Entry(NamedTuple):
    """A file below a folder or in an archive.

    Attributes:
      root: the folder or archive.
      name: the path below it, with slashes.
      size: bytes.
      stamp: changes when the file does: its time in ns, in an archive its checksum.
    """

    root: str
    name: str
    size: int
    stamp: int = 0

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The file, to be read piece by piece.

        Raises:
          UnreadableError: it cannot be had; also from what is read in the block.
        """
        try:
            with self._opened() as file:
                yield file
        except _DAMAGE as error:
            raise UnreadableError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from error

    def read(self) -> bytes:
        """The bytes.

        Raises:
          UnreadableError: they cannot be had, or are more than a gigabyte.
        """
        if self.size > _MOST_BYTES:
            raise UnreadableError(f"has more than {_MOST_BYTES:,} bytes")
        with self.open() as file:
            return file.read()

    def _opened(self) -> IO[bytes]:
        if os.path.isdir(self.root):
            return open(Path(self.root, self.name), "rb")
        return _archive(self.root).open(_members(self.root)[self.name])

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

    Hidden files are not counted. Links are followed, but no folder is read twice, nor one that the root lies in.

    Raises:
      InputError: neither a folder nor a zip archive, or an archive whose names leave their folder.
    """
    root = Path(root).expanduser()
    skipped: list[Skipped] = []
    if os.path.isdir(root):
        found = list(_below(root, skipped))
    elif os.path.isfile(root):
        found = _archived(root, skipped)
    else:
        raise InputError(f"{shown(root)} is neither a folder nor a zip archive: name one that is there")
    wanted = [entry for entry in found if entry.name.lower().endswith(extensions)]
    return Listing(sorted(wanted, key=_sort_key), sorted(skipped), len(found) - len(wanted))


def shown(name: str | Path) -> str:
    """A name as it can be printed and written anywhere, on one line, whatever characters or bytes it has."""
    text = str(name)
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    """Control characters, ends of lines and bytes that are no UTF-8 as escapes."""
    hidden = unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
    return character.encode("unicode_escape").decode() if hidden else character


def _sort_key(entry: Entry) -> tuple[str, str]:
    """Composed Unicode first: file systems differ in how they keep accents."""
    return unicodedata.normalize("NFC", entry.name), entry.name


def _below(root: Path, skipped: list[Skipped]) -> Iterator[Entry]:
    """Regular files below a folder, each folder read once: those that lie in it before those that links lead to."""
    around = {_identity(folder.stat()) for folder in _with_parents(root)}
    seen, todo = set(around), [""]
    links: list[tuple[str, tuple[int, int]]] = []
    while todo or links:
        if not todo:
            name, identity = links.pop(links.index(min(links)))
            if identity in seen:
                why = "that it lies in" if identity in around else "that is read already"
                skipped.append(Skipped(shown(name), f"link to a folder {why}"))
                continue
            seen.add(identity)
            todo.append(name)
        for name, found, is_link in _children(root, todo.pop(), skipped):
            if stat.S_ISREG(found.st_mode):
                yield Entry(str(root), name, found.st_size, found.st_mtime_ns)
            elif stat.S_ISDIR(found.st_mode) and (is_link or _identity(found) in seen):
                links.append((name, _identity(found)))
            elif stat.S_ISDIR(found.st_mode):
                seen.add(_identity(found))
                todo.append(name)


def _with_parents(root: Path) -> Iterator[Path]:
    """A folder and all that it lies in."""
    real = root.resolve()
    yield from (real, *real.parents)


def _children(root: Path, folder: str, skipped: list[Skipped]) -> Iterator[tuple[str, os.stat_result, bool]]:
    """What a folder holds and is not hidden, links followed; and whether it is a link."""
    try:
        with os.scandir(root / folder) as scanned:
            children = [child for child in scanned if not child.name.startswith(".")]
    except OSError as error:
        skipped.append(Skipped(shown(folder or root), f"folder cannot be read ({error.strerror})"))
        return
    for child in children:
        name = f"{folder}/{child.name}" if folder else child.name
        try:
            yield name, child.stat(), child.is_symlink()
        except OSError as error:  # a link to nowhere, or in a circle
            skipped.append(Skipped(shown(name), f"cannot be read ({error.strerror})"))


def _identity(found: os.stat_result) -> tuple[int, int]:
    return found.st_dev, found.st_ino


def _archived(path: Path, skipped: list[Skipped]) -> list[Entry]:
    """Files of a zip archive; of several with one name the last, as unpacking would leave it."""
    last = _members(str(path))
    for member in _archive(str(path)).infolist():
        name = _slashed(member)
        if PurePosixPath(name).is_absolute() or ".." in name.split("/") or re.match("[A-Za-z]:", name):
            raise InputError(
                f"{shown(path)} holds {shown(member.filename)}, a path that leaves its folder: use another archive"
            )
        if name in last and last[name] is not member:
            skipped.append(Skipped(shown(name), "the archive holds a later file of this name"))
    return [Entry(str(path), name, member.file_size, member.CRC) for name, member in last.items()]


def _members(path: str) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive that are not hidden, by name; of several with one name the last."""
    return _opened(path, *_version(path))[1]


def _archive(path: str) -> zipfile.ZipFile:
    return _opened(path, *_version(path))[0]


def _version(path: str) -> tuple[int, ...]:
    found = os.stat(path)
    return *_identity(found), found.st_size, found.st_mtime_ns


@functools.lru_cache(8)
def _opened(path: str, *version: int) -> tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]:
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGE as error:
        raise InputError(
            f"{shown(path)} is neither a folder nor a whole zip archive ({error}): unpack it and name the folder"
        ) from error
    files = [member for member in archive.infolist() if not member.is_dir()]
    named = {_slashed(member): member for member in files}
    hidden = (".", "__MACOSX")
    return archive, {n: m for n, m in named.items() if not any(part.startswith(hidden) for part in n.split("/"))}


def _slashed(member: zipfile.ZipInfo) -> str:
    """Some programs for Windows write backslashes."""
    return member.filename.replace("\\", "/")
