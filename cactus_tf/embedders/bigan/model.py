"""BiGAN's networks with the step that trains them."""

from __future__ import annotations

import functools
import logging
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.embedders._base.adam import ConstantThenDecay, FusedAdam
from cactus_tf.embedders._base.losses import reconstruction_error
from cactus_tf.embedders._base.network import Network, NetworkContext
from cactus_tf.embedders._base.replicas import own
from cactus_tf.embedders.bigan import networks
from cactus_tf.embedders.bigan.image_forms import Crops, Flat
from cactus_tf.embedders.bigan.layers import deploy
from cactus_tf.embedders.bigan.losses import discriminator_loss, generator_loss, prior
from cactus_tf.embedders.bigan.options import DIMS, Options
from cactus_tf.utils import seeds

log = logging.getLogger(__name__)

_LAST = 0.01  # fraction of the rate at the end of the decay
_MIXES, _SAMPLES, _ROWS = 9, 64, 4  # of the pictures


class Bigan(Network):
    """Generator, encoder and discriminator.

    Both players' gradients are taken at the same weights, then both are updated. `encode` normalizes with statistics
    that `finish` stores.
    """

    scheduled = True

    def __init__(self, options: Options, context: NetworkContext):
        super().__init__(name="bigan")
        self._decay, self._batch, self._deploy_batches = options.decay, options.batch, options.deploy_batches
        self._dims = options.dims or DIMS[None]
        self._purpose = functools.partial(seeds.derive, context.seed)
        self.form, trio = _networks(options, context.image_shape, self._dims, self._purpose("bigan weights"))
        self.generator, self.encoder, self.discriminator = trio
        schedule = ConstantThenDecay(context.steps, options.rate, _LAST)
        adam = functools.partial(FusedAdam, schedule, beta_1=options.beta, epsilon=1e-8)
        self.compile_players(adam(), adam())

    @property
    def players(self) -> tuple[list[keras.Variable], list[keras.Variable]]:
        """Weights of generator and encoder, and of the discriminator."""
        generators = [*self.generator.trainable_variables, *self.encoder.trainable_variables]
        return generators, self.discriminator.trainable_variables

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> [n, dims] codes in (-1, 1)."""
        return self.encoder(self.form.encoding(images), training=False)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> their reconstructions G(E(x)) in 0..1, [n, 64, 64, c] of the convolutional trio.

        The generator normalizes with the statistics of this batch.
        """
        return self.form.pictured(self.generator(self.encode(images), training=True))

    def losses(self, x: tf.Tensor, z: tf.Tensor) -> dict[str, tf.Tensor]:
        """The metrics of INFO.

        Args:
          x: [n, ...] images in the networks' form.
          z: [n, dims] codes of the prior.
        """
        codes = self.encoder(x, training=True)
        on_data = self.discriminator([x, codes], training=True)
        on_samples = self.discriminator([self.generator(z, training=True), z], training=True)
        some = math.ceil(x.shape[0] / 4)  # enough to watch
        reconstruction = self.generator(tf.stop_gradient(codes[:some]), training=True)
        return {
            "discriminator_loss": discriminator_loss(on_data, on_samples),
            "generator_loss": generator_loss(on_data, on_samples),
            "reconstruction_error": reconstruction_error(x[:some], reconstruction),
        }

    def replica_step(self, step: tf.Tensor, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of both players."""
        x = self.form.training(images, self._key("bigan crops", step))
        z = own(prior((tf.shape(images)[0], self._dims), self._key("bigan prior", step)))
        with tf.GradientTape(persistent=True) as tape:
            losses = self.losses(x, z)
        names = ("generator_loss", "discriminator_loss")
        gradients = [tape.gradient(losses[n], player) for n, player in zip(names, self.players, strict=True)]
        for optimizer, player, grads in zip(self.optimizers, self.players, gradients, strict=True):
            optimizer.apply([self._with_decay(g, v) for g, v in zip(grads, player, strict=True)], player)
        return losses

    def finish(self, images: np.ndarray) -> None:
        """Stores the encoder's average statistics over training batches."""
        log.info("bigan: averaging the statistics of %d batches", self._deploy_batches)
        data = self.data(images, self._batch, self._purpose("bigan deploy"), 0, self._deploy_batches)
        places = functools.partial(self._key, "bigan deploy crops")
        deploy(self.encoder, data.map(lambda step, batch: self.form.training(batch, places(step))))

    def pictures(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The pictures of INFO; image i is paired with image n - 1 - i.

        They are normalized by their own statistics, because `finish` comes after the last of them.
        """
        x = self.form.encoding(images)
        codes = self.encoder(x, training=True)
        pairs = interpolated(codes, _MIXES)
        fixed = prior((_SAMPLES, self._dims), self._key("bigan pictures", 0))
        z = tf.concat([codes, tf.reshape(pairs, (-1, self._dims)), fixed], axis=0)
        made = self.form.pictured(self.generator(z, training=True))
        of_codes, of_pairs, of_fixed = tf.split(made, [len(images), len(pairs) * _MIXES, _SAMPLES])
        return {
            "reconstructions": tf.stack([self.form.pictured(x), of_codes]),
            "samples": tf.reshape(of_fixed, (_ROWS, _SAMPLES // _ROWS, *made.shape[1:])),
            "interpolations": tf.reshape(of_pairs, (len(pairs), _MIXES, *made.shape[1:])),
        }

    def _with_decay(self, gradient: tf.Tensor, variable: keras.Variable) -> tf.Tensor:
        """g + decay x w, the gradient of loss + decay / 2 |w|^2; gamma does not decay."""
        return gradient if variable.name == "gamma" else gradient + self._decay * variable

    def _key(self, purpose: str, step: Any) -> tf.Tensor:
        return tf.stack([tf.constant(self._purpose(purpose), tf.int64), tf.cast(step, tf.int64)])


def interpolated(codes: tf.Tensor, mixes: int) -> tf.Tensor:
    """[n, dims] -> [n // 2, mixes, dims]: from code i of the first half to code n - 1 - i."""
    shares = tf.linspace(0.0, 1.0, mixes)[:, None]
    pairs = len(codes) // 2
    return (1 - shares) * codes[:pairs, None] + shares * codes[::-1][:pairs, None]


def _networks(options: Options, shape: tuple[int, ...], dims: int, seed: int) -> tuple[Flat | Crops, networks.Trio]:
    """The form in which the networks see images of a shape, and the networks."""
    kind = options.network or ("mlp" if min(shape[:2]) < networks.SIDE else "conv")
    if kind == "mlp":
        return Flat(shape), networks.mlp_trio(math.prod(shape), dims, options.units, seed)
    return Crops(shape), networks.conv_trio(shape[2], dims, options.filters, seed)
