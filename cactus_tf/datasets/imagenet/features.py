"""Precomputed features: a .npy file of one vector per image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from cactus_tf.datasets._io.entries import Entry, UnreadableError
from cactus_tf.errors import InputError
from cactus_tf.utils.arrays import ArrayError, parse_array

EXTENSIONS = (".npy",)
_TRIED = 20  # files of which one must be readable


def vector(content: bytes, dim: int | None = None) -> np.ndarray:
    """[dim] float32 from the bytes of a .npy file; UnreadableError for another shape or type, NaN or infinity."""
    try:
        array = parse_array(content)
    except ArrayError as error:
        raise UnreadableError(str(error)) from error
    if array.ndim != 1 or not array.size:
        raise UnreadableError(f"has shape {list(array.shape)}, not one vector")
    if not np.issubdtype(array.dtype, np.floating):
        raise UnreadableError(f"holds {array.dtype}, not floating-point numbers")
    if dim is not None and len(array) != dim:
        raise UnreadableError(f"has {len(array)} numbers, the others {dim}")
    with np.errstate(over="ignore"):
        numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise UnreadableError("holds NaN or infinity")
    return numbers


def length(entries: Iterable[Entry]) -> int:
    """Length of the first vector that can be read; InputError where none of the first 20 files can."""
    reason = "there are no files"
    for _, entry in zip(range(_TRIED), entries, strict=False):
        try:
            return len(vector(entry.read()))
        except UnreadableError as error:
            reason = f"{entry.name} {error}"
    raise InputError(f"not one of the first .npy files can be read; {reason}: each must hold the vector of one image")
