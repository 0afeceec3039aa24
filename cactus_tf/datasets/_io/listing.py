"""The files below a folder or in a zip archive, in an order that depends on their names alone."""

from __future__ import annotations

import os
import stat
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from cactus_tf.datasets._io import archives, picture_formats, system_files
from cactus_tf.datasets._io.entries import Contents, Entry, Skipped, shown
from cactus_tf.errors import InputError
from cactus_tf.utils.paths import expanded

_NAMED = 20  # extensions, or kinds of hidden files, that a message names


class Listing(NamedTuple):
    """What a folder or archive holds.

    Attributes:
      entries: files with one of the wanted extensions, sorted by name.
      skipped: what could not be looked at.
      others: names of the files with other extensions, sorted.
      folders: all folders below, whatever they hold.
      system: what is hidden or made by a system, and is not looked at.
    """

    entries: list[Entry]
    skipped: list[Skipped]
    others: list[str]
    folders: set[str]
    system: list[str]

    @property
    def passed_over(self) -> str:
        """The files with other extensions, in words; "" if there are none."""
        number = f"{len(self.others):,} files with other extensions are passed over"
        return f"{number}: {by_extension(self.others)}" if self.others else ""

    @property
    def hidden(self) -> str:
        """What is hidden or a system's, in words; "" if nothing is."""
        kinds = Counter(system_files.kind(name.rpartition("/")[2]) for name in self.system)
        names = [f"{shown(kind)} ({number:,})" if number > 1 else shown(kind) for kind, number in kinds.most_common()]
        number = f"{len(self.system):,} hidden or system files and folders are not looked at"
        return f"{number}: {_some(names)}" if self.system else ""

    def other_files(self, place: str) -> list[Skipped]:
        """One entry for all files with other extensions, if there are any."""
        return [Skipped(shown(place), f"holds other files: {by_extension(self.others)}")] if self.others else []


def by_extension(names: Sequence[str]) -> str:
    """Files counted by extension, the most frequent first, with a name of each: "3 .txt, such as cat/a.txt"."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(PurePosixPath(name).suffix.lower(), []).append(name)
    return _some([_kind(kind, kinds[kind]) for kind in sorted(kinds, key=lambda kind: (-len(kinds[kind]), kind))])


def _kind(extension: str, names: Sequence[str]) -> str:
    missing = picture_formats.needs(extension)
    remedy = f" (read only with {missing})" if missing else ""
    return f"{len(names):,} {shown(extension) or 'without extension'}{remedy}, such as {shown(names[0])}"


def _some(kinds: Sequence[str]) -> str:
    more = f"; and {len(kinds) - _NAMED:,} more kinds" if len(kinds) > _NAMED else ""
    return "; ".join(kinds[:_NAMED]) + more


def listing(root: str | Path, extensions: tuple[str, ...]) -> Listing:
    """The files with these extensions (lower case, with the dot) that are not hidden and not a system's.

    Links are followed, but no folder is read twice, nor one that contains the root.
    """
    root = expanded(root)
    if os.path.isdir(root):
        found = _below(root)
    elif os.path.isfile(root):
        found = archives.contents(root)
    else:
        raise InputError(f"{shown(root)} is neither a folder nor a zip archive: name an existing one")
    wanted = [entry for entry in found.files if entry.name.lower().endswith(extensions)]
    others = {entry.name for entry in found.files} - {entry.name for entry in wanted}
    entries = sorted(wanted, key=_sort_key)
    return Listing(entries, sorted(found.skipped), sorted(others), found.folders, sorted(found.system))


def _sort_key(entry: Entry) -> tuple[str, str]:
    """Composed Unicode first: file systems differ in how they store accents."""
    return unicodedata.normalize("NFC", entry.name), entry.name


def _below(root: Path) -> Contents:
    """What lies below a folder; real subfolders come before linked ones, so each is read by its own name."""
    real, found = root.resolve(), Contents.empty()
    above = {_identity(folder.stat()) for folder in (real, *real.parents)}
    seen, todo = set(above), [""]
    links: list[tuple[str, tuple[int, int]]] = []
    while todo or links:
        if not todo:
            name, identity = links.pop(links.index(min(links)))
            if identity in seen:
                why = "that contains it" if identity in above else "that is already read"
                found.skipped.append(Skipped(shown(name), f"link to a folder {why}"))
                continue
            seen.add(identity)
            todo.append(name)
        for name, status, is_link in _children(root, todo.pop(), found):
            if stat.S_ISREG(status.st_mode):
                found.files.append(Entry(str(root), name, status.st_size, status.st_mtime_ns))
                continue
            if not stat.S_ISDIR(status.st_mode):
                found.skipped.append(Skipped(shown(name), "is neither a file nor a folder"))
                continue
            found.folders.add(name)
            if is_link or _identity(status) in seen:
                links.append((name, _identity(status)))
            else:
                seen.add(_identity(status))
                todo.append(name)
    return found


def _children(root: Path, folder: str, found: Contents) -> Iterator[tuple[str, os.stat_result, bool]]:
    """Name, status behind links, and whether it is a link, of everything in a folder that is not a system's."""
    try:
        with os.scandir(root / folder) as scanned:
            children = list(scanned)
    except OSError as error:
        found.skipped.append(Skipped(shown(folder or root), f"folder cannot be read ({error.strerror})"))
        return
    for child in children:
        name = f"{folder}/{child.name}" if folder else child.name
        if system_files.is_system(child.name):
            found.system.add(name)
            continue
        try:
            yield name, child.stat(), child.is_symlink()
        except OSError as error:  # a broken or circular link
            found.skipped.append(Skipped(shown(name), f"cannot be read ({error.strerror})"))


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
