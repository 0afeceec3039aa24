"""Checks of arrays that may be memory maps."""

import numpy as np

from cactus_tf.errors import InputError

_CHUNK_BYTES = 1 << 26


def check_finite(embeddings: np.ndarray, source: str, remedy: str = "train it anew") -> None:
    """Refuses [n, dim] embeddings with NaN or infinity; reads them in chunks.

    Args:
      embeddings: [n, dim].
      source: where they come from, for the message.
      remedy: what to do about it, for the message.

    Raises:
      InputError: a number is NaN or infinite.
    """
    rows = max(1, _CHUNK_BYTES // max(1, embeddings[:1].nbytes))
    chunks = (embeddings[start : start + rows] for start in range(0, len(embeddings), rows))
    bad = sum(int(np.count_nonzero(~np.isfinite(chunk).all(axis=1))) for chunk in chunks)
    if bad:
        raise InputError(f"{source}: {bad} of {len(embeddings)} embeddings are NaN or infinite; {remedy}")
