"""Training batches: batch i is a pure function of (seed, i), so a resumed fit gets the batches of an unbroken one."""

from __future__ import annotations

import functools

import numpy as np
import tensorflow as tf

from cactus_tf.utils import seeds


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, images: int) -> np.ndarray:
    return seeds.counter_rng(seed, epoch).permutation(images)


def rows(seed: int, step: int, images: int, batch: int) -> np.ndarray:
    """The images of one step.

    Every epoch has its own order and uses each image at most once; what is left after its last full batch is skipped.

    Args:
      seed: of the stream of orders.
      step: number of the step, from 0.
      images: n, number of images to choose from.
      batch: images per step, at most n.

    Returns:
      [batch] image numbers.
    """
    epoch, place = divmod(step, images // batch)
    return _order(seed, epoch, images)[place * batch : (place + 1) * batch]


def batches(images: np.ndarray, batch: int, seed: int, first: int, steps: int) -> tf.data.Dataset:
    """The steps first ... steps - 1 as (step int64, [batch, h, w, c] uint8).

    Rows are gathered on the host, because a graph that captures a memory-mapped array copies all of it.
    """

    def gather(step: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(images[rows(seed, int(step), len(images), batch)])

    def load(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        gathered = tf.numpy_function(gather, [step], tf.uint8)
        return step, tf.ensure_shape(gathered, (batch, *images.shape[1:]))

    return tf.data.Dataset.range(first, steps).map(load).prefetch(4)
