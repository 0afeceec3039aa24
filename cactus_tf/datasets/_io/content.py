"""Pictures and folders by the parts of their paths."""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

from cactus_tf.datasets._io.entries import Entry, shown
from cactus_tf.datasets._io.listing import Listing


class File(NamedTuple):
    """A picture, and the parts of its path in composed Unicode."""

    parts: tuple[str, ...]
    entry: Entry

    def below(self) -> File:
        """The same without its top folder."""
        return File(self.parts[1:], self.entry)


class Content(NamedTuple):
    """Pictures, and the paths of all folders in composed Unicode."""

    files: list[File]
    folders: set[tuple[str, ...]]

    def inside(self, top: str) -> Content:
        """What lies in one of the top folders, without that folder."""
        files = [file.below() for file in self.files if len(file.parts) > 1 and file.parts[0] == top]
        return Content(files, {parts[1:] for parts in self.folders if len(parts) > 1 and parts[0] == top})

    @property
    def tops(self) -> set[str]:
        """The top folders that hold pictures."""
        return {file.parts[0] for file in self.files if len(file.parts) > 1}

    @property
    def empty(self) -> list[str]:
        """The top folders without pictures, by name."""
        return sorted(shown(name) for name in {parts[0] for parts in self.folders} - self.tops)


def content_of(listed: Listing) -> Content:
    """The pictures and folders by the parts of their paths."""
    files = [File(_parts(entry.name), entry) for entry in listed.entries]
    return Content(files, set(map(_parts, listed.folders)))


def _parts(name: str) -> tuple[str, ...]:
    return tuple(unicodedata.normalize("NFC", name).split("/"))


def folder_around(content: Content) -> str | None:
    """The one top folder that holds all pictures, if there is one."""
    single = len(content.tops) == 1 and all(len(file.parts) > 1 for file in content.files)
    return content.tops.pop() if single else None


def folder_around_classes(content: Content) -> str | None:
    """The one folder around all class folders; a class that alone has pictures is no such folder."""
    wrapper, deep = folder_around(content), [len(file.parts) > 2 for file in content.files]
    alone = {parts[0] for parts in content.folders} == {wrapper}
    return wrapper if all(deep) or (any(deep) and alone) else None
