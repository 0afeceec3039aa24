"""Training images that stay on the device: a step then receives image numbers instead of images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.types import Episode


def on_device(
    episodes: Episodes, augment: Callable[[Episode], Episode] | None = None
) -> tuple[Episodes, Callable[[Episode], Episode]]:
    """Copies the rows of a stream of episodes to the device, once.

    Args:
      episodes: their rows, [n, ...], need room on the device.
      augment: changes an episode of rows in a graph.

    Returns:
      The same episodes with image numbers, int64, in place of rows; and the function, in a graph, from such an episode
      to the augmented one of rows. The rows are the same, to the last bit.
    """
    rows = tf.convert_to_tensor(np.asarray(episodes.rows))

    @tf.function(autograph=False, jit_compile=True)  # outside of XLA, a GPU cannot gather uint8
    def looked_up(numbers: tf.Tensor) -> tf.Tensor:
        return tf.gather(rows, numbers)

    def restored(episode: Episode) -> Episode:
        episode = episode._replace(support=looked_up(episode.support), query=looked_up(episode.query))
        return augment(episode) if augment else episode

    return episodes.with_rows(np.arange(len(episodes.rows))), restored
