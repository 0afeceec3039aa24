"""The input of InfoGAN's generator."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import tensorflow as tf


class Latents(NamedTuple):
    """n latent vectors in parts; category and codes are the code c of Chen et al. 2016.

    Attributes:
      noise: [n, noise] in -1..1, the incompressible z.
      category: [n, categories] one-hot.
      codes: [n, codes] in -1..1.
    """

    noise: tf.Tensor
    category: tf.Tensor
    codes: tf.Tensor

    def vectors(self) -> tf.Tensor:
        """[n, noise + categories + codes], the generator's input."""
        return tf.concat(self, axis=1)

    def first(self, n: int) -> Latents:
        """The first n of them."""
        return Latents(*(part[:n] for part in self))


def draw(u: tf.Tensor, noise: int, categories: int, codes: int) -> Latents:
    """Noise and codes ~ U(-1, 1) and uniform categories, from uniform numbers.

    Args:
      u: [n, noise + 1 + codes] uniform on [0, 1).
      noise, categories, codes: sizes of the parts.
    """
    for_noise, for_category, for_codes = tf.split(u, [noise, 1, codes], axis=1)
    number = tf.cast(for_category[:, 0] * categories, tf.int32)
    return Latents(2 * for_noise - 1, tf.one_hot(number, categories), 2 * for_codes - 1)


def each_category(latents: Latents) -> Latents:
    """[k n]: the same n latents with category 0, then all with category 1, ..."""
    n, k = latents.category.shape
    return Latents(tf.tile(latents.noise, (k, 1)), tf.repeat(tf.eye(k), n, axis=0), tf.tile(latents.codes, (k, 1)))


def each_value(latents: Latents, code: int, values: tf.Tensor) -> Latents:
    """[n v]: each of the n latents in turn, with one of its codes taking all values.

    Args:
      latents: of n.
      code: which code varies.
      values: [v].
    """
    noise, category, codes = (tf.repeat(part, len(values), axis=0) for part in latents)
    varied = tf.tile(values, (latents.codes.shape[0],))[:, None]
    return Latents(noise, category, tf.concat([codes[:, :code], varied, codes[:, code + 1 :]], axis=1))


def joined(several: Iterable[Latents]) -> Latents:
    """Concatenates latents."""
    return Latents(*(tf.concat(parts, axis=0) for parts in zip(*several, strict=True)))
