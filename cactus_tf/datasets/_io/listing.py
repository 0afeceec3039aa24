"""The files below a folder or in a zip archive, in an order that depends on their names alone."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cactus_tf.datasets._io import archives
from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.errors import InputError


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
    """The files with these extensions (lower case, with the dot) that are not hidden.

    Links are followed, but no folder is read twice, nor one that contains the root.
    """
    root = Path(root).expanduser()
    skipped: list[Skipped] = []
    if os.path.isdir(root):
        entries = list(_below(root, skipped))
    elif os.path.isfile(root):
        entries, skipped = archives.entries(root)
    else:
        raise InputError(f"{shown(root)} is neither a folder nor a zip archive: name an existing one")
    wanted = [entry for entry in entries if entry.name.lower().endswith(extensions)]
    return Listing(sorted(wanted, key=_sort_key), sorted(skipped), len(entries) - len(wanted))


def _sort_key(entry: Entry) -> tuple[str, str]:
    """Composed Unicode first: file systems differ in how they store accents."""
    return unicodedata.normalize("NFC", entry.name), entry.name


def _below(root: Path, skipped: list[Skipped]) -> Iterator[Entry]:
    """Regular files below a folder; real subfolders come before linked ones, so each is read by its own name."""
    real = root.resolve()
    above = {_identity(folder.stat()) for folder in (real, *real.parents)}
    seen, todo = set(above), [""]
    links: list[tuple[str, tuple[int, int]]] = []
    while todo or links:
        if not todo:
            name, identity = links.pop(links.index(min(links)))
            if identity in seen:
                why = "that contains it" if identity in above else "that is already read"
                skipped.append(Skipped(shown(name), f"link to a folder {why}"))
                continue
            seen.add(identity)
            todo.append(name)
        for name, status, is_link in _children(root, todo.pop(), skipped):
            if stat.S_ISREG(status.st_mode):
                yield Entry(str(root), name, status.st_size, status.st_mtime_ns)
            elif stat.S_ISDIR(status.st_mode) and (is_link or _identity(status) in seen):
                links.append((name, _identity(status)))
            elif stat.S_ISDIR(status.st_mode):
                seen.add(_identity(status))
                todo.append(name)


def _children(root: Path, folder: str, skipped: list[Skipped]) -> Iterator[tuple[str, os.stat_result, bool]]:
    """Name, status behind links, and whether it is a link, of everything in a folder that is not hidden."""
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
        except OSError as error:  # a broken or circular link
            skipped.append(Skipped(shown(name), f"cannot be read ({error.strerror})"))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
