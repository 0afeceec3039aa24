"""Files: atomic writes, JSON and CSV, checksums and locks."""

from __future__ import annotations

import contextlib
import csv
import glob
import io
import json
import logging
import os
import shutil
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import lock_descriptor

from cactus_tf.errors import InputError, RunError

log = logging.getLogger(__name__)


def write_atomic(path: Path, write: Callable[[Any], None]) -> None:
    """Calls write(file) on a temporary file and renames it, so that no reader ever sees half a file.

    Temporary files that processes left when they were killed are removed.

    Raises:
      InputError: a folder that is not empty is in its place.
      RunError: it could not be written; an earlier file is untouched.
    """
    make_way(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")  # process numbers repeat from host to host
    try:
        with _opened(temporary) as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
            _remove_left(path, temporary)  # before the file is there: who is killed afterwards may never write it again
            if os.name == "posix":  # while the lock tells others that this file is in use; Windows must close it first
                os.replace(temporary, path)
                return
        os.replace(temporary, path)
    except OSError as error:  # NumPy's own, on a full disk, has no strerror
        reason = error.strerror or f"{error}; the disk may be full"
        raise RunError(f"cannot write {path} ({reason}): free some space, or choose another folder") from error
    finally:
        with contextlib.suppress(OSError):  # on a disk that has become read-only; the error above says it
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def present(path: Path) -> Iterator[None]:
    """Keeps an empty file of the name .STEM.SUFFIX.tmp, for a path STEM.SUFFIX, during its block.

    Those of the same stem that processes left when they were killed are removed.

    Raises:
      RunError: it could not be written.
    """
    temporary = temporary_name(path)
    try:
        file = _opened(temporary)
    except OSError as error:
        raise RunError(f"cannot write {temporary} ({error.strerror}): choose another folder") from error
    with file:
        _remove_left(path.with_suffix(""), temporary)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


def temporary_name(path: Path) -> Path:
    """The file that `present` keeps for a path."""
    return path.with_name(f".{path.name}.tmp")


def _remove_left(path: Path, own: Path) -> None:
    """Removes the temporary files of a path that no process uses any more."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if left != own:
            _remove_if_free(left)


def _opened(temporary: Path) -> BinaryIO:
    """Opens a file to write, locked as long as it is open, so that other processes know that it is in use."""
    while True:
        file = open(temporary, "wb")  # noqa: SIM115
        with contextlib.suppress(OSError):  # file systems that refuse locks
            lock_descriptor(file.fileno())
        if _is_there(file.fileno(), temporary):
            return file
        file.close()


def _remove_if_free(temporary: Path) -> None:
    """Removes a temporary file unless a process has it locked, or nobody can tell."""
    with contextlib.suppress(OSError), open(temporary, "rb") as file:
        if lock_descriptor(file.fileno(), blocking=False):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    write_atomic(path, lambda file: file.write(text.encode("utf-8", "surrogateescape")))


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping], columns: Sequence[str]) -> None:
    """Writes rows as CSV atomically; columns that a row lacks stay empty."""
    write_table(path, [columns, *([row.get(column, "") for column in columns] for row in rows)])


def write_table(path: Path, lines: Iterable[Sequence]) -> None:
    """Writes lines of cells as CSV atomically; columns may share a name."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    write_text(path, text.getvalue())


def read_json(path: Path, remedy: str = "delete it and run again") -> Any:
    """Reads JSON.

    Args:
      path: the file.
      remedy: what the user can do, for the message.

    Raises:
      InputError: the file is damaged, or a folder is in its place.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}): {remedy}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): {remedy}") from error


def read_json_if_whole(path: Path, kind: type, default: Any) -> Any:
    """Reads JSON that a run can do without: the default, with a warning, where it is damaged or of another type."""
    if not os.path.lexists(path):
        return default
    try:
        value = read_json(path)
    except InputError:
        value = None
    if isinstance(value, kind):
        return value
    log.warning("%s is damaged; going on without it", path)
    return default


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Gives a path's name to an OSError of its block that has none, as of a disk that is full when a file is closed."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def make_way(path: Path) -> None:
    """Removes an empty folder from the place of a file.

    Raises:
      InputError: the folder is not empty.
    """
    if path.is_dir() and not path.is_symlink():
        try:
            path.rmdir()
        except OSError as error:
            raise InputError(
                f"{path} is a folder, and a file of that name belongs there: move it away, then run again"
            ) from error


def remove(path: Path) -> None:
    """Removes a file, if there is one.

    Raises:
      InputError: a folder that is not empty is in its place.
    """
    make_way(path)
    path.unlink(missing_ok=True)


def make_folder(path: Path, flag: str) -> Path:
    """Creates a folder and checks that it is writable.

    Raises:
      InputError: it is not; names the flag to change.
    """
    probe = path / ".probe"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"x")
        probe.unlink(missing_ok=True)  # another process may have removed it
    except OSError as error:
        raise InputError(f"{flag}: cannot write to {path} ({error.strerror}); choose another folder") from error
    return path


_BOOKKEEPING = {"config.json", "seconds.json", "settings.json", ".lock"}


@contextlib.contextmanager
def taken_back(folder: Path) -> Iterator[None]:
    """If its block ends with an InputError, removes the folder that the block made.

    A folder with results, or one that another process has locked, stays.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        yield
    except InputError:
        if made and not _results(folder) and _removed_if_free(folder):
            with contextlib.suppress(OSError):  # other things are in it
                for parent in made[1:]:
                    parent.rmdir()
        raise


def _removed_if_free(folder: Path) -> bool:
    """Removes a folder unless another process has it locked; one that waits for the lock makes a new folder."""
    with contextlib.suppress(OSError), open(folder / ".lock", "ab") as file:
        if not lock_descriptor(file.fileno(), blocking=False):
            return False
        shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()


def _results(folder: Path) -> list[Path]:
    """The files below a folder that are more than bookkeeping."""
    return [path for path in folder.rglob("*") if path.name not in _BOOKKEEPING and not path.is_dir()]


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Locks a folder for this process; another process waits, with a warning.

    Without a lock it goes on, with a warning, where the file system refuses locks, as some network file systems do.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / ".lock", "ab") as file:  # closing it releases the lock
            _lock(file.fileno(), folder)
            if _is_there(file.fileno(), folder / ".lock"):
                yield
                return


