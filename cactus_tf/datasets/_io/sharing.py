"""Decoding that several workers divide among them: each makes some shards of rows, and the chief reads them all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence

import numpy as np

from cactus_tf.contracts import Share
from cactus_tf.datasets._io.entries import Entry, UnreadableError
from cactus_tf.datasets._io.rows import Decoding, Ready, parts


def decode_together(lists: Iterable[Sequence[Entry]], decoding: Decoding, share: Share) -> Ready | None:
    """Takes a part in decoding files, and waits for the other workers.

    Args:
      lists: the files, some lists of them.
      decoding: how they become rows.
      share: makes some of the shards here and waits for the others.

    Returns:
      The rows of some files; None if the other workers cannot help.
    """
    shards = {_name(entries[part], decoding): entries[part] for entries in lists for part in parts(len(entries))}
    get = share(list(shards), lambda name: encoded(shards[name], decoding))
    if get is None:
        return None
    return lambda entries: decoded(get(_name(entries, decoding)), decoding)


def encoded(entries: Sequence[Entry], decoding: Decoding) -> np.ndarray:
    """[n, 1 + bytes of a row] uint8: whether a file could be read, and its row."""
    shard = np.zeros((len(entries), 1 + int(np.prod(decoding.shape)) * np.dtype(decoding.dtype).itemsize), np.uint8)
    for one, entry in zip(shard, entries, strict=True):
        row = np.zeros(decoding.shape, decoding.dtype)
        try:
            row[...] = decoding.decode(decoding.read(entry))
        except UnreadableError:
            continue
        one[0], one[1:] = 1, row.reshape(-1).view(np.uint8)
    return shard


def decoded(shard: np.ndarray, decoding: Decoding) -> list[np.ndarray | None]:
    """The rows of an encoded shard; None for files that could not be read."""
    rows = np.ascontiguousarray(shard[:, 1:]).view(decoding.dtype).reshape(-1, *decoding.shape)
    return [row if is_read else None for row, is_read in zip(rows, shard[:, 0], strict=True)]


def _name(entries: Sequence[Entry], decoding: Decoding) -> str:
    """A name for the shard that changes with the files and the decoding, but not with the folder that they lie in."""
    files = [[entry.name, entry.size, entry.stamp] for entry in entries]
    return hashlib.blake2b(json.dumps([decoding.description, files]).encode(), digest_size=16).hexdigest()
