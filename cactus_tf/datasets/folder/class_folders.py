"""Folders named by WordNet ids, as in ImageNet's training images."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets._io.listing import Listing, listing
from cactus_tf.datasets.miniimagenet.ravi import WNID


def wnids(root: Path) -> list[str]:
    """The class folders below `root`, sorted; none where it is not a readable folder."""
    try:
        with os.scandir(root) as scanned:
            return sorted(child.name for child in scanned if WNID.fullmatch(child.name) and child.is_dir())
    except OSError:
        return []


def files(root: Path, wnid: str, extensions: tuple[str, ...]) -> Listing:
    """The files of one class, named below `root`, without empty ones."""
    listed = listing(root / wnid, extensions)
    skipped = [Skipped(s.name if s.name.startswith("/") else f"{wnid}/{s.name}", s.reason) for s in listed.skipped]
    entries = [Entry(str(root), f"{wnid}/{entry.name}", entry.size) for entry in listed.entries]
    skipped += [Skipped(shown(entry.name), "is empty") for entry in entries if not entry.size]
    skipped += listed.other_files(wnid)
    return listed._replace(entries=[entry for entry in entries if entry.size], skipped=skipped)


def names_key(root: Path) -> str:
    """A key of the names of all files of all class folders; files are not opened, so a million take 2 s."""
    state = hashlib.blake2b(digest_size=8)
    for wnid in wnids(root):
        try:
            names = sorted(os.fsencode(name) for name in os.listdir(root / wnid) if not name.startswith("."))
        except OSError:
            names = []
        state.update(b"/".join([wnid.encode(), *names, b"/"]))
    return state.hexdigest()
