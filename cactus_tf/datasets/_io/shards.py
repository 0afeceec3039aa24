"""Many files to one array of rows, by a pool of processes, in shards, so that stopped work goes on.

The shards are pieces of one file of raw rows, which each process writes where its rows belong; a shard counts when its
note is there, which is written last.
"""

from __future__ import annotations

import concurrent.futures.process
import functools
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cactus_tf.datasets._io.entries import Entry, Skipped, UnreadableError, shown
from cactus_tf.errors import RunError
from cactus_tf.utils import files, progress

Decode = Callable[[Any], np.ndarray]
"""A file's bytes to one row; raises `UnreadableError`. A module's function or a partial of one, for other processes."""

Read = Callable[[Entry], Any]
"""What `Decode` gets of a file; raises `UnreadableError`."""

SHARD = 512  # images; at 84x84x3 11 MB
_ALONE = 1500  # images that one process decodes sooner than others start
_DIGEST = 16  # bytes


class Decoded(NamedTuple):
    """Files that were made rows.

    Attributes:
      rows: [n, ...] memory map, a row per file; those of skipped files are nothing.
      kept: [m] numbers of the files that were read.
      digests: [m, 16] uint8 of the rows kept.
      skipped: the other files.
    """

    rows: np.ndarray
    kept: np.ndarray
    digests: np.ndarray
    skipped: list[Skipped]


def decode_all(
    name: str,
    entries: Sequence[Entry],
    decode: Decode,
    shape: tuple[int, ...],
    folder: Path,
    workers: int | None,
    dtype: str,
    read: Read = Entry.read,
) -> Decoded:
    """Decodes files into FOLDER/rows, a shard at a time; shards that are whole are not made again.

    Args:
      name: for the progress bar.
      entries: the files.
      decode: bytes to one row of `shape` and `dtype`.
      folder: for this list of files, this decoder and this shape alone: another one begins anew.
      workers: processes; None is as many as cores, and one where few files are left.
      read: what `decode` gets of a file, by default its bytes.
    """
    rows = _Rows(_claimed(folder, entries, decode, shape, dtype), len(entries), shape, dtype)
    starts = range(0, len(entries), SHARD)
    todo = [start for start in starts if rows.note(start) is None]
    left = sum(min(SHARD, len(entries) - start) for start in todo)
    with progress.bar(total=len(entries), initial=len(entries) - left, desc=name, unit="image") as bar:
        jobs = [(rows, start, entries[start : start + SHARD], decode, read) for start in todo]
        for number in _spread(jobs, workers or _cores(), left):
            bar.update(number)
    notes = [rows.note(start) or {} for start in starts]
    skipped = [Skipped(name, reason) for note in notes for name, reason in note["skipped"]]
    kept = np.concatenate([np.array(note["kept"], np.int64) for note in notes] or [np.zeros(0, np.int64)])
    digests = np.frombuffer(bytes.fromhex("".join(note["digests"] for note in notes)), np.uint8)
    return Decoded(rows.map(), kept, digests.reshape(-1, _DIGEST), skipped)


def digest(row: np.ndarray) -> bytes:
    """16 bytes, equal for equal rows."""
    return hashlib.blake2b(row.tobytes(), digest_size=_DIGEST).digest()


class _Rows(NamedTuple):
    """FOLDER/rows and the notes of its shards."""

    folder: Path
    number: int
    shape: tuple[int, ...]
    dtype: str

    def write(self, start: int, rows: np.ndarray, note: Mapping) -> None:
        """Writes a shard; as a plain file, because a full disk kills who writes to a memory map."""
        try:
            with open(self.folder / "rows", "r+b") as file:
                file.seek(start * rows[0].nbytes)
                file.write(rows.tobytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(f"cannot write {self.folder} ({error.strerror}): free some space and start again") from error
        files.write_json(self._note(start), note)

    def note(self, start: int) -> dict | None:
        """What is known of a shard, None where it is not whole."""
        try:
            return json.loads(self._note(start).read_text())
        except (OSError, ValueError):
            return None

    def map(self) -> np.ndarray:
        """[number, ...] of all rows."""
        shape = (self.number, *self.shape)
        if not self.number:
            return np.zeros(shape, self.dtype)
        return np.memmap(self.folder / "rows", self.dtype, "r", shape=shape)

    def _note(self, start: int) -> Path:
        return self.folder / f"shard-{start:08d}.json"


def _make_shard(rows: _Rows, start: int, entries: Sequence[Entry], decode: Decode, read: Read) -> int:
    """Decodes and writes one shard; returns its number of files."""
    made = np.zeros((len(entries), *rows.shape), rows.dtype)
    kept, digests, skipped = [], b"", []
    for i, entry in enumerate(entries):
        try:
            made[i] = decode(read(entry))
            kept.append(start + i)
            digests += digest(made[i])
        except UnreadableError as error:
            skipped.append((shown(entry.name), str(error)))
    rows.write(start, made, {"kept": kept, "digests": digests.hex(), "skipped": skipped})
    return len(entries)


def _spread(jobs: Sequence[tuple], workers: int, images: int) -> Iterator[int]:
    """Does the jobs, in this process or in others; yields their results as they come."""
    if workers == 1 or images <= _ALONE:
        yield from (_make_shard(*job) for job in jobs)
        return
    new = multiprocessing.get_context("spawn")  # a fork of a process with TensorFlow's threads may hang
    ignore = functools.partial(signal.signal, signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=new, initializer=ignore) as pool:
        futures = [pool.submit(_make_shard, *job) for job in jobs]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except BaseException as error:
            pool.shutdown(cancel_futures=True)
            if isinstance(error, concurrent.futures.process.BrokenProcessPool):
                raise RunError("a process that decodes images was killed, perhaps for lack of memory") from error
            raise


def _claimed(folder: Path, entries: Sequence[Entry], decode: Decode, shape: tuple[int, ...], dtype: str) -> Path:
    """The folder for exactly this work, with room for all rows; what another one left there is removed."""
    said = [_described(decode), list(shape), dtype, [list(entry) for entry in entries]]
    mark = hashlib.blake2b(json.dumps(said).encode(), digest_size=8).hexdigest()
    kept = folder / "work.json"
    if not kept.exists() or files.read_json(kept) != mark:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        _make_room(folder / "rows", len(entries) * int(np.prod(shape)) * np.dtype(dtype).itemsize)
        files.write_json(kept, mark)
    return folder


def _described(decode: Decode) -> list:
    """What tells one decoder from another, from run to run."""
    function = getattr(decode, "func", decode)
    return [function.__module__, function.__qualname__, repr(getattr(decode, "keywords", None))]


def _make_room(path: Path, size: int) -> None:
    """A file of this many bytes.

    Raises:
      RunError: the disk has less than twice as many free: the rows are copied once.
    """
    free = shutil.disk_usage(path.parent).free
    if free < 2 * size:
        raise RunError(
            f"preparing takes {2 * size / 1e9:.1f} GB at {path.parent}, and {free / 1e9:.1f} GB are free: "
            "free some space, or choose another --artifacts_dir"
        )
    with open(path, "wb") as file:
        file.truncate(size)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
