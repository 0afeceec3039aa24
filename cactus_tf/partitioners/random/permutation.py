"""A random permutation of 0..n-1 that is not kept: where a number goes takes a time that does not grow with n.

Up to 65,536 numbers it is NumPy's, drawn again when it is needed, which takes a millisecond. Beyond, it is a Feistel
network over an even power of two, walked until it lands below n (Black and Rogaway 2002, "Ciphers with arbitrary finite
domains"). TensorFlow's `index_shuffle` does the same with too little mixing: of 100 numbers, where one goes is far from
uniform (chi-square 8 times its degrees of freedom over 2000 seeds).
"""

from __future__ import annotations

import functools

import numpy as np

_DRAWN = 65_536  # numbers
_ROUNDS = 6  # four are enough for a permutation that looks random, with rounds that do (Luby and Rackoff 1988)
_U64 = np.uint64
_FIRST, _SECOND = _U64(0xBF58476D1CE4E5B9), _U64(0x94D049BB133111EB)  # of SplitMix64


class Permutation:
    """pi(j) for one (seed, number).

    Args:
      size: n, at least 1.
      rng: gives the keys.
    """

    def __init__(self, size: int, rng: np.random.Generator):
        bits = max(2, (size - 1).bit_length() + (size - 1).bit_length() % 2)
        self._size, self._half = _U64(size), _U64(bits // 2)
        self._mask = (_U64(1) << self._half) - _U64(1)
        self._keys = rng.integers(2**64, size=_ROUNDS, dtype=_U64)

    def __call__(self, numbers: np.ndarray) -> np.ndarray:
        """[m] distinct integers in 0..n-1 for [m] distinct ones."""
        if self._size <= _DRAWN:
            return _drawn(int(self._size), *map(int, self._keys))[numbers]
        out = self._encrypt(np.asarray(numbers).astype(_U64))
        while (outside := out >= self._size).any():
            out[outside] = self._encrypt(out[outside])
        return out.astype(np.int64)

    def _encrypt(self, x: np.ndarray) -> np.ndarray:
        left, right = x >> self._half, x & self._mask
        for key in self._keys:
            left, right = right, left ^ (_mixed(right ^ key) & self._mask)
        return (left << self._half) | right


@functools.lru_cache(64)
def _drawn(size: int, *keys: int) -> np.ndarray:
    return np.random.default_rng(keys).permutation(size)


def _mixed(x: np.ndarray) -> np.ndarray:
    """The output function of SplitMix64 (Steele, Lea, Flood 2014): every bit depends on every bit."""
    x = (x ^ (x >> _U64(30))) * _FIRST
    x = (x ^ (x >> _U64(27))) * _SECOND
    return x ^ (x >> _U64(31))
