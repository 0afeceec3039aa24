"""Two-cluster partitions from triples of Boolean attributes, made on access.

Hsu et al. 2019, section 4 (CelebA): a task asks whether an image has one pattern of three attributes or its complement.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

ORDER = 3  # attributes of a pool
PATTERNS = 4  # the patterns of a triple that begin with 0; the other 4 are their complements
LEAST = 2  # images per side that any task takes: one for support, one for query
_RARE = 128  # a side with fewer than n / 128 images is stored as a list


class AttributePool:
    """One pattern and its complement as a partition: cluster 0 the complement, cluster 1 the pattern.

    Args:
      words: [n] unsigned integers, a bit per attribute.
      mask: the bits of the triple.
      values: the masked words of the members of cluster 0 and 1.
      sizes: [2] number of members.
      rare: members of rare clusters by (mask, value); shared by all pools.
    """

    def __init__(self, words: np.ndarray, mask: int, values: tuple[int, int], sizes: np.ndarray, rare: dict):
        self.sizes = sizes
        self._words, self._rare = words, rare
        self._mask, self._values = words.dtype.type(mask), [words.dtype.type(value) for value in values]

    def cluster(self, c: int) -> np.ndarray:
        """[sizes[c]] image numbers of cluster c, rising."""
        return np.flatnonzero(self._are_members(self._words, c)).astype(np.int32)

    def draw(self, c: int, number: int, rng: np.random.Generator) -> np.ndarray:
        """[number] distinct image numbers of cluster c, uniform.

        The time does not grow with n. For a cluster with at least n / 128 images, random images are tried until enough
        are members: at most 128 tries per member on average. The members of a rarer one are listed once.
        """
        size = int(self.sizes[c])
        if number > size:
            raise ValueError(f"cluster {c} has {size} images, {number} are wanted")
        if _RARE * size < len(self._words):
            return rng.choice(self._members(c), number, replace=False)
        return self._tried(c, number, rng)

    def assignments(self, images: int) -> np.ndarray:
        """[images] 0 or 1, and -1 for images of neither cluster."""
        table = np.full(images, -1, np.int32)
        for c in (0, 1):
            table[self.cluster(c)] = c
        return table

    def _are_members(self, words: np.ndarray, c: int) -> np.ndarray:
        return (words & self._mask) == self._values[c]

    def _members(self, c: int) -> np.ndarray:
        which = (int(self._mask), int(self._values[c]))
        if which not in self._rare:
            self._rare[which] = self.cluster(c)
        return self._rare[which]

    def _tried(self, c: int, number: int, rng: np.random.Generator) -> np.ndarray:
        """The first distinct members of a stream of uniformly random images."""
        images = len(self._words)
        tries = math.ceil(1.5 * number * images / int(self.sizes[c])) + 16
        members = np.zeros(0, np.int64)
        while len(members) < number:
            tried = rng.integers(images, size=tries)
            members = np.concatenate([members, tried[self._are_members(self._words[tried], c)]])
            members = members[np.sort(np.unique(members, return_index=True)[1])]
        return members[:number].astype(np.int32)


class AttributePools(Sequence):
    """All partitions from triples of attributes, as a lazy sequence of `AttributePool`s.

    Triples in lexicographic order, each with the patterns 000, 001, 010, 011, without those whose pattern or complement
    has fewer than `least` images. The sampler sees from the sizes which pools are large enough for a shot and query.

    Memory: 4 bytes per image for the attributes, 24 per pool, and the members of rare clusters: at most 7 of the 8
    patterns of a triple are rare and each holds less than n / 128, so 1140 triples take less than 250 bytes per image,
    41 MB for 162,770 images.

    Args:
      labels: [n, attributes] Boolean, or 0 and 1; 3 to 32 attributes.
      least: images that both clusters must have.

    Attributes:
      triples: [P, 3] attributes of each pool.
      patterns: [P] the pattern of cluster 1 as a number: 4 b1 + 2 b2 + b3, with b1 = 0.
      sizes: [P, 2] images of cluster 0 and 1.
    """

    def __init__(self, labels: np.ndarray, least: int = LEAST):
        labels = np.asarray(labels, bool)
        counts = pattern_counts(labels)
        patterns = np.tile(np.arange(PATTERNS), len(counts))
        sizes = np.stack([counts[:, ::-1][:, :PATTERNS], counts[:, :PATTERNS]], axis=-1).reshape(-1, 2)
        large_enough = (sizes >= least).all(axis=1)
        self.triples = np.repeat(triples(labels.shape[1]), PATTERNS, axis=0)[large_enough]
        self.patterns, self.sizes = patterns[large_enough], sizes[large_enough]
        self._words = labels.astype(np.uint32) @ _bits(labels.shape[1])
        self._rare: dict[tuple[int, int], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, p: Any) -> Any:
        p = range(len(self))[p]  # negative numbers and range errors as in a list
        bits = [1 << int(attribute) for attribute in self.triples[p]]
        values = (int(self.patterns[p]) >> np.arange(ORDER)[::-1]) & 1  # b1, b2, b3
        pattern = sum(bit for bit, b in zip(bits, values, strict=True) if b)
        return AttributePool(self._words, sum(bits), (sum(bits) - pattern, pattern), self.sizes[p], self._rare)

    def of_size(self, images: int) -> int:
        """Number of pools with at least this many images on both sides."""
        return int((self.sizes >= images).all(axis=1).sum())


def triples(attributes: int) -> np.ndarray:
    """[attributes choose 3, 3] unordered triples in lexicographic order."""
    return np.array(list(itertools.combinations(range(attributes), ORDER)), np.int64).reshape(-1, ORDER)


def pattern_counts(labels: np.ndarray) -> np.ndarray:
    """Counts the images of each pattern of each triple.

    Args:
      labels: [n, attributes] bool.

    Returns:
      [triples, 8] integers, triples in lexicographic order; column 4 b1 + 2 b2 + b3 counts the images whose three
      attributes are (b1, b2, b3).
    """
    counts = [np.zeros((0, 2, 2, 2))]
    for first in range(labels.shape[1] - 2):
        later = labels[:, first + 1 :]
        halves = [_pair_counts(later[labels[:, first] == value]) for value in (False, True)]
        j, k = np.triu_indices(later.shape[1], 1)
        counts.append(np.stack(halves)[:, :, j, :, k])  # [pairs, b1, b2, b3]
    return np.concatenate(counts).reshape(-1, 8).astype(np.int64)


def _pair_counts(rows: np.ndarray) -> np.ndarray:
    """[n, w] bool -> [2, w, 2, w]: number of rows by value and place of one attribute and of another."""
    literals = np.concatenate([~rows, rows], axis=1).astype(np.float32)  # sums below 2^24 are exact
    width = rows.shape[1]
    return (literals.T @ literals).reshape(2, width, 2, width)


def _bits(attributes: int) -> np.ndarray:
    return np.uint32(1) << np.arange(attributes, dtype=np.uint32)
