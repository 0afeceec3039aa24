"""No augmentation: images as they are."""

from __future__ import annotations

import tensorflow as tf

from cactus_tf.contracts import Augmentation, AugmentationInfo
from cactus_tf.types import Array

INFO = AugmentationInfo()


def build(options: None = None) -> Augmentation:
    """The identity."""

    def unchanged(images: Array, seed: Array) -> tf.Tensor:
        return tf.convert_to_tensor(images)

    return unchanged
