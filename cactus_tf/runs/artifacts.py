"""Artifacts: folders of files that all runs share, named by what they depend on."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config import keys
from cactus_tf.errors import InputError
from cactus_tf.runs.checksums import Checksums
from cactus_tf.types import PiecewiseArray
from cactus_tf.utils.arrays import read_array
from cactus_tf.utils.files import write_atomic, write_json

log = logging.getLogger(__name__)

RESTORE = "restore the artifacts folder, or run the run's command again, which makes it again"
"""What to do about a missing or damaged file of an artifact."""


class Artifact:
    """A folder of files that depend on exactly `settings`: ROOT/KIND-KEY.

    Arrays are stored by name with a checksum; one that does not match is made again.

    Args:
      root: of all artifacts.
      kind, settings: what it is, and what it depends on.
      verify: whether large files are verified whole; see `Checksums`.
    """

    def __init__(self, root: Path, kind: str, settings: Mapping, verify: bool = False):
        self.folder = root / f"{kind}-{keys.digest(settings)}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._checksums = Checksums(self.folder, verify)
        if not (self.folder / "settings.json").is_file():
            write_json(self.folder / "settings.json", settings)

    def cache(self, name: str, make: Callable[[], np.ndarray | PiecewiseArray]) -> np.ndarray:
        """The array stored as NAME.npy, as a read-only memory map; made and stored first if it is missing."""
        file = f"{name}.npy"
        if not self.has_files([file]):
            made = make()
            write = functools.partial(_write_rows, made) if isinstance(made, PiecewiseArray) else _writer(made)
            write_atomic(self.folder / file, write)
            self._checksums.record(file)
        return read_array(self.folder / file, mapped=True)

    def has_files(self, names: Sequence[str]) -> bool:
        """Whether every named file exists and matches its checksum."""
        recorded = [name for name in names if self._checksums.is_recorded(name)]
        damaged = [name for name in recorded if not self._checksums.is_intact(name)]
        for name in damaged:
            log.warning("%s is missing or damaged; making it again", self.folder / name)
        return len(recorded) == len(names) and not damaged

    def record_files(self, names: Sequence[str]) -> None:
        """Records the checksums of files that were just written: they count as complete from now on, all or none."""
        self._checksums.record(*names)

    def files(self) -> list[str]:
        """Names of the recorded files."""
        return self._checksums.names()


def check_folder(folder: Path) -> None:
    """Checks every recorded file of an artifact that is used without its settings.

    Raises:
      InputError: one is missing or damaged.
    """
    damaged = Checksums(folder).damaged()
    if damaged:
        raise InputError(f"{folder / damaged[0]} is missing or damaged: {RESTORE}")


def stored_array(path: Path) -> np.ndarray:
    """An array of an artifact that is used without its settings, as a read-only memory map.

    Raises:
      InputError: it is missing or damaged.
    """
    checksums = Checksums(path.parent)
    if checksums.is_recorded(path.name) and not checksums.is_intact(path.name):
        raise InputError(f"{path} is missing or damaged: {RESTORE}")
    return read_array(path, mapped=True, remedy=RESTORE)


def _writer(made: np.ndarray) -> Callable[[Any], None]:
    array = np.asarray(made)
    return lambda file: np.lib.format.write_array(file, array, allow_pickle=False)


def _write_rows(rows: PiecewiseArray, file: Any) -> None:
    """Writes the same file as for the whole array, piece by piece."""
    header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for piece in rows.pieces():
        file.write(np.ascontiguousarray(piece).data)
