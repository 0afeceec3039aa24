"""Images to one file of rows, decoded by threads in shards, so that a stopped preparation resumes.

FOLDER/rows holds the raw rows. A shard is complete once its note exists, which is written after its rows.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import operator
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cactus_tf.datasets._io.entries import Entry, Skipped, UnreadableError, shown
from cactus_tf.errors import RunError
from cactus_tf.utils import files, progress
from cactus_tf.utils.digests import SIZE, digest
from cactus_tf.utils.threads import cores

SHARD = 512  # images; at 84x84x3 11 MB
_FEWEST, _SHARDS = 16, 64  # smaller shards of at least 16 images where there would be fewer than 64


def unread(entry: Entry) -> Entry:
    """The file itself, for a `Decoding` that reads only a part of it."""
    return entry


class Decoding(NamedTuple):
    """How files become rows.

    Attributes:
      decode: what `read` gives -> one row; raises `UnreadableError`. A function of a module, or a partial of one: its
        name and keywords tell whether unfinished work can be resumed.
      shape, dtype: of a row.
      read: what `decode` gets of a file, by default its bytes.
    """

    decode: Callable[[Any], np.ndarray]
    shape: tuple[int, ...]
    dtype: str = "uint8"
    read: Callable[[Entry], Any] = Entry.read

    @property
    def description(self) -> list:
        """What distinguishes this decoding from others, from run to run."""
        decode = self.decode
        function, keywords = (decode.func, decode.keywords) if isinstance(decode, functools.partial) else (decode, None)
        return [[function.__module__, function.__qualname__, repr(keywords)], list(self.shape), self.dtype]


class Decoded(NamedTuple):
    """Rows of a list of files.

    Attributes:
      rows: [n, ...] memory map, a row per file; those of skipped files are zero.
      read: [m] positions of the files that could be read.
      digests: [m, 16] uint8 of their rows.
      skipped: the other files.
    """

    rows: np.ndarray
    read: np.ndarray
    digests: np.ndarray
    skipped: list[Skipped]


Ready = Callable[[Sequence[Entry]], Iterable[np.ndarray | None]]
"""The rows of some files; None for those that are still to be decoded."""


def _none_ready(entries: Sequence[Entry]) -> Iterable[None]:
    return itertools.repeat(None, len(entries))


class _EncodedImage(NamedTuple):
    """An image that is not a file."""

    name: str
    content: bytes


def decode_files(
    name: str,
    entries: Sequence[Entry],
    decoding: Decoding,
    folder: Path,
    workers: int | None = None,
    ready: Ready | None = None,
) -> Decoded:
    """Decodes files into FOLDER/rows; complete shards of the same files and the same decoding are reused.

    Args:
      name: for the progress bar.
      entries: the files.
      decoding: how they become rows.
      folder: for this work alone; anything else in it is removed.
      workers: threads; None means one per core.
      ready: called with the entries of one of the `parts`; gives their rows, None for those still to decode.
    """
    if claim(folder, decoding.description, entries):
        size = len(entries) * int(np.prod(decoding.shape)) * np.dtype(decoding.dtype).itemsize
        _allocate(folder / "rows", size)
    shards = _Shards(folder, decoding, ready or _none_ready)
    pieces = parts(len(entries))
    todo = [piece for piece in pieces if shards.note(piece.start) is None]
    left = sum(piece.stop - piece.start for piece in todo)
    done = len(entries) - left
    with progress.Bar(desc=name, total=len(entries), initial=done, unit="image", delay=progress.DELAY) as bar:
        make = functools.partial(_make_part, shards, entries)
        for number in _spread(make, todo, workers or cores()):
            bar.update(number)
    return shards.collect([piece.start for piece in pieces], len(entries))


def decoded(
    items: Sequence[Any], decoding: Decoding, ready: Ready = _none_ready
) -> Iterator[np.ndarray | UnreadableError]:
    """The row of each item, or why it cannot be read."""
    for item, row in zip(items, ready(items), strict=True):
        try:
            yield decoding.decode(decoding.read(item)) if row is None else row
        except UnreadableError as error:
            yield error


def parts(number: int) -> list[slice]:
    """The shards of so many images."""
    step = min(SHARD, max(_FEWEST, number // _SHARDS))
    return [slice(start, min(start + step, number)) for start in range(0, number, step)]


def decode_stream(batches: Iterable[Sequence[bytes]], decoding: Decoding, folder: Path) -> Decoded:
    """Decodes images that are not files, batch by batch from the first, into FOLDER/rows.

    Skipped images are named by their number.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _allocate(folder / "rows", 0)
    shards = _Shards(folder, decoding._replace(read=operator.attrgetter("content")))
    starts, total = [], 0
    for batch in filter(len, batches):
        starts.append(total)
        total += shards.make(total, [_EncodedImage(f"record {total + i}", content) for i, content in enumerate(batch)])
    return shards.collect(starts, total)


