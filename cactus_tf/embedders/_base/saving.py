"""The files of a saved embedder: embedder.json, and its arrays in arrays.npz."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.schema import from_saved
from cactus_tf.errors import InputError, RunError
from cactus_tf.utils import files, sealed
from cactus_tf.utils.arrays import read_archive
from cactus_tf.utils.paths import expanded
from cactus_tf.utils.text import first_line

_DESCRIPTION, _ARRAYS = "embedder.json", "arrays.npz"
_REMEDY = "fit and save it again"


def write(folder: Path, name: str, description: Mapping[str, Any], arrays: Sequence[np.ndarray] = ()) -> Path:
    """Writes both files into the embedder's own folder, which it makes and returns; `read` keeps the arrays' order."""
    folder = expanded(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files.write_atomic(folder / _ARRAYS, lambda file: np.savez(file, *arrays))
    sealed.write(folder / _DESCRIPTION, {"embedder": name, **description})
    return folder


@contextlib.contextmanager
def reading(folder: Path, name: str) -> Iterator[tuple[dict[str, Any], list[np.ndarray]]]:
    """Gives (description, arrays); another embedder, damaged files and errors in its block become an InputError."""
    folder = expanded(folder)
    try:
        description = sealed.read(folder / _DESCRIPTION, _REMEDY)
        saved = description.pop("embedder", "no embedder")
        if saved != name:
            raise InputError(f"{folder} holds {saved}, not {name}")
        stored = read_archive(folder / _ARRAYS, remedy=_REMEDY)
        yield description, [stored[f"arr_{i}"] for i in range(len(stored))]
    except (InputError, RunError):
        raise
    except Exception as error:  # Keras and NumPy raise errors of many kinds where arrays and description disagree
        reason = first_line(error)
        raise InputError(f"{folder} holds no complete {name} embedder ({reason}); {_REMEDY}") from error


def options(kind: type, saved: Mapping[str, Any], folder: Path) -> Any:
    """Saved options; a field that they lack takes its default, an unknown one is an InputError."""
    unknown = set(saved) - {field.name for field in dataclasses.fields(kind)}
    if unknown:
        raise InputError(
            f"{folder} was saved with {', '.join(sorted(unknown))}, which this version does not know: "
            "update cactus_tf, or fit and save the embedder again"
        )
    return from_saved(kind, saved)