def _is_there(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one at its path: its folder may have been removed while we waited."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lock(descriptor: int, folder: Path) -> None:
    try:
        if not lock_descriptor(descriptor, blocking=False):
            log.warning("waiting: another process is using %s", folder)
            lock_descriptor(descriptor)
    except OSError as error:
        log.warning(
            "%s: its file system refuses locks (%s), so nothing stops a second run from using this folder at the "
            "same time: start only one",
            folder,
            error.strerror,
        )


_PIECE, _PIECES = 1 << 22, 64  # bytes, and the number of pieces of a large file to read


def is_sampled(path: Path) -> bool:
    """Whether `checksum` reads only samples of a file: above 256 MiB."""
    return path.stat().st_size > _PIECE * _PIECES


def checksum(path: Path) -> int:
    """CRC-32 of a file; above 256 MiB, of its length and of 64 pieces spread over it, which takes at most a second."""
    if not is_sampled(path):
        return whole_checksum(path)
    size = path.stat().st_size
    starts = np.linspace(0, size - _PIECE, _PIECES).astype(int).tolist()
    return _crc32(path, starts, size)


def whole_checksum(path: Path) -> int:
    """CRC-32 of every byte of a file: about a second per gigabyte."""
    return _crc32(path, range(0, path.stat().st_size, _PIECE), 0)


def _crc32(path: Path, starts: Sequence[int], value: int) -> int:
    """CRC-32 of the pieces of a file that begin at these places, continuing from a value."""
    with open(path, "rb") as file:
        for start in starts:
            file.seek(start)
            value = zlib.crc32(file.read(_PIECE), value)
    return value
