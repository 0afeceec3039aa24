"""DeepCluster's views of images: random crops to train on, the center to embed.

A window is (top, left, height, width) in pixels. Resizing is bilinear with pixel centers at halves, as in torchvision,
but without its smoothing of shrunk images; samples outside the image, by half a pixel at most, are moved to its edge.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from cactus_tf.embedders._base.replicas import own
from cactus_tf.utils import seeds

TRIES = 10  # draws of a window before the whole image is taken; as torchvision
_RATIO = (3 / 4, 4 / 3)  # width / height of random windows; as torchvision
_SHOWN = 64 / 72  # fraction of the shorter side that is embedded; the original has 224 of 256
_SCALES = {"large": 0.08, "small": 0.5}  # least area of a crop: torchvision's, and ours for images with few pixels


class Views:
    """Views of images of one shape, [n, h, w, c] uint8 -> [n, *size, c] float32 in 0..255.

    Args:
      image_shape: (height, width, channels).
      side: of the square views; images with a shorter side are small: they keep their size and are embedded whole.
      scale: least area of a random crop, as a fraction; None: 0.08, for small images 0.5.
      flip: whether half of the crops are mirrored; None: only color images, since mirrored characters are others.
      seed: of crops and flips.

    Attributes:
      size: height and width of the views.
    """

    def __init__(self, image_shape: tuple[int, ...], side: int, scale: float | None, flip: bool | None, seed: int):
        height, width, colors = image_shape
        self.whole = min(height, width) < side
        self.size = (height, width) if self.whole else (side, side)
        self.scale = _SCALES["small" if self.whole else "large"] if scale is None else scale
        self.flip = colors > 1 if flip is None else flip
        self._crops, self._flips = (seeds.derive(seed, f"deepcluster {purpose}") for purpose in ("crops", "flips"))

    def embedded(self, images: tf.Tensor) -> tf.Tensor:
        """Small images whole, the center of others."""
        if self.whole:
            return tf.cast(images, tf.float32)
        window = central_window(*images.shape[1:3])
        return cut(images, tf.tile([window], (tf.shape(images)[0], 1)), self.size)

    def cropped(self, images: tf.Tensor, step: Any) -> tf.Tensor:
        """A random crop of each image of this replica, the same whenever this training step is repeated."""
        n, (height, width) = tf.shape(images)[0], images.shape[1:3]
        u = tf.random.stateless_uniform((n, TRIES, 4), seed=tf.stack([self._crops, step]))
        windows = random_windows(own(u), height, width, self.scale)
        mirrored = tf.random.stateless_uniform((n,), seed=tf.stack([self._flips, step])) < 0.5
        return cut(own(images), windows, self.size, own(mirrored) if self.flip else None)


def random_windows(u: tf.Tensor, height: int, width: int, scale: float) -> tf.Tensor:
    """Windows of an area U(scale, 1) of the image's and of a log-uniform ratio, at a uniform place.

    Takes the first draw that fits into the image, or else the whole image, as torchvision's RandomResizedCrop does in
    whole pixels.

    Args:
      u: [n, tries, 4] uniform numbers in 0..1, for area, ratio, top and left.
      height, width: of the images.
      scale: least area, as a fraction of the image's.

    Returns:
      [n, 4] float32.
    """
    area = height * width * (scale + (1 - scale) * u[..., 0])
    low, high = (tf.math.log(tf.constant(ratio, u.dtype)) for ratio in _RATIO)
    ratio = tf.exp(low + (high - low) * u[..., 1])
    h, w = tf.sqrt(area / ratio), tf.sqrt(area * ratio)
    windows = tf.stack([u[..., 2] * (height - h), u[..., 3] * (width - w), h, w], axis=-1)  # [n, tries, 4]
    fits = (h <= height) & (w <= width)
    first = tf.gather(windows, tf.argmax(tf.cast(fits, tf.int32), axis=1), axis=1, batch_dims=1)
    whole = tf.constant([0, 0, height, width], u.dtype)
    return tf.where(tf.reduce_any(fits, axis=1)[:, None], first, whole)


def central_window(height: int, width: int) -> tuple[float, float, float, float]:
    """The central 64x64 of an image whose shorter side is resized to 72."""
    side = min(height, width) * _SHOWN
    return (height - side) / 2, (width - side) / 2, side, side


def cut(images: tf.Tensor, windows: tf.Tensor, size: tuple[int, int], mirrored: tf.Tensor | None = None) -> tf.Tensor:
    """Crops the images to the windows and resizes them.

    Args:
      images: [n, h, w, c], uint8 or float32.
      windows: [n, 4].
      size: height and width of the result.
      mirrored: [n] booleans, which windows to mirror left to right, or None.

    Returns:
      [n, *size, c] float32 in the images' range.
    """
    height, width = images.shape[1:3]
    top, left, h, w = tf.unstack(windows, axis=1)
    y1, y2 = _ends(top, h, size[0], height)
    x1, x2 = _ends(left, w, size[1], width)
    if mirrored is not None:
        x1, x2 = tf.where(mirrored, x2, x1), tf.where(mirrored, x1, x2)
    return tf.image.crop_and_resize(images, tf.stack([y1, x1, y2, x2], axis=1), tf.range(tf.shape(images)[0]), size)


def _ends(start: tf.Tensor, length: tf.Tensor, out: int, side: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Places of the first and last sample, as fractions of the way from the center of the first pixel to the last."""
    half = length / (2 * out)
    first, last = start + half - 0.5, start + length - half - 0.5
    return tf.maximum(first / (side - 1), 0), tf.minimum(last / (side - 1), 1)
