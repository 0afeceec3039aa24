"""An embedder without training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.embedders._base import image_arrays
from cactus_tf.embedders._base.estimator import ImageTransformer


class Untrained(ImageTransformer):
    """z = f(x), a function of each image alone: nothing to fit, save or load.

    Args:
      function: [n, h, w, c] uint8 -> [n, dim], called on at most 1024 images at a time.
    """

    def __init__(self, function: Callable[[np.ndarray], np.ndarray]):
        self.function = function

    def fit(
        self, images: np.ndarray, y: Any = None, *, seed: int = 0, folder: Path | None = None, callbacks: Sequence = ()
    ) -> Untrained:
        """Checks the images and returns itself.

        Raises:
          InputError: not an array of images.
        """
        image_arrays.check_images(images)
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32.

        Raises:
          InputError: not an array of images.
        """
        image_arrays.check_images(images)
        return image_arrays.in_chunks(self.function, images, chunk=1024)

    def save(self, folder: Path) -> None:
        """Writes nothing."""

    def load(self, folder: Path) -> Untrained:
        """Returns itself."""
        return self
