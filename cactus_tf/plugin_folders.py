"""Members in a folder of the user's own: FOLDER/embedders/mine.py is the embedder `mine`.

This module only lists and reads files; `plugins` imports them. A plug-in is code, which runs with the user's rights.
"""

from __future__ import annotations

import difflib
import hashlib
import keyword
import pkgutil
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cactus_tf.errors import InputError

FAMILIES = ("datasets", "embedders", "partitioners", "augmentations", "backbones", "learners")
_LAYOUT = f"{', '.join(f'{family}/' for family in FAMILIES[:-1])} or {FAMILIES[-1]}/"
_RESERVED = ("data", "embedding", "evaluation", "features", "full", "none", "partition", "run", "training")
_DECLARES = re.compile(rb"^INFO\b", re.MULTILINE)


class Plugin(NamedTuple):
    """A member in a plug-in folder.

    Attributes:
      family, name: of the member.
      path: its file, or the folder of its package.
      source: digest of its files and of those that they name.
    """

    family: str
    name: str
    path: Path
    source: str


def read(folder: Path, taken: Collection[str]) -> list[Plugin]:
    """The members in a plug-in folder; nothing is imported.

    Args:
      folder: an absolute path.
      taken: names that no plug-in can have.

    Raises:
      InputError: no such folder, no members in it, or a file whose place or name is wrong.
    """
    if not folder.is_dir():
        about = "is a file" if folder.exists() else "does not exist"
        raise InputError(f"--plugins={folder} {about}: name a folder with subfolders such as embedders/")
    _check_layout(folder)
    modules = [(family, path) for family in FAMILIES for path in _modules(folder / family)]
    for _, path in modules:
        _check_name(path, taken)
    found = [(family, path) for family, path in modules if not path.name.startswith("_")]
    if not found:
        above = "name the folder above it" if folder.name in FAMILIES else f"put each file into {_LAYOUT}"
        raise InputError(f"--plugins={folder} has no members in subfolders: {above}")
    paths: dict[str, Path] = {}
    for _, path in found:
        other = paths.setdefault(path.stem, path)
        if other != path:
            raise InputError(f"--plugins: {other} and {path} have the same name: rename one")
    return [Plugin(family, path.stem, path, _source(path, folder)) for family, path in found]


def _modules(place: Path) -> Iterator[Path]:
    """The files and packages of a family's subfolder; those whose names begin with an underscore are not members."""
    for module in pkgutil.iter_modules([str(place)]):
        yield place / (module.name if module.ispkg else f"{module.name}.py")


def _check_layout(folder: Path) -> None:
    """Refuses what looks like a member in a place where none is found."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and path.name not in FAMILIES and _has_python(path):
            near = difflib.get_close_matches(path.name.lower(), FAMILIES, n=1, cutoff=0.85)
            if near:
                raise InputError(f"--plugins: {path} is not the folder of a family: rename it to {near[0]}")
        elif path.suffix == ".py" and _DECLARES.search(path.read_bytes()):
            raise InputError(f"--plugins: {path} declares INFO outside a family's folder: move it into {_LAYOUT}")
    for path in (path for family in FAMILIES for path in sorted((folder / family).glob("[!_.]*"))):
        if path.is_dir() and _has_python(path) and not (path / "__init__.py").is_file():
            raise InputError(f"--plugins: {path} has no __init__.py: add one that holds INFO and build")


def _has_python(folder: Path) -> bool:
    return any(folder.glob("*.py"))


def _check_name(path: Path, taken: Collection[str]) -> None:
    name = path.stem
    if not name.isidentifier() or keyword.iskeyword(name) or not path.exists():
        raise InputError(f"--plugins: {path} cannot be imported: name .py files with letters, digits and underscores")
    if name in _RESERVED:
        raise InputError(f"--plugins: {path} has a reserved name ({', '.join(_RESERVED)}): rename it")
    if name in taken:
        raise InputError(f"--plugins: {path} has the name of a built-in module: rename it")


def _source(member: Path, folder: Path) -> str:
    """Digest of a member, and of all files beside it and in the other subfolders that its source names, and theirs."""
    units = _units(folder)
    waiting, used = [member], {member}
    while waiting:
        text = b"\n".join(path.read_bytes() for path in _files(waiting.pop()) if path.suffix == ".py")
        for unit in units:
            if unit not in used and re.search(rb"(?<!\w)" + re.escape(unit.stem.encode()) + rb"(?!\w)", text):
                used.add(unit)
                waiting.append(unit)
    digest = hashlib.sha256()
    for path in sorted(path for unit in used for path in _files(unit)):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


def _units(folder: Path) -> Sequence[Path]:
    """The files and folders of the folder and of its families' subfolders."""
    places = [folder, *(folder / family for family in FAMILIES)]
    inside = [path for place in places for path in place.glob("[!.]*")]
    return sorted(path for path in inside if path.name != "__pycache__" and path not in places)


def _files(unit: Path) -> list[Path]:
    """A file itself, or all files below a folder but compiled and hidden ones."""
    if unit.is_file():
        return [unit]
    below = (path for path in sorted(unit.rglob("*")) if path.is_file())
    return [p for p in below if not any(part.startswith((".", "__pycache__")) for part in p.relative_to(unit).parts)]
