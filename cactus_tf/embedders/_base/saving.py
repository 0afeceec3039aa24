"""What an embedder leaves in its folder: embedder.json, and its arrays in arrays.npz."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.errors import InputError
from cactus_tf.utils import files

_DESCRIPTION, _ARRAYS = "embedder.json", "arrays.npz"
_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)


def write(folder: Path, name: str, description: Mapping[str, Any], arrays: Sequence[np.ndarray] = ()) -> Path:
    """Writes both files, makes the folder if need be, and returns it.

    Args:
      folder: of this embedder alone.
      name: of the embedder.
      description: what JSON can hold.
      arrays: in the order in which `read` shall give them back.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomic(folder / _ARRAYS, lambda file: np.savez(file, *arrays))
    files.write_json(folder / _DESCRIPTION, {"embedder": name, **description})
    return folder


@contextlib.contextmanager
def reading(folder: Path, name: str) -> Iterator[tuple[dict[str, Any], list[np.ndarray]]]:
    """Gives (description, arrays) of an embedder; what goes wrong inside the block means a damaged folder too.

    Raises:
      InputError: the folder holds another embedder, none, or a damaged one.
    """
    try:
        description = files.read_json(Path(folder) / _DESCRIPTION)
        if description["embedder"] != name:
            raise InputError(f"{folder} holds {description['embedder']}, not {name}")
        with np.load(Path(folder) / _ARRAYS, allow_pickle=False) as arrays:
            found = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
        yield description, found
    except InputError:
        raise
    except _DAMAGE as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{folder} holds no whole {name} embedder ({reason}); fit and save it again") from error
