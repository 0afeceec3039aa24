"""InfoGAN's networks with the step that trains them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.embedders._base.adam import FusedAdam
from cactus_tf.embedders._base.image_arrays import text
from cactus_tf.embedders._base.network import Network, NetworkContext
from cactus_tf.embedders._base.replicas import own
from cactus_tf.embedders.infogan import networks
from cactus_tf.embedders.infogan.latents import Latents, draw, each_category, each_value, joined
from cactus_tf.embedders.infogan.losses import (
    categorical_information,
    continuous_information,
    discriminator_loss,
    generator_loss,
)
from cactus_tf.embedders.infogan.options import Options
from cactus_tf.errors import InputError
from cactus_tf.utils import seeds
from cactus_tf.utils.checkpoints import tf_variable

_COLUMNS, _REACH = 9, 2.0  # of the pictures; the paper's figure 2 varies codes from -2 to 2


def check_sides(image_shape: tuple[int, ...]) -> None:
    """Refuses sides that are no multiples of 4: the generator doubles its first image twice."""
    if any(side % 4 for side in image_shape[:2]):
        raise InputError(
            f"infogan takes images whose sides are multiples of 4, such as 28x28x1, these are {text(image_shape)}: "
            "pad or resize them"
        )


def by_batch(model: keras.Model, x: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """model(x) normalized by the batch's statistics, and these, in the order of `model.non_trainable_variables`.

    The model does not change.
    """
    return model.stateless_call(model.trainable_variables, model.non_trainable_variables, x, training=True)


class Infogan(Network):
    """Generator, discriminator and recognition network.

    A step is one alternation: discriminator and recognition network, then the generator with fresh latents. Training
    normalizes by the batch's statistics, true and made images each by their own.

    `encode` normalizes by statistics of true images, which the recognition network does not see in training: `finish`
    averages them over the training images with the final weights (running averages lag behind the weights).
    """

    def __init__(self, options: Options, context: NetworkContext):
        super().__init__(name="infogan")
        check_sides(context.image_shape)
        self._options = options
        uses = ("discriminator", "generator", "pictures", "averages")
        self._noise = {use: seeds.derive(context.seed, f"infogan {use}") for use in uses}
        weights, depth = seeds.derive(context.seed, "infogan weights"), options.depth
        size = options.noise + options.categories + options.codes
        self.generator = networks.generator(size, context.image_shape, depth, weights)
        self.trunk = networks.trunk(context.image_shape, depth, weights)
        self.head = networks.head(depth, weights)
        self.hidden = networks.hidden(depth, weights)
        self.recognition = networks.recognition(options.categories + 2 * options.codes, depth, weights)
        adam = functools.partial(FusedAdam, beta_1=0.5, epsilon=1e-8)
        self.compile_players(adam(options.discriminator_rate), adam(options.generator_rate))

    @property
    def players(self) -> tuple[list[keras.Variable], list[keras.Variable]]:
        """Weights of discriminator and recognition network, and of the generator."""
        parts = (self.trunk, self.head, self.hidden, self.recognition)
        return [v for part in parts for v in part.trainable_variables], self.generator.trainable_variables

    def scaled(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> float32 in 0..1."""
        return tf.cast(images, tf.float32) * (1 / 255)

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> [n, dim], the option `features`, by the training images' statistics."""
        hidden = self.hidden(self.trunk(self.scaled(images)))
        if self._options.features == "hidden":
            return hidden
        codes = self._options.categories + self._options.codes
        return self.recognition(hidden)[:, : None if self._options.features == "all" else codes]

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> [n] probability of being true."""
        return self._probability(self.trunk(self.scaled(images)))

    def latents(self, use: str, step: Any, n: Any) -> Latents:
        """n latents of a step; `use` is "discriminator", "generator" or "pictures"."""
        options, seed = self._options, tf.stack([self._noise[use], step])
        u = tf.random.stateless_uniform((n, options.noise + 1 + options.codes), seed)
        return draw(u, options.noise, options.categories, options.codes)

    def _probability(self, features: tf.Tensor) -> tf.Tensor:
        """[n, 16 d] -> [n] the discriminator's probabilities of true images."""
        return tf.sigmoid(self.head(features)[:, 0])

    def _on_made(self, made: tf.Tensor, latents: Latents) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The discriminator's probabilities [n] for made images, and the information about their code."""
        features, _ = by_batch(self.trunk, made)
        flat = self.recognition(by_batch(self.hidden, features)[0])
        k, m = self._options.categories, self._options.codes
        logits, means, _ = tf.split(flat, [k, m, m], axis=1)  # the last are log-variances, unused
        return self._probability(features), {
            "categorical_information": categorical_information(latents.category, logits),
            "continuous_information": continuous_information(latents.codes, means),
        }

    def discriminator_losses(self, x: tf.Tensor, made: tf.Tensor, latents: Latents) -> dict[str, tf.Tensor]:
        """Its loss and the information, for true images x and images made of the latents, both [n, h, w, c]."""
        on_images = self._probability(by_batch(self.trunk, x)[0])
        on_made, information = self._on_made(made, latents)
        return {"discriminator_loss": discriminator_loss(on_images, on_made), **information}

    def generator_losses(self, latents: Latents) -> dict[str, tf.Tensor]:
        """Its loss and the information."""
        on_made, information = self._on_made(by_batch(self.generator, latents.vectors())[0], latents)
        return {"generator_loss": generator_loss(on_made), **information}

    def objective(self, losses: dict[str, tf.Tensor]) -> tf.Tensor:
        """A player's loss - lambda L_I, its half of Chen et al. 2016, eq. 6."""
        loss, *information = losses.values()
        return loss - self._options.weight * tf.add_n(information)

    def replica_step(self, step: tf.Tensor, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """One alternation; returns the metrics of INFO, the information being that of the generator's half."""
        x, n = self.scaled(own(images)), tf.shape(images)[0]
        first, second = (Latents(*map(own, self.latents(use, step, n))) for use in ("discriminator", "generator"))
        made, _ = by_batch(self.generator, first.vectors())
        losses = self._update(0, lambda: self.discriminator_losses(x, made, first))
        return {**losses, **self._update(1, lambda: self.generator_losses(second))}

    def _update(self, which: int, losses: Callable[[], dict[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
        """One step of one player; returns its losses before it."""
        player = self.players[which]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([tf_variable(v) for v in player])
            values = losses()
            objective = self.objective(values)
        self.optimizers[which].apply(tape.gradient(objective, player), player)
        return values

    def finish(self, images: np.ndarray) -> None:
        """Gives trunk and recognition network the mean statistics of the batches of one epoch."""
        batch = self._options.batch
        data = self.data(images, batch, self._noise["averages"], 0, len(images) // batch)
        statistics = tf.function(self.statistics)
        means = [np.mean(s, axis=0) for s in zip(*(statistics(part) for _, part in data), strict=True)]
        averages = [*self.trunk.non_trainable_variables, *self.hidden.non_trainable_variables]
        for average, mean in zip(averages, means, strict=True):
            average.assign(mean)

    def statistics(self, images: tf.Tensor) -> list[tf.Tensor]:
        """Statistics of a batch of true images, [n, h, w, c] uint8, in trunk and recognition network."""
        features, first = by_batch(self.trunk, self.scaled(images))
        return [*first, *by_batch(self.hidden, features)[1]]

    def pictures(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The pictures of INFO, which do not depend on the images."""
        del images
        latents = self.latents("pictures", tf.constant(0, tf.int64), self._options.categories * _COLUMNS)
        one = each_category(latents.first(1))
        values = tf.linspace(-_REACH, _REACH, _COLUMNS)
        shown = {
            "samples": latents,
            "categories": each_category(latents.first(_COLUMNS)),
            "codes": joined(each_value(one, code, values) for code in range(self._options.codes)),
        }
        _, statistics = by_batch(self.generator, latents.vectors())  # of random latents, for all pictures
        return {name: self._made(some, statistics) for name, some in shown.items()}

    def _made(self, latents: Latents, statistics: list[tf.Tensor]) -> tf.Tensor:
        """[n] latents -> [n / columns, columns, h, w, c] images, normalized by given statistics."""
        made, _ = self.generator.stateless_call(self.generator.trainable_variables, statistics, latents.vectors())
        return tf.reshape(made, (-1, _COLUMNS, *made.shape[1:]))