def claim(folder: Path, work: Sequence[Any], entries: Sequence[Entry]) -> bool:
    """Empties a folder for work on these files; False where it already holds unfinished work of the same description.

    Args:
      folder: of the work.
      work: the description, a list of JSON values.
      entries: the files.
    """
    state = hashlib.blake2b(json.dumps([*work, []]).removesuffix("]]").encode(), digest_size=8)
    for i, entry in enumerate(entries):  # piece by piece, the JSON text of [*work, entries]
        state.update((", " * bool(i) + json.dumps(list(entry))).encode())
    state.update(b"]]")
    mark = state.hexdigest()
    note = folder / "work.json"
    if files.read_json_if_whole(note, str, "") == mark:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files.write_json(note, mark)
    return True


class _Shards(NamedTuple):
    """FOLDER/rows and the notes of its shards."""

    folder: Path
    decoding: Decoding
    ready: Ready = _none_ready

    def make(self, start: int, items: Sequence[Any]) -> int:
        """Decodes and writes one shard; returns its number of images."""
        rows = np.zeros((len(items), *self.decoding.shape), self.decoding.dtype)
        read, digests, skipped = [], b"", []
        for i, (item, row) in enumerate(zip(items, decoded(items, self.decoding, self.ready), strict=True)):
            if isinstance(row, UnreadableError):
                skipped.append((shown(item.name), str(row)))
                continue
            rows[i] = row
            read.append(start + i)
            digests += digest(rows[i])
        self._write(start, rows)
        files.write_json(self._note(start), {"read": read, "digests": digests.hex(), "skipped": skipped})
        return len(items)

    def _write(self, start: int, rows: np.ndarray) -> None:
        """Writes to a plain file: on a full disk, writing to a memory map would kill the process."""
        try:
            with open(self.folder / "rows", "r+b") as file:
                file.seek(start * rows[0].nbytes)
                file.write(rows.tobytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunError(f"cannot write {self.folder} ({error.strerror}): free some space and start again") from error

    def note(self, start: int) -> dict | None:
        """The note of a shard, None where the shard is not complete."""
        return files.read_json_if_whole(self._note(start), dict, None)

    def collect(self, starts: Sequence[int], total: int) -> Decoded:
        """All rows, once every shard is complete."""
        shape, dtype = (total, *self.decoding.shape), self.decoding.dtype
        rows = np.memmap(self.folder / "rows", dtype, "r", shape=shape) if total else np.zeros(shape, dtype)
        read, digests, skipped = [np.zeros(0, np.int64)], [np.zeros(0, np.uint8)], []
        for note in map(self.note, starts):
            assert note is not None
            read.append(np.array(note["read"], np.int64))
            digests.append(np.frombuffer(bytes.fromhex(note["digests"]), np.uint8))
            skipped += [Skipped(name, reason) for name, reason in note["skipped"]]
        return Decoded(rows, np.concatenate(read), np.concatenate(digests).reshape(-1, SIZE), skipped)

    def _note(self, start: int) -> Path:
        return self.folder / f"shard-{start:08d}.json"


def _make_part(shards: _Shards, entries: Sequence[Entry], part: slice) -> int:
    return shards.make(part.start, entries[part])


def _spread(make: Callable[[slice], int], pieces: Sequence[slice], workers: int) -> Iterator[int]:
    """Makes the pieces in threads, since Pillow decodes and resizes without Python's lock; yields each result."""
    if workers == 1:
        yield from map(make, pieces)
        return
    with ThreadPoolExecutor(workers) as threads:
        try:
            for job in as_completed([threads.submit(make, piece) for piece in pieces]):
                yield job.result()
        finally:
            threads.shutdown(cancel_futures=True)


def _allocate(path: Path, size: int) -> None:
    """Creates a file of this many bytes, if the disk has twice as many free: rows are copied once."""
    free = shutil.disk_usage(path.parent).free
    if free < 2 * size:
        raise RunError(
            f"preparing takes {2 * size / 1e9:.1f} GB at {path.parent}, and {free / 1e9:.1f} GB are free: "
            "free some space, or choose another --artifacts_dir"
        )
    with open(path, "wb") as file:
        file.truncate(size)
