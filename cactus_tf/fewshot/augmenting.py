"""Augmented episodes: copies of the images, and classes turned by a quarter, as part of the training step."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from cactus_tf.contracts import Augmentation
from cactus_tf.errors import InputError
from cactus_tf.fewshot.losses import unit_range
from cactus_tf.types import Array, Episode
from cactus_tf.utils.seeds import derive


@dataclasses.dataclass(frozen=True)
class EpisodeAugmentation:
    """Varies the images of an episode; a pure function of the seed, the episode's number and each image's position.

    Attributes:
      image: varies each image of a batch by itself.
      support, query: which images it varies.
      rotate_classes: whether each class is turned by a random multiple of 90 degrees first, which makes it a new class
        (Santoro et al. 2016, section 4.1.1); images must be square.
      seed: of the stream of episodes.
    """

    image: Augmentation
    support: bool = True
    query: bool = True
    rotate_classes: bool = False
    seed: int = 0

    def __call__(self, episode: Episode) -> Episode:
        """The episode, images [way, shot or query, h, w, c] in float32, 0..1."""
        support, query = unit_range(episode.support), unit_range(episode.query)
        if self.rotate_classes:
            if support.shape[2] != support.shape[3]:
                raise InputError(
                    f"rotate_classes needs square images, and these are {support.shape[2]}x{support.shape[3]}: leave "
                    "it out"
                )
            shape = (support.shape[0],)
            turns = tf.random.stateless_uniform(shape, self._seed("turns", episode.index), 0, 4, tf.int32)
            support, query = quarter_turned(support, turns), quarter_turned(query, turns)
        if self.support:
            support = self._varied(support, self._seed("support", episode.index))
        if self.query:
            query = self._varied(query, self._seed("query", episode.index))
        return Episode(support, query, episode.index, episode.partition)

    def _seed(self, purpose: str, index: Array) -> tf.Tensor:
        return tf.stack([derive(self.seed, f"augmented {purpose}"), tf.cast(index, tf.int64)])

    def _varied(self, images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(images, (-1, *images.shape[2:]))
        return tf.reshape(self.image(flat, seed), images.shape)


def quarter_turned(images: tf.Tensor, turns: Array) -> tf.Tensor:
    """Turns the images of each class by a multiple of 90 degrees, counterclockwise.

    Args:
      images: [way, m, side, side, c].
      turns: [way] integers in 0..3.
    """
    turns = tf.reshape(turns, (-1, 1, 1, 1, 1))
    odd = tf.where(turns % 2 == 1, tf.transpose(images, (0, 1, 3, 2, 4)), images)
    upside_down = tf.where((turns == 1) | (turns == 2), odd[:, :, ::-1], odd)
    return tf.where(turns >= 2, upside_down[:, :, :, ::-1], upside_down)
