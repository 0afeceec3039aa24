"""The files of a saved embedder: embedder.json, and its arrays in arrays.npz."""

from __future__ import annotations

import contextlib
import dataclasses
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
    """Writes both files into the embedder's own folder, which it makes and returns; `read` keeps the arrays' order."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomic(folder / _ARRAYS, lambda file: np.savez(file, *arrays))
    files.write_json(folder / _DESCRIPTION, {"embedder": name, **description})
    return folder


@contextlib.contextmanager
def reading(folder: Path, name: str) -> Iterator[tuple[dict[str, Any], list[np.ndarray]]]:
    """Gives (description, arrays); another embedder, damaged files and errors in its block become an InputError."""
    try:
        description = files.read_json(Path(folder) / _DESCRIPTION)
        if description["embedder"] != name:
            raise InputError(f"{folder} holds {description['embedder']}, not {name}")
        with open(Path(folder) / _ARRAYS, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = [stored[f"arr_{i}"] for i in range(len(stored.files))]
        yield description, arrays
    except InputError:
        raise
    except _DAMAGE as error:
        reason = str(error).split("\n")[0]
        raise InputError(f"{folder} holds no complete {name} embedder ({reason}); fit and save it again") from error


def options(kind: type, saved: Mapping[str, Any], folder: Path) -> Any:
    """Saved options; a field that they lack takes its default, an unknown one is an InputError."""
    unknown = saved.keys() - {field.name for field in dataclasses.fields(kind)}
    if unknown:
        raise InputError(
            f"{folder} was saved with {', '.join(sorted(unknown))}, which this version does not know: "
            "update cactus_tf, or fit and save the embedder again"
        )
    return kind(**saved)
