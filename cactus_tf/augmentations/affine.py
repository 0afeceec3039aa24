"""Affine copies, for drawings: each image is turned, scaled, sheared and shifted by one bilinear transform."""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from cactus_tf.config.schema import option
from cactus_tf.contracts import Augmentation, AugmentationInfo
from cactus_tf.types import Array

INFO = AugmentationInfo()


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of affine copies; each number is drawn uniformly per image."""

    rotation: float = option(20.0, "largest turn to either side", unit="degrees", low=0, high=180, source="ours")
    scale: float = option(0.25, "largest change of width and of height, as a fraction", low=0, high=0.9, source="ours")
    shear: float = option(
        0.2, "largest shear to either side, as a fraction of the height", low=0, high=2, source="ours"
    )
    shift: float = option(0.1, "largest shift along each axis, as a fraction of the side", low=0, high=1, source="ours")


def build(options: Options | None = None) -> Augmentation:
    """Affine copies; new border pixels take the background color."""
    chosen = options or Options()

    def copies(images: Array, seed: Array) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        shape = tf.shape(images)
        transforms = inverse_transforms(chosen, shape[0], tf.cast(shape[1:3], tf.float32), seed)
        empty = background(images)
        moved = tf.raw_ops.ImageProjectiveTransformV3(
            images=images - empty,
            transforms=transforms,
            output_shape=shape[1:3],
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
            fill_value=0.0,
        )
        return tf.ensure_shape(moved + empty, images.shape)

    return copies


def inverse_transforms(options: Options, number: Array, size: tf.Tensor, seed: Array) -> tf.Tensor:
    """[number, 8] from the points of each copy to those of its image: rows of a 2x3 matrix and two zeros.

    The copy's point p, counted from the middle, shows the image's point M p + t. M is the product of a turn by r, a
    shear s along the rows, and factors a, b along the axes.

    Args:
      options: the ranges of r, s, a - 1, b - 1 and t.
      number: of copies.
      size: [2] float32, height and width.
      seed: [2] integers.
    """
    drawn = tf.random.stateless_uniform((number, 6), seed, -1.0, 1.0)
    turn, shear, wide, high, right, down = tf.unstack(drawn, axis=1)
    turn, shear = turn * math.radians(options.rotation), shear * options.shear
    wide, high = 1 + wide * options.scale, 1 + high * options.scale
    cos, sin, height, width = tf.cos(turn), tf.sin(turn), size[0], size[1]
    rows = (wide * cos, wide * (shear * cos - sin)), (high * sin, high * (shear * sin + cos))
    x, y = (width - 1) / 2, (height - 1) / 2
    offsets = (
        x - rows[0][0] * x - rows[0][1] * y + right * options.shift * width,
        y - rows[1][0] * x - rows[1][1] * y + down * options.shift * height,
    )
    zero = tf.zeros_like(turn)
    return tf.stack([*rows[0], offsets[0], *rows[1], offsets[1], zero, zero], axis=1)


def background(images: tf.Tensor) -> tf.Tensor:
    """[n, 1, 1, c] the median of each image's border, per channel."""
    edges = [images[:, 0], images[:, -1], images[:, 1:-1, 0], images[:, 1:-1, -1]]
    border = tf.sort(tf.concat(edges, axis=1), axis=1)
    return border[:, tf.shape(border)[1] // 2, None, None]
