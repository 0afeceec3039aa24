"""Zip archives: listed by their directory, unpacked once into a folder."""

from __future__ import annotations

import lzma
import re
import shutil
import struct
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from cactus_tf.datasets._io import system_files
from cactus_tf.datasets._io.entries import MAX_BYTES, Contents, Entry, Skipped, UnreadableError, shown
from cactus_tf.errors import InputError, RunError

_DAMAGE = (  # what zipfile raises on damaged members and directories
    OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, NotImplementedError, RuntimeError, struct.error,
    ValueError, KeyError,
)  # fmt: skip
_ENCRYPTED, _UTF8 = 1 << 0, 1 << 11  # flags of a member
_UNICODE_PATH = 0x7075  # an extra field


def contents(path: Path) -> Contents:
    """The files of an archive that are not a system's; of several with one name the last, as unpacking leaves it."""
    found = Contents.empty()
    by_name: dict[str, Entry] = {}
    for info in _infos(path):
        name, is_folder = _inside(path, info), _full_name(info).endswith("/")
        system = _system_part(name)
        if system:
            found.system.add(system)
            continue
        parts = name.split("/")
        found.folders.update("/".join(parts[:depth]) for depth in range(1, len(parts) + is_folder) if name)
        if is_folder or not name:
            continue
        if info.flag_bits & _ENCRYPTED:
            raise InputError(f"{shown(path)} is encrypted ({shown(name)}): unpack it and name the folder")
        if name in by_name:
            found.skipped.append(Skipped(shown(name), "the archive holds a later file of this name"))
        by_name[name] = Entry(str(path), name, info.file_size, info.CRC, archived=True)
    return found._replace(files=list(by_name.values()))


def places(wanted: Sequence[Entry], folder: Path) -> list[Path]:
    """The folder that each file is unpacked below: FOLDER/1, and FOLDER/2 for the second of one name, and so on.

    Names are the same where a file system does not tell them apart: by case, or by how Unicode stores an accent.
    """
    known = Counter[str]()
    numbers = []
    for entry in wanted:
        name = unicodedata.normalize("NFC", entry.name).casefold()
        known[name] += 1
        numbers.append(known[name])
    return [folder / str(number) for number in numbers]


def unpack(wanted: Sequence[Entry], folder: Path) -> dict[int, str]:
    """Unpacks files of one archive below the folders of `places`; returns by position why some could not be."""
    _check_space(wanted, folder)
    path = Path(wanted[0].root)
    by_name = {_inside(path, info): info for info in _infos(path)}
    damaged = {}
    with zipfile.ZipFile(path) as archive:
        for i, (entry, place) in enumerate(zip(wanted, places(wanted, folder), strict=True)):
            try:
                _extract(archive, by_name[entry.name], place / entry.name)
            except _DAMAGE as error:
                damaged[i] = f"cannot be read ({getattr(error, 'strerror', None) or error})"
    return damaged


def read(path: Path, wanted: re.Pattern, most: int) -> Iterator[tuple[str, bytes]]:
    """Name and content, in memory, of each file of an archive whose name with slashes matches.

    Args:
      path: the archive.
      wanted: the names.
      most: bytes that a file may have.

    Raises:
      UnreadableError: the archive is damaged, or a file has too many bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = _inside(path, info)
                if not wanted.fullmatch(name) or _system_part(name):
                    continue
                if info.file_size > most:
                    raise UnreadableError(f"holds {shown(name)} of more than {most:,} bytes")
                yield name, archive.read(info)
    except _DAMAGE as error:
        raise UnreadableError(f"is truncated or damaged ({shown(str(error))})") from error


def member(entry: Entry) -> bytes:
    """The content of one file of an archive; `UnreadableError` where it is damaged or has too many bytes."""
    return next(read(Path(entry.root), re.compile(re.escape(entry.name)), MAX_BYTES))[1]


def _extract(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Writes one member; zipfile stops at the size that the directory states, so a bomb cannot exceed it."""
    if info.file_size > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with archive.open(info) as packed, open(path, "wb") as file:
            shutil.copyfileobj(packed, file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _check_space(wanted: Sequence[Entry], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    size, free = sum(entry.size for entry in wanted if entry.size <= MAX_BYTES), shutil.disk_usage(folder).free
    if size > free:
        raise RunError(
            f"unpacking {shown(wanted[0].root)} takes {size / 1e9:.1f} GB at {shown(folder)}, and "
            f"{free / 1e9:.1f} GB are free: free some space, or unpack it elsewhere and name the folder"
        )


def _infos(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except _DAMAGE as error:
        problem = f"is neither a folder nor a whole zip archive ({error})"
        raise InputError(f"{shown(path)} {problem}: unpack it and name the folder") from error


def _inside(path: Path, info: zipfile.ZipInfo) -> str:
    """The path of a member in its archive, without "." and empty parts.

    Raises:
      InputError: it leaves the folder that it is unpacked to.
    """
    name = _full_name(info)
    if PurePosixPath(name).is_absolute() or ".." in name.split("/") or re.match("[A-Za-z]:", name):
        leaving = f"holds {shown(info.filename)}, a path that leaves its folder"
        raise InputError(f"{shown(path)} {leaving}: use another archive")
    return "/".join(part for part in name.split("/") if part not in ("", "."))


def _system_part(name: str) -> str | None:
    """The path down to the first part that is a system's; None where there is none."""
    parts = name.split("/")
    depth = next((i for i, part in enumerate(parts) if system_files.is_system(part)), None)
    return None if depth is None else "/".join(parts[: depth + 1])


def _full_name(info: zipfile.ZipInfo) -> str:
    """The name with slashes; some programs for Windows write backslashes.

    Without the flag for UTF-8, zipfile reads code page 437. Many programs write UTF-8 there, or beside it.
    """
    name = info.orig_filename
    if not info.flag_bits & _UTF8:
        written = name.encode("cp437")
        name = _unicode_path(info.extra, written) or _decoded(written)
    return name.partition("\0")[0].replace("\\", "/")


def _decoded(written: bytes) -> str:
    try:
        return written.decode("utf-8")
    except UnicodeDecodeError:
        return written.decode("cp437")


def _unicode_path(extra: bytes, written: bytes) -> str:
    """The name in Info-ZIP's extra field for UTF-8, if it belongs to the written one; else ""."""
    while len(extra) >= 4:
        tag, size = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if tag == _UNICODE_PATH and field[:5] == struct.pack("<BL", 1, zlib.crc32(written)):
            return field[5:].decode("utf-8", "ignore")
    return ""
