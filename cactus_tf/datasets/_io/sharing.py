"""Decoding that several workers divide among them: each makes some shards of rows, and the chief reads them all."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence

import numpy as np

from cactus_tf.contracts import Share
from cactus_tf.datasets._io import rows
from cactus_tf.datasets._io.entries import Entry, UnreadableError
from cactus_tf.datasets._io.rows import Decoding, Ready, parts


def decode_together(lists: Mapping[str, Sequence[Entry]], decoding: Decoding, share: Share) -> dict[str, Ready]:
    """Takes a part in decoding files, and waits for the other workers.

    Args:
      lists: the files of each split.
      decoding: how they become rows.
      share: makes some of the shards here and waits for the others.

    Returns:
      By split, the rows of its files; nothing if the other workers cannot help.
    """
    shards = {
        _name(split, entries[part], decoding): entries[part]
        for split, entries in lists.items()
        for part in parts(len(entries))
    }
    get = share(list(shards), lambda name: encoded(shards[name], decoding))
    if get is None:
        return {}

    def ready(split: str, entries: Sequence[Entry]) -> list[np.ndarray | None]:
        return decoded(get(_name(split, entries, decoding)), decoding)

    return {split: functools.partial(ready, split) for split in lists}


def encoded(entries: Sequence[Entry], decoding: Decoding) -> np.ndarray:
    """[n, 1 + bytes of a row] uint8: whether a file could be read, and its row."""
    shard = np.zeros((len(entries), 1 + int(np.prod(decoding.shape)) * np.dtype(decoding.dtype).itemsize), np.uint8)
    for one, made in zip(shard, rows.decoded(entries, decoding), strict=True):
        if not isinstance(made, UnreadableError):
            row = np.zeros(decoding.shape, decoding.dtype)
            row[...] = made
            one[0], one[1:] = 1, row.reshape(-1).view(np.uint8)
    return shard


def decoded(shard: np.ndarray, decoding: Decoding) -> list[np.ndarray | None]:
    """The rows of an encoded shard; None for files that could not be read."""
    found = np.ascontiguousarray(shard[:, 1:]).view(decoding.dtype).reshape(-1, *decoding.shape)
    return [row if is_read else None for row, is_read in zip(found, shard[:, 0], strict=True)]


def _name(split: str, entries: Sequence[Entry], decoding: Decoding) -> str:
    """A name for the shard that changes with the files and the decoding, but not with the folder that they lie in.

    Files of two splits may have the same names in two folders, so the split is a part of the name.
    """
    files = [[entry.name, entry.size, entry.stamp] for entry in entries]
    mark = hashlib.blake2b(json.dumps([decoding.description, files]).encode(), digest_size=16).hexdigest()
    return f"{split}-{mark}"
