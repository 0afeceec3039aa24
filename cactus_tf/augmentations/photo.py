"""Varied photographs: a random resized crop, a flip, jittered colors, and sometimes grayscale.

The strengths are those of CPN(WCP) (Wang et al. 2022), without its flip top to bottom; hue is a turn of the YIQ plane.
"""

from __future__ import annotations

import dataclasses
import math

import tensorflow as tf

from cactus_tf.config.schema import option
from cactus_tf.contracts import Augmentation, AugmentationInfo
from cactus_tf.types import Array

INFO = AugmentationInfo()
_SOURCE = "Wang et al. 2022"
_LUMA = (0.299, 0.587, 0.114)
_TO_YIQ = ((*_LUMA,), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of varied photographs."""

    crop: float = option(0.5, "smallest share of the area that a crop shows", low=0.01, high=1, source=_SOURCE)
    ratio: float = option(4 / 3, "largest ratio of a crop's sides", low=1, high=10, source=_SOURCE)
    flip: float = option(0.5, "probability of a flip left to right", low=0, high=1, source=_SOURCE)
    jitter: float = option(0.8, "probability of jittered colors", low=0, high=1, source=_SOURCE)
    brightness: float = option(0.4, "largest change of the brightness, as a fraction", low=0, high=1, source=_SOURCE)
    contrast: float = option(0.4, "largest change of the contrast, as a fraction", low=0, high=1, source=_SOURCE)
    saturation: float = option(0.2, "largest change of the saturation, as a fraction", low=0, high=1, source=_SOURCE)
    hue: float = option(0.1, "largest turn of the hue", unit="turns", low=0, high=0.5, source=_SOURCE)
    gray: float = option(0.2, "probability of conversion to grayscale", low=0, high=1, source=_SOURCE)


def build(options: Options | None = None) -> Augmentation:
    """Crops and flips, then colors; images of one channel keep to brightness and contrast."""
    chosen = options or Options()

    def varied(images: Array, seed: Array) -> tf.Tensor:
        images = tf.convert_to_tensor(images)
        number = tf.shape(images)[0]
        drawn = tf.unstack(tf.random.stateless_uniform((number, 12), seed), 12, axis=1)
        rows = cropped(images, boxes(chosen, *drawn[:5]))
        return tf.ensure_shape(_colors(chosen, rows, drawn[5:]), images.shape)

    return varied


def boxes(
    options: Options, area: tf.Tensor, ratio: tf.Tensor, down: tf.Tensor, right: tf.Tensor, flip: tf.Tensor
) -> tf.Tensor:
    """[n, 4] top, left, bottom, right of each crop in 0..1; left and right are swapped for a flip.

    Args:
      options: the ranges.
      area, ratio, down, right, flip: [n] numbers in 0..1, uniform.
    """
    side = tf.sqrt(options.crop + area * (1 - options.crop))
    stretch = tf.exp((ratio - 0.5) * math.log(options.ratio))
    height, width = tf.minimum(side * stretch, 1.0), tf.minimum(side / stretch, 1.0)
    top, left = down * (1 - height), right * (1 - width)
    right_side, flipped = left + width, flip < options.flip
    begin, end = tf.where(flipped, right_side, left), tf.where(flipped, left, right_side)
    return tf.stack([top, begin, top + height, end], axis=1)


def cropped(images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """[n, h, w, c] the crops, resized bilinearly to the size of the images."""
    size = tf.shape(images)
    return tf.image.crop_and_resize(images, boxes, tf.range(size[0]), size[1:3])


def _colors(options: Options, images: tf.Tensor, drawn: list[tf.Tensor]) -> tf.Tensor:
    """Jittered and grayed images in 0..1; `drawn` are seven tensors [n], uniform in 0..1."""
    jitter, brightness, contrast, saturation, hue, gray, _ = (part[:, None, None, None] for part in drawn)
    bright = images * _factor(brightness, options.brightness)
    middle = tf.reduce_mean(_luma(bright), axis=(1, 2), keepdims=True)
    colors = tf.clip_by_value(middle + (bright - middle) * _factor(contrast, options.contrast), 0.0, 1.0)
    if images.shape[-1] == 3:
        turn = (2 * hue - 1) * 2 * math.pi * options.hue
        colors = recolored(colors, _factor(saturation, options.saturation), turn)
    rows = tf.where(jitter < options.jitter, colors, images)
    return tf.where(gray < options.gray, tf.broadcast_to(_luma(rows), tf.shape(rows)), rows)


def _factor(uniform: tf.Tensor, range_: float) -> tf.Tensor:
    return 1 + (2 * uniform - 1) * range_


def _luma(images: tf.Tensor) -> tf.Tensor:
    """[n, h, w, 1] the brightness of each pixel."""
    return tf.tensordot(images, _LUMA, 1)[..., None] if images.shape[-1] == 3 else images


def recolored(images: tf.Tensor, saturation: tf.Tensor, turn: tf.Tensor) -> tf.Tensor:
    """[n, h, w, 3] in 0..1, with the plane of colors (I, Q) of YIQ turned and scaled.

    Args:
      images: [n, h, w, 3] float32 in 0..1.
      saturation: [n, 1, 1, 1] the factor.
      turn: [n, 1, 1, 1] in radians.
    """
    to_yiq = tf.constant(_TO_YIQ, images.dtype)
    luma, i, q = tf.split(tf.einsum("nhwc,yc->nhwy", images, to_yiq), 3, axis=-1)
    cos, sin = saturation * tf.cos(turn), saturation * tf.sin(turn)
    yiq = tf.concat([luma, cos * i - sin * q, sin * i + cos * q], axis=-1)
    return tf.clip_by_value(tf.einsum("nhwy,cy->nhwc", yiq, tf.linalg.inv(to_yiq)), 0.0, 1.0)
