"""The forms in which BiGAN's networks see images: flat, or crops of 64x64."""

from __future__ import annotations

import tensorflow as tf

from cactus_tf.embedders._base.replicas import own
from cactus_tf.embedders.bigan.networks import SIDE

SHORT_SIDE = 72  # of the images that crops are cut from


class Flat:
    """Every pixel in [0, 1], row-major.

    Args:
      shape: (h, w, c) of the images.
    """

    def __init__(self, shape: tuple[int, ...]):
        self._shape = shape

    def training(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """As `encoding`, of this replica's images; nothing is random."""
        return self.encoding(own(images))

    def encoding(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> [n, h w c]."""
        return tf.cast(tf.reshape(images, (-1, tf.reduce_prod(self._shape))), tf.float32) / 255

    def pictured(self, x: tf.Tensor) -> tf.Tensor:
        """[n, h w c] -> [n, h, w, c] in 0..1."""
        return tf.reshape(x, (-1, *self._shape))


class Crops:
    """Crops of 64x64 in [-1, 1] of images resized to a short side of 72, or of 64 if theirs is below 64.

    Args:
      shape: (h, w, c) of the images.
    """

    def __init__(self, shape: tuple[int, ...]):
        short = min(shape[:2])
        target = SHORT_SIDE if short >= SIDE else SIDE
        self._size = tuple(round(side * target / short) for side in shape[:2])

    def training(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> those of this replica, [m, 64, 64, c], cropped at random places.

        Args:
          images: [n, h, w, c] uint8 of the whole batch.
          seed: [2] int64, of the places.
        """
        n = tf.shape(images)[0]
        u = tf.random.stateless_uniform((2, n), seed)
        top, left = (own(tf.cast(u[axis] * (self._size[axis] - SIDE + 1), tf.int32)) for axis in (0, 1))
        return crops(self._resized(own(images)), top, left)

    def encoding(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> [n, 64, 64, c] cropped from the center."""
        top, left = ((side - SIDE) // 2 for side in self._size)
        return self._resized(images)[:, top : top + SIDE, left : left + SIDE]

    def pictured(self, x: tf.Tensor) -> tf.Tensor:
        """[n, 64, 64, c] in -1..1 -> in 0..1."""
        return (x + 1) / 2

    def _resized(self, images: tf.Tensor) -> tf.Tensor:
        return tf.image.resize(images, self._size, antialias=True) * (2 / 255) - 1


def crops(x: tf.Tensor, top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
    """[n, h, w, c], [n] first rows, [n] first columns -> [n, 64, 64, c]."""
    rows, columns = (first[:, None] + tf.range(SIDE) for first in (top, left))
    return tf.gather(tf.gather(x, rows, axis=1, batch_dims=1), columns, axis=2, batch_dims=1)
