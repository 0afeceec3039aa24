"""Rows from encoded images that come one after the other, not from files: never more than one of them in memory."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from cactus_tf.datasets._io.entries import Skipped, UnreadableError
from cactus_tf.datasets._io.shards import Decode, Decoded, digest
from cactus_tf.errors import RunError


def decode_stream(contents: Iterable[bytes], decode: Decode, shape: tuple[int, ...], folder: Path) -> Decoded:
    """Decodes to FOLDER/rows, in this process.

    Args:
      contents: the bytes of each image.
      decode: bytes to one row of `shape`, uint8.
      folder: what is there is removed.

    Returns:
      As `decode_all`; the skipped are named by their number.

    Raises:
      RunError: the disk is full.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    blank, kept, digests = np.zeros(shape, np.uint8), [], []
    skipped: list[Skipped] = []
    number = 0
    try:
        with open(folder / "rows", "wb") as file:
            for content in contents:
                try:
                    row = decode(content)
                    kept.append(number)
                    digests.append(digest(row))
                except UnreadableError as error:
                    row = blank
                    skipped.append(Skipped(f"record {number}", str(error)))
                file.write(row.tobytes())
                number += 1
    except OSError as error:
        raise RunError(f"cannot write {folder} ({error.strerror}): free some space and start again") from error
    rows = np.memmap(folder / "rows", np.uint8, "r", shape=(number, *shape)) if number else blank[np.newaxis][:0]
    found = np.frombuffer(b"".join(digests), np.uint8).reshape(len(kept), -1 if kept else 16)
    return Decoded(rows, np.array(kept, np.int64), found, skipped)
