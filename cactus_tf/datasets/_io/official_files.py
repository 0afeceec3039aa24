"""Official files in the user's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cactus_tf.datasets._io.entries import shown
from cactus_tf.errors import InputError


def find(data_dir: str | Path, wanted: Sequence[tuple[str, ...]], origin: str) -> list[Path]:
    """The path of every wanted file or folder.

    Args:
      data_dir: the folder to look in.
      wanted: alternative names of each; the first that exists is taken.
      origin: where a user gets them.
    """
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        everything = ", ".join(" or ".join(names) for names in wanted)
        raise InputError(f"data_dir {shown(folder)} is not a folder; name one that holds {everything}, from {origin}")
    present = [[folder / name for name in names if (folder / name).exists()] for names in wanted]
    missing = [" or ".join(names) for names, paths in zip(wanted, present, strict=True) if not paths]
    if missing:
        raise InputError(
            f"data_dir {shown(folder)} does not hold {', '.join(missing)}; get what is missing from {origin}"
        )
    return [paths[0] for paths in present]
