"""Checksums of the files of a folder: recorded when a file is written, checked before it is used again."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cactus_tf.errors import InputError, RunError
from cactus_tf.utils import files
from cactus_tf.utils.paths import is_below

log = logging.getLogger(__name__)

_SAMPLED, _WHOLE = "checksums.json", "checksums_whole.json"


class Checksums:
    """CRC-32 of the files of a folder, by name.

    Files up to 256 MiB are always verified whole. A larger one is verified whole if its size or modification time
    is not the recorded one, or with `verify`; otherwise samples of it are, which takes at most a second.

    Args:
      folder: of the files; gets checksums.json and, for large files, checksums_whole.json.
      verify: whether large files are always verified whole.
    """

    def __init__(self, folder: Path, verify: bool = False):
        self.folder, self._verify = folder, verify
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """The recorded files."""
        return sorted(self._read(_SAMPLED))

    def record(self, *names: str) -> None:
        """Records the checksums of files that were just written: they count as complete from now on, all or none."""
        values = {name: files.checksum(self.folder / name) for name in names}
        large = [name for name in names if files.is_sampled(self.folder / name)]
        wholes = {name: _Whole(files.whole_checksum(self.folder / name), *_stamp(self.folder / name)) for name in large}
        with self._lock:
            if wholes:
                self._write_whole(wholes)
            files.write_json(self.folder / _SAMPLED, {**self._read(_SAMPLED), **values})

    def is_recorded(self, name: str) -> bool:
        """Whether the file was ever complete."""
        return name in self._read(_SAMPLED)

    def is_intact(self, name: str) -> bool:
        """Whether a recorded file exists and has its checksum."""
        path = self.folder / name
        try:
            return (
                is_below(name)
                and path.is_file()
                and files.checksum(path) == self._read(_SAMPLED).get(name)
                and self._is_whole(name)
            )
        except OSError:
            return False

    def damaged(self) -> list[str]:
        """The recorded files that are missing or damaged."""
        return [name for name in self.names() if not self.is_intact(name)]

    def _is_whole(self, name: str) -> bool:
        """Whether a large file has the checksum of all its bytes, as far as that has to be verified."""
        path = self.folder / name
        if not files.is_sampled(path):
            return True
        recorded = _Whole.of(self._read(_WHOLE).get(name))
        if recorded and recorded.stamp == _stamp(path) and not self._verify:
            return True
        log.info("verifying %s whole", path)
        found = _Whole(files.whole_checksum(path), *_stamp(path))
        if recorded is None:
            log.info("%s has no checksum of all its bytes, as an earlier release wrote it; recording it now", path)
        elif recorded.crc32 != found.crc32:
            return False
        with self._lock, contextlib.suppress(InputError, RunError):  # the artifacts may be read-only
            self._write_whole({name: found})
        return True

    def _write_whole(self, wholes: Mapping[str, _Whole]) -> None:
        values = {name: dataclasses.asdict(whole) for name, whole in wholes.items()}
        files.write_json(self.folder / _WHOLE, {**self._read(_WHOLE), **values})

    def _read(self, name: str) -> dict[str, Any]:
        return files.read_json_if_whole(self.folder / name, dict, {})


@dataclasses.dataclass(frozen=True)
class _Whole:
    """What is recorded of a large file: CRC-32 of all its bytes, its size and its modification time in ns."""

    crc32: int
    size: int
    modified: int

    @classmethod
    def of(cls, saved: Any) -> _Whole | None:
        """From JSON; None where it holds something else."""
        names = {field.name for field in dataclasses.fields(cls)}
        whole = isinstance(saved, dict) and saved.keys() == names and all(type(v) is int for v in saved.values())
        return cls(**saved) if whole else None

    @property
    def stamp(self) -> tuple[int, int]:
        """Size and modification time."""
        return self.size, self.modified


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
