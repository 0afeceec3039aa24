"""Files: atomic writes, artifacts named by what they depend on, and the workdir of a run."""

import contextlib
import csv
import fcntl
import functools
import hashlib
import io
import json
import logging
import os
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.errors import InputError, RunError
from cactus_tf.types import Rows

log = logging.getLogger(__name__)

_CHECKSUMS = "checksums.json"
_CONFIG = "config.json"


def key(settings: Mapping) -> str:
    """Ten hexadecimal digits that change exactly when the settings do."""
    canonical = json.dumps(settings, sort_keys=True, default=str)
    return hashlib.sha256(canonical.encode()).hexdigest()[:10]


def write_atomic(path: Path, write: Callable[[Any], None]) -> None:
    """Calls write(file) on a temporary file and renames it, so that no reader ever sees half a file.

    Raises:
      RunError: it could not be written; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:  # NumPy's own, on a full disk, has no strerror
        reason = error.strerror or f"{error}; the disk may be full"
        raise RunError(f"cannot write {path} ({reason}): free some space, or choose another folder") from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    write_atomic(path, lambda file: file.write(text.encode()))


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping], columns: Sequence[str]) -> None:
    """Writes rows as CSV atomically; columns that a row lacks stay empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def read_json(path: Path) -> Any:
    """Reads JSON.

    Raises:
      InputError: the file is damaged.
    """
    try:
        return json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it and run again") from error


def make_folder(path: Path, flag: str) -> Path:
    """Creates a folder and proves that it can be written.

    Raises:
      InputError: it cannot; names the flag to change.
    """
    probe = path / f".probe.{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink()
    except OSError as error:
        raise InputError(f"{flag}: cannot write to {path} ({error.strerror}); choose another folder") from error
    return path


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder for this process; another one that wants it waits, and says so."""
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("waiting for another run that is working on %s", folder)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Artifact:
    """A folder of files that depend on exactly `settings`: ROOT/KIND-KEY.

    Arrays are kept by name; each carries a checksum, and one that does not match is made again.
    """

    def __init__(self, root: Path, kind: str, settings: Mapping):
        self.key = key(settings)
        self.folder = root / f"{kind}-{self.key}"
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        write_json(self.folder / "settings.json", settings)

    def memo(self, name: str, make: Callable[[], np.ndarray | Rows]) -> np.ndarray:
        """The array kept as NAME.npy, as a read-only memory map; made and kept first where there is none."""
        path = self.folder / f"{name}.npy"
        if not self._intact(path):
            made = make()
            write_atomic(path, functools.partial(_write_rows, made) if isinstance(made, Rows) else _writer(made))
            self._record(path)
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def has_files(self, names: Sequence[str]) -> bool:
        """True where every named file is there and matches its checksum."""
        return all(self._intact(self.folder / name) for name in names)

    def record_files(self, names: Sequence[str]) -> None:
        """Writes down the checksums of files that were just written: from now on they are taken for whole."""
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
        log.warning("%s is missing or damaged; it is made again", path)
        return False


def _writer(made: np.ndarray) -> Callable[[Any], None]:
    array = np.asarray(made)
    return lambda file: np.lib.format.write_array(file, array, allow_pickle=False)


def _write_rows(rows: Rows, file: Any) -> None:
    """The same file as of the whole array, piece by piece."""
    header = {"descr": np.lib.format.dtype_to_descr(rows.dtype), "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for piece in rows.pieces():
        file.write(np.ascontiguousarray(piece).data)


_PIECE, _PIECES = 1 << 22, 64  # bytes, and how many pieces of a large file are looked at


def checksum(path: Path) -> int:
    """CRC-32 of a file; of one above 256 MiB, of its length and of 64 pieces spread over it: no more than a second."""
    size = path.stat().st_size
    whole = size <= _PIECE * _PIECES
    starts = range(0, size, _PIECE) if whole else np.linspace(0, size - _PIECE, _PIECES).astype(int).tolist()
    value = 0 if whole else size
    with open(path, "rb") as file:
        for start in starts:
            file.seek(start)
            value = zlib.crc32(file.read(_PIECE), value)
    return value


def claim(folder: Path, identity: Mapping, config: Mapping) -> None:
    """Makes the workdir this configuration's own, and writes config.json.

    Args:
      folder: the workdir.
      identity: the settings that may not change; kept in config.json under "identity".
      config: all of config.json.

    Raises:
      InputError: the workdir holds work of another configuration; says what differs.
    """
    path = folder / _CONFIG
    if path.exists() and _holds_work(folder):
        differing = _differences(read_json(path).get("identity", {}), json.loads(json.dumps(identity)))
        if differing:
            raise InputError(
                f"--workdir: {folder} belongs to another configuration ({'; '.join(differing)}); "
                "choose another --workdir or repeat its settings"
            )
    write_json(path, {**config, "identity": identity})


def _holds_work(folder: Path) -> bool:
    """Whether anything was trained or judged there; a run that ended before may be put right and started again."""
    return (folder / "results.json").exists() or any(folder.glob("*/checkpoints/*.index"))


def _differences(there: Mapping, here: Mapping, prefix: str = "") -> list[str]:
    """'name: there A, now B' for every leaf that differs."""
    found = []
    for name in sorted({*there, *here}):
        a, b = there.get(name), here.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: there {_shown(a)}, now {_shown(b)}")
    return found


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)
