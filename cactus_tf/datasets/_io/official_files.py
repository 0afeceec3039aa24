"""Official files in the user's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cactus_tf.datasets._io.entries import shown
from cactus_tf.errors import InputError
from cactus_tf.utils.paths import expanded

_NAMED = 3  # files that a message names


def find(
    data_dir: str | Path, wanted: Sequence[tuple[str, ...]], origin: str, below: Sequence[str] = (".",)
) -> list[Path]:
    """The path of every wanted file or folder: the first of its `alternatives`, with their arguments."""
    return [paths[0] for paths in alternatives(data_dir, wanted, origin, below)]


def alternatives(
    data_dir: str | Path, wanted: Sequence[tuple[str, ...]], origin: str, below: Sequence[str] = (".",)
) -> list[list[Path]]:
    """The paths of every wanted file or folder, at least one of each.

    Args:
      data_dir: the folder to look in.
      wanted: alternative names of each, in order of preference; folders count where one of them is an archive.
      origin: where a user gets them.
      below: subfolders to look in; the first that holds the most is taken.

    Raises:
      InputError: some are missing; says which, and what the folder holds instead.
    """
    folder = expanded(data_dir)
    if not folder.is_dir():
        everything = ", ".join(" or ".join(names) for names in wanted)
        raise InputError(f"--data_dir={shown(folder)} is not a folder; name one that holds {everything}, from {origin}")
    places = [[_present(folder / place, names) for names in wanted] for place in below]
    best = max(places, key=lambda found: sum(map(bool, found)))
    missing = [names for names, paths in zip(wanted, best, strict=True) if not paths]
    if missing:
        lacking = ", ".join(" or ".join(names) for names in missing)
        raise InputError(
            f"data_dir {shown(folder)} does not hold {lacking}; it holds {_listed(folder)}: get what is missing from "
            f"{origin}"
        )
    return best


def _present(folder: Path, names: Sequence[str]) -> list[Path]:
    """Those of these paths that exist; in a folder that bears a file's name, as on Kaggle, the file of that name."""
    folders_count = any(name.endswith(".zip") for name in names)
    found = []
    for path in (folder / name for name in names):
        inner = [path / Path(name).name for name in names if (path / Path(name).name).is_file()]
        found += inner or ([path] if path.is_file() or (folders_count and path.is_dir()) else [])
    return found


def _listed(folder: Path) -> str:
    """The first few names in a folder."""
    names = sorted(shown(path.name) for path in folder.iterdir() if not path.name.startswith("."))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (", ".join(names[:_NAMED]) or "nothing") + more
