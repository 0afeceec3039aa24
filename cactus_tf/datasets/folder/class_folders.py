"""Folders named by WordNet ids, as ImageNet's training images come."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cactus_tf.datasets._io.entries import Entry, Listing, Skipped, listing, shown
from cactus_tf.datasets.miniimagenet.ravi import WNID


def wnids(root: Path) -> list[str]:
    """The class folders below `root`, sorted; none where it is no folder that can be read."""
    try:
        with os.scandir(root) as found:
            return sorted(child.name for child in found if WNID.fullmatch(child.name) and child.is_dir())
    except OSError:
        return []


def files(root: Path, wnid: str, extensions: tuple[str, ...]) -> Listing:
    """The files of one class, named below `root`; empty ones are left out."""
    found = listing(root / wnid, extensions)
    skipped = [Skipped(s.name if s.name.startswith("/") else f"{wnid}/{s.name}", s.reason) for s in found.skipped]
    entries = [Entry(str(root), f"{wnid}/{entry.name}", entry.size) for entry in found.entries]
    skipped += [Skipped(shown(entry.name), "is empty") for entry in entries if not entry.size]
    return Listing([entry for entry in entries if entry.size], skipped, found.others)


def names_digest(root: Path) -> str:
    """What tells the names of all files of all class folders from others; no file is looked at, a million take 2 s."""
    digest = hashlib.blake2b(digest_size=8)
    for wnid in wnids(root):
        try:
            names = sorted(os.fsencode(name) for name in os.listdir(root / wnid) if not name.startswith("."))
        except OSError:
            names = []
        digest.update(b"/".join([wnid.encode(), *names, b"/"]))
    return digest.hexdigest()


def listed_digest(classes: list[tuple[str, list[Entry]]]) -> str:
    """What tells the files of named classes from others by their last names and sizes, wherever they lie."""
    digest = hashlib.blake2b(digest_size=8)
    for name, entries in classes:
        digest.update(f"{name}/{len(entries)}/".encode())
        for last, size in sorted((os.fsencode(entry.name.rsplit("/", 1)[-1]), entry.size) for entry in entries):
            digest.update(last + f"/{size}/".encode())
    return digest.hexdigest()
