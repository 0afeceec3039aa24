"""Artifacts: folders of files that all runs share, named by what they depend on."""

from __future__ import annotations

import functools
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config import keys
from cactus_tf.types import PiecewiseArray
from cactus_tf.utils.files import checksum, write_atomic, write_json

log = logging.getLogger(__name__)

_CHECKSUMS = "checksums.json"


class Artifact:
    """A folder of files that depend on exactly `settings`: ROOT/KIND-KEY.

    Arrays are stored by name with a checksum; one that does not match is made again.
    """

    def __init__(self, root: Path, kind: str, settings: Mapping):
        self.folder = root / f"{kind}-{keys.digest(settings)}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        write_json(self.folder / "settings.json", settings)

    def cache(self, name: str, make: Callable[[], np.ndarray | PiecewiseArray]) -> np.ndarray:
        """The array stored as NAME.npy, as a read-only memory map; made and stored first if it is missing."""
        path = self.folder / f"{name}.npy"
        if not self._intact(path):
            made = make()
            write = functools.partial(_write_rows, made) if isinstance(made, PiecewiseArray) else _writer(made)
            write_atomic(path, write)
            self._record(path)
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def has_files(self, names: Sequence[str]) -> bool:
        """Whether every named file exists and matches its checksum."""
        return all(self._intact(self.folder / name) for name in names)

    def record_files(self, names: Sequence[str]) -> None:
        """Records the checksums of files that were just written: they count as complete from now on."""
        for name in names:
            self._record(self.folder / name)

    def files(self) -> list[str]:
        """Names of the recorded files."""
        return sorted(self._checksums())

    def _checksums(self) -> dict:
        path = self.folder / _CHECKSUMS
        try:
            return json.loads(path.read_text())
        except (OSError, ValueError):
            return {}

    def _record(self, path: Path) -> None:
        name = str(path.relative_to(self.folder))
        value = checksum(path)
        with self._lock:
            write_json(self.folder / _CHECKSUMS, {**self._checksums(), name: value})

    def _intact(self, path: Path) -> bool:
        recorded = self._checksums().get(str(path.relative_to(self.folder)))
        if recorded is None:
            return False
        if path.exists() and checksum(path) == recorded:
            return True
        log.warning("%s is missing or damaged; making it again", path)
        return False


def _writer(made: np.ndarray) -> Callable[[Any], None]:
    array = np.asarray(made)
    return lambda file: np.lib.format.write_array(file, array, allow_pickle=False)


def _write_rows(rows: PiecewiseArray, file: Any) -> None:
    """Writes the same file as for the whole array, piece by piece."""
    header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for piece in rows.pieces():
        file.write(np.ascontiguousarray(piece).data)
