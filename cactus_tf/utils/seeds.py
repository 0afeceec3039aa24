"""Independent random streams derived from one seed."""

import hashlib

import numpy as np


def derive(seed: int, purpose: str) -> int:
    """A 63-bit seed, a pure function of the user's seed and the purpose."""
    digest = hashlib.sha256(f"{seed}/{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def counter_rng(seed: int, index: int) -> np.random.Generator:
    """The generator of item `index` of stream `seed`: a pure function of both.

    Philox is counter-based, so the streams of different indices never overlap (each has 2**128 blocks of its own).
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, index, 0]))
