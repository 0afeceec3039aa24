"""Embeddings whose columns are rescaled at random, so that partitions of the same images differ."""

from __future__ import annotations

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Rescaled:
    """Embeddings times one factor per column, computed on access so that a memory map is never read whole.

    Attributes:
      embeddings: [all, dim] float32.
      scale: [dim] float32; None leaves them unchanged.
      chosen: [n] numbers of the images that count; None for all.
    """

    embeddings: np.ndarray
    scale: np.ndarray | None = None
    chosen: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.embeddings if self.chosen is None else self.chosen)

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """[m, dim] float32 of the images with these numbers; sorted ones are faster on a memory map."""
        return self._scaled(self.embeddings[rows if self.chosen is None else self.chosen[rows]])

    def whole(self) -> np.ndarray:
        """[all, dim] float32, in memory where they are rescaled."""
        return self._scaled(self.embeddings)

    def only(self, rows: np.ndarray) -> Rescaled:
        """These of all images, as numbers 0, 1, ...; their embeddings are not copied."""
        return dataclasses.replace(self, chosen=rows)

    def _scaled(self, z: np.ndarray) -> np.ndarray:
        return z if self.scale is None else z * self.scale


def rescaled(embeddings: np.ndarray, p: int, rng: np.random.Generator) -> Rescaled:
    """The embeddings of partition p: as they are for the first, times factors from U(0, 1) for the others.

    Hsu et al. 2019, section 3.

    Args:
      embeddings: [n, dim] float32.
      p: number of the partition.
      rng: of this partition.
    """
    return Rescaled(embeddings, rng.random((embeddings.shape[1],), dtype=np.float32) if p > 0 else None)
