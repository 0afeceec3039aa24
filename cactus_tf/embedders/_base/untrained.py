"""An embedder that learns nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.embedders._base import image_arrays
from cactus_tf.embedders._base.transformer import Transformer


class Untrained(Transformer):
    """z = f(x): a function of each image alone, so there is nothing to fit, to save or to load.

    Args:
      function: [n, h, w, c] uint8 -> [n, dim], called on at most 1024 images at a time.
    """

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]):
        self._function = function

    def fit(
        self, images: np.ndarray, y: Any = None, *, seed: int = 0, folder: Path | None = None, callbacks: Sequence = ()
    ):
        """Returns itself; y is not looked at.

        Raises:
          InputError: images of another form.
        """
        image_arrays.check_images(images)
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32.

        Raises:
          InputError: images of another form.
        """
        image_arrays.check_images(images)
        return image_arrays.in_chunks(self._function, images, chunk=1024)

    def save(self, folder: Path) -> None:
        """Writes nothing."""

    def load(self, folder: Path):
        """Returns itself."""
        return self

    def _fitted(self) -> None:
        """It always is."""
