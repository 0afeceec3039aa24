"""Checks of arrays."""

from __future__ import annotations

import numpy as np

from cactus_tf.errors import InputError

_PIECE = 1 << 24  # elements checked at once, as arrays may be memory maps


def check_finite(embeddings: np.ndarray, source: str, remedy: str = "retrain it") -> None:
    """Checks that all embeddings are finite.

    Args:
      embeddings: [n, dim].
      source: who made them, for the message.
      remedy: what to do about it, for the message.

    Raises:
      InputError: some are NaN or infinite.
    """
    step = max(1, _PIECE // max(1, embeddings.shape[1]))
    pieces = (embeddings[i : i + step] for i in range(0, len(embeddings), step))
    bad = sum(int(np.count_nonzero(~np.isfinite(piece).all(axis=1))) for piece in pieces)
    if bad:
        raise InputError(f"{source}: {bad} of {len(embeddings)} embeddings are NaN or infinite; {remedy}")
