"""From prepared images to what a network takes: its size, its channels and its range of pixels."""

from __future__ import annotations

import functools
from collections.abc import Callable

import tensorflow as tf

from cactus_tf.embedders.pretrained import catalog
from cactus_tf.errors import InputError

Scaling = Callable[[tf.Tensor], tf.Tensor]
"""From [n, height, width, channels] float32 in 0..255 to the range that a network takes."""


def _keras_mode(images: tf.Tensor, mode: str) -> tf.Tensor:
    import keras

    return keras.applications.imagenet_utils.preprocess_input(images, data_format="channels_last", mode=mode)


SCALINGS: dict[str, Scaling] = {
    "bytes": tf.identity,
    "unit": lambda images: images / 255,
    "symmetric": lambda images: images / 127.5 - 1,
    "torch": functools.partial(_keras_mode, mode="torch"),
    "caffe": functools.partial(_keras_mode, mode="caffe"),
}
"""By the value of `--pretrained_scaling`."""


def check(name: str | None) -> None:
    """Checks the value of `--pretrained_scaling`.

    Raises:
      InputError: it is none of `SCALINGS`.
    """
    if name is not None and name not in SCALINGS:
        raise InputError(f"--pretrained_scaling={name}: choose from {', '.join(SCALINGS)}")


def scaling(name: str | None, model: str | None) -> Scaling:
    """The scaling of this name; None takes that of a network of `keras.applications`, or bytes for another."""
    if name is None and model is not None:
        return catalog.entry(model).preprocess
    return SCALINGS[name or "bytes"]


def fitted(images: tf.Tensor, shape: tuple[int, int, int]) -> tf.Tensor:
    """[n, h, w, c] uint8 as [n, *shape] float32, resized with smoothing; gray <-> color."""
    height, width, channels = shape
    images = tf.cast(images, tf.float32)
    if images.shape[-1] != channels:
        images = tf.image.grayscale_to_rgb(images) if channels == 3 else tf.image.rgb_to_grayscale(images)
    if tuple(images.shape[1:3]) == (height, width):
        return images
    larger = images.shape[1] > height or images.shape[2] > width
    return tf.image.resize(images, (height, width), antialias=larger)
