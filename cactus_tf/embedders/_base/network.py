"""What a network that is trained step by step implements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.embedders._base.batches import batches


class NetworkContext(NamedTuple):
    """What a network is built from besides its options.

    Attributes:
      image_shape: (height, width, channels).
      images: n, number of training images.
      steps: length of the whole training, for schedules.
      seed: of the initial weights and of all noise.
    """

    image_shape: tuple[int, ...]
    images: int
    steps: int
    seed: int


class Network(keras.Model):
    """A compiled Keras model behind an embedder.

    A leaf implements `players`, `replica_step` and `encode`, and calls `compile_players` last in its constructor. All
    its state is in `weights` and in the optimizers. The other methods have defaults.

    A network that is made in the scope of a `tf.distribute` strategy is trained by all its replicas, a part of each
    batch by each. Its `fit` is called outside of the scope.

    Attributes:
      scheduled: whether a step depends on the length of the whole training, so that a longer fit cannot resume it.
      optimizers: one per player; the first counts the steps.
    """

    scheduled = False
    optimizers: Sequence[keras.optimizers.Optimizer]

    def __init__(self, name: str):
        super().__init__(name=name)
        self._strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
        self._distribute_strategy = None  # Keras' own, by which it would divide what `data` gives

    @property
    def players(self) -> Sequence[list[keras.Variable]]:
        """The weights of each player; a property, since Keras would reorder `weights` by an attribute."""
        raise NotImplementedError

    def compile_players(self, *optimizers: keras.optimizers.Optimizer) -> None:
        """Gives each player its optimizer."""
        self.compile(optimizer=optimizers[0], jit_compile=False)  # XLA's convolutions are half as fast on a CPU
        self.optimizers = optimizers
        for optimizer, player in zip(optimizers, self.players, strict=True):
            optimizer.build(player)
            if self._strategy:  # it adds up the gradients of the replicas, whose losses are means
                optimizer.loss_scale_factor = self._strategy.num_replicas_in_sync
        self.built = True

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """One step of all replicas; returns the means of their scalars."""
        if self._strategy is None:
            return self.replica_step(*data)
        scalars = self._strategy.run(self.replica_step, data)
        return {name: tf.reduce_mean(self._strategy.experimental_local_results(s)) for name, s in scalars.items()}

    def replica_step(self, step: tf.Tensor, *batch: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of all players, in the context of a replica; returns its scalars, without running means.

        Args:
          step: its number, from 0, int64; noise is a function of (seed, step, row).
          *batch: what `data` gives, of all replicas: [batch, h, w, c] uint8 images; see `replicas.own`.
        """
        raise NotImplementedError

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> [n, dim] float32."""
        raise NotImplementedError

    def data(self, images: np.ndarray, batch: int, seed: int, first: int, steps: int) -> tf.data.Dataset:
        """Batches of the steps first ... steps - 1: (step, [batch, h, w, c] uint8)."""
        return batches(images, batch, seed, first, steps)

    def between_steps(self, images: np.ndarray) -> Sequence[keras.callbacks.Callback]:
        """Callbacks for what happens between steps; they get a step's number in the whole training."""
        return ()

    def finish(self, images: np.ndarray) -> None:
        """Computes what `encode` needs besides the trained weights, from [n, h, w, c] uint8 and these weights alone."""

    def pictures(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """{name: [rows, columns, h, w, c] in 0..1} for a few images, [m, h, w, c] uint8."""
        return {}
