"""InfoGAN: a GAN part of whose noise is a code that can be read off the images it makes (Chen et al. 2016).

A generator makes images of incompressible noise, a category and continuous codes; a discriminator tells them from true
images; a recognition network, which shares the discriminator's trunk, recovers category and codes. What it reads off
true images is the embedding. Images are [batch, height, width, channels] in 0..1.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.config.schema import option
from cactus_tf.contracts import Embedder, EmbedderContext
from cactus_tf.embedders._base.adam import FusedAdam
from cactus_tf.embedders._base.fitting import Network, Plan
from cactus_tf.embedders._base.image_arrays import text
from cactus_tf.embedders._base.trained import TrainedEmbedder
from cactus_tf.embedders.infogan import networks as networks
from cactus_tf.embedders.infogan.latents import Latents, draw, each_category, each_value, joined
from cactus_tf.errors import InputError
from cactus_tf.utils import seeds
from cactus_tf.utils.checkpoints import tf_variable

_TINY = 1e-8  # inside every logarithm, as in the authors' code
_COLUMNS, _REACH = 9, 2.0  # of the pictures; the paper's figure 2 varies codes from -2 to 2
FEATURES = ("codes", "all", "hidden")
STEPS = 5000  # 50 epochs of 100, the authors' MNIST script
METRICS = {
    "discriminator_loss": "- mean of log D(image) + log(1 - D(made image)); 2 ln 2 = 1.386 where D cannot tell",
    "generator_loss": "- mean of log D(made image); ln 2 = 0.693 where D cannot tell",
    "categorical_information": "nats of the category that the made image tells, at most ln 10 = 2.303",
    "continuous_information": "nats of the codes that the made image tells, at unit variance; at most some 1/6 a code",
}
PICTURES = {
    "samples": "images made of random noise, categories and codes, the same at every step",
    "categories": "a row per category; a column has the same noise and codes throughout",
    "codes": "a row per continuous code and category: the code from -2 to 2, all else as it was",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of InfoGAN; the defaults are the authors' for MNIST."""

    noise: int = option(62, "numbers of incompressible noise", symbol="z", low=0)
    categories: int = option(10, "values of the categorical code", symbol="c", low=2)
    codes: int = option(2, "continuous codes", symbol="c", low=1)
    weight: float = option(1.0, "weight of the mutual information", symbol="lambda", low=0)
    depth: int = option(
        64, "channels of the first convolution, of which all layers are multiples; far narrower ones learn late", low=1
    )
    discriminator_rate: float = option(2e-4, "rate of the Adam of discriminator and recognition network", low=0)
    generator_rate: float = option(1e-3, "rate of the generator's Adam", low=0)
    batch: int = option(128, "images per step", low=2)
    features: str = option(
        "codes",
        "the embedding: codes (logits of the categories and means of the codes), all (the recognition network's whole "
        "output, with the variances that nothing trains) or hidden (the layer below it)",
    )


def discriminator_loss(on_images, on_made):
    """- mean [log D(x) + log(1 - D(G(z)))], minus V(D, G) of Chen et al. 2016, eq. 1.

    Args:
      on_images, on_made: [n] the discriminator's probabilities that an image is true.
    """
    return -tf.reduce_mean(_log(on_images) + _log(1 - on_made))


def generator_loss(on_made):
    """- mean log D(G(z)): Goodfellow et al. 2014, section 3, in place of the vanishing log(1 - D(G(z)))."""
    return -tf.reduce_mean(_log(on_made))


def categorical_information(category, logits):
    """L_I = H(c) + mean log Q(c | x) of the category, in nats (Chen et al. 2016, eq. 5).

    Args:
      category: [n, k] one-hot, drawn uniformly, so that H(c) = ln k.
      logits: [n, k] of the recognition network.
    """
    log_q = tf.reduce_sum(category * _log(tf.nn.softmax(logits)), axis=1)
    return math.log(category.shape[1]) + tf.reduce_mean(log_q)


def continuous_information(codes, means):
    """L_I of the continuous codes, Q(c | x) = N(c; mean, 1), in nats (Chen et al. 2016, eq. 5).

    H(c) is taken under N(0, 1), as in the authors' code: a constant without gradient that makes 0 of knowing nothing.

    Args:
      codes: [n, m] drawn.
      means: [n, m] of the recognition network.
    """
    return tf.reduce_mean(gaussian_log_density(codes, means) - gaussian_log_density(codes, 0.0))


def gaussian_log_density(x, mean):
    """Sum over the last axis of log N(x; mean, 1) = -1/2 (x - mean)^2 - 1/2 log 2 pi."""
    return tf.reduce_sum(-0.5 * tf.square(x - mean) - 0.5 * math.log(2 * math.pi), axis=-1)


def _log(probability):
    return tf.math.log(probability + _TINY)


def check_sides(image_shape: tuple[int, ...]) -> None:
    """The generator doubles its first image twice.

    Raises:
      InputError: a side is no multiple of 4.
    """
    if any(side % 4 for side in image_shape[:2]):
        raise InputError(
            f"infogan takes images whose sides are multiples of 4, such as 28x28x1, these are {text(image_shape)}: "
            "pad or resize them"
        )


def by_batch(model: keras.Model, x) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """model(x), normalised by the batch's statistics, and these, in the order of `model.non_trainable_variables`.

    The model stays as it is.
    """
    return model.stateless_call(model.trainable_variables, model.non_trainable_variables, x, training=True)


class Infogan(Network):
    """Generator, discriminator and recognition network with the step that trains them.

    A step is one alternation: discriminator and recognition network, then the generator with fresh latents. In training
    all is normalised by the batch's statistics, true and made images each by their own.

    `encode` normalises by those of the true images, of which the losses show the recognition network none: `finish`
    takes their means over the training images with the final weights (running averages lag behind the weights).
    """

    def __init__(self, options: Options, plan: Plan):
        super().__init__(name="infogan")
        check_sides(plan.image_shape)
        self._options = options
        uses = ("discriminator", "generator", "pictures", "averages")
        self._noise = {use: seeds.derive(plan.seed, f"infogan {use}") for use in uses}
        weights, depth = seeds.derive(plan.seed, "infogan weights"), options.depth
        size = options.noise + options.categories + options.codes
        self.generator = networks.generator(size, plan.image_shape, depth, weights)
        self.trunk = networks.trunk(plan.image_shape, depth, weights)
        self.head = networks.head(depth, weights)
        self.hidden = networks.hidden(depth, weights)
        self.recognition = networks.recognition(options.categories + 2 * options.codes, depth, weights)
        adam = functools.partial(FusedAdam, beta_1=0.5, epsilon=1e-8)
        self.compile(optimizer=adam(options.discriminator_rate), jit_compile=False)
        self.generator_optimizer = adam(options.generator_rate)
        for optimizer, player in zip(self.optimizers, self.players, strict=True):
            optimizer.build(player)
        self.built = True

    @property
    def players(self) -> tuple[list, list]:
        """Weights of discriminator and recognition network, and of the generator."""
        parts = (self.trunk, self.head, self.hidden, self.recognition)
        return [v for part in parts for v in part.trainable_variables], self.generator.trainable_variables

    @property
    def optimizers(self) -> list:
        """The discriminator's and the generator's."""
        return [self.optimizer, self.generator_optimizer]

    def scaled(self, images):
        """[n, h, w, c] uint8 -> float32 in 0..1."""
        return tf.cast(images, tf.float32) * (1 / 255)

    def encode(self, images):
        """[n, h, w, c] uint8 -> [n, dim] by the training images' statistics; `features` says what."""
        hidden = self.hidden(self.trunk(self.scaled(images)))
        if self._options.features == "hidden":
            return hidden
        kept = self._options.categories + self._options.codes
        return self.recognition(hidden)[:, : None if self._options.features == "all" else kept]

    def call(self, images):
        """[n, h, w, c] uint8 -> [n] probability of being true."""
        return self._judge(self.trunk(self.scaled(images)))

    def latents(self, use: str, step, n: int) -> Latents:
        """n latents of a step; `use` is "discriminator", "generator" or "pictures"."""
        options, seed = self._options, tf.stack([self._noise[use], step])
        u = tf.random.stateless_uniform((n, options.noise + 1 + options.codes), seed)
        return draw(u, options.noise, options.categories, options.codes)

    def _judge(self, features):
        """[n, 16 d] -> [n] the discriminator's probabilities."""
        return tf.sigmoid(self.head(features)[:, 0])

    def _seen(self, made, latents: Latents) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The discriminator's probabilities [n] for made images, and what these tell of their code."""
        features, _ = by_batch(self.trunk, made)
        flat = self.recognition(by_batch(self.hidden, features)[0])
        k, m = self._options.categories, self._options.codes
        logits, means, _ = tf.split(flat, [k, m, m], axis=1)  # the last are log-variances, unused
        return self._judge(features), {
            "categorical_information": categorical_information(latents.category, logits),
            "continuous_information": continuous_information(latents.codes, means),
        }

    def discriminator_losses(self, x, made, latents: Latents) -> dict[str, tf.Tensor]:
        """Its loss and the informations, for true images x and images made of the latents, both [n, h, w, c]."""
        on_images = self._judge(by_batch(self.trunk, x)[0])
        on_made, informations = self._seen(made, latents)
        return {"discriminator_loss": discriminator_loss(on_images, on_made), **informations}

    def generator_losses(self, latents: Latents) -> dict[str, tf.Tensor]:
        """Its loss and the informations."""
        on_made, informations = self._seen(by_batch(self.generator, latents.vectors())[0], latents)
        return {"generator_loss": generator_loss(on_made), **informations}

    def objective(self, losses: dict[str, tf.Tensor]):
        """A player's loss - lambda L_I, its half of Chen et al. 2016, eq. 6."""
        loss, *informations = losses.values()
        return loss - self._options.weight * tf.add_n(informations)

    def train_step(self, data):
        """One alternation; data is (step, [batch, h, w, c] uint8).

        Returns:
          The scalars of METRICS; the informations are those of the generator's half.
        """
        step, images = data
        x, n = self.scaled(images), tf.shape(images)[0]
        first, second = self.latents("discriminator", step, n), self.latents("generator", step, n)
        made, _ = by_batch(self.generator, first.vectors())
        losses = self._move(0, lambda: self.discriminator_losses(x, made, first))
        return {**losses, **self._move(1, lambda: self.generator_losses(second))}

    def _move(self, which: int, losses: Callable[[], dict[str, tf.Tensor]]) -> dict[str, tf.Tensor]:
        """One step of one player; returns its losses before it."""
        player = self.players[which]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([tf_variable(v) for v in player])
            values = losses()
            objective = self.objective(values)
        self.optimizers[which].apply(tape.gradient(objective, player), player)
        return values

    def finish(self, images):
        """Gives trunk and recognition network the mean statistics of the batches of one epoch."""
        batch = self._options.batch
        data = self.data(images, batch, self._noise["averages"], 0, len(images) // batch)
        statistics = tf.function(self.statistics)
        means = [np.mean(s, axis=0) for s in zip(*(statistics(part) for _, part in data), strict=True)]
        averages = [*self.trunk.non_trainable_variables, *self.hidden.non_trainable_variables]
        for average, mean in zip(averages, means, strict=True):
            average.assign(mean)

    def statistics(self, images) -> list[tf.Tensor]:
        """Those that normalise a batch of true images, [n, h, w, c] uint8, in trunk and recognition network."""
        features, first = by_batch(self.trunk, self.scaled(images))
        return [*first, *by_batch(self.hidden, features)[1]]

    def pictures(self, images):
        """The pictures of PICTURES, which no image changes."""
        del images
        latents = self.latents("pictures", tf.constant(0, tf.int64), self._options.categories * _COLUMNS)
        one = each_category(latents.first(1))
        values = tf.linspace(-_REACH, _REACH, _COLUMNS)
        shown = {
            "samples": latents,
            "categories": each_category(latents.first(_COLUMNS)),
            "codes": joined(each_value(one, code, values) for code in range(self._options.codes)),
        }
        _, statistics = by_batch(self.generator, latents.vectors())  # of random ones, for all
        return {name: self._made(some, statistics) for name, some in shown.items()}

    def _made(self, latents: Latents, statistics):
        """[n] latents -> [n / columns, columns, h, w, c] images, normalised by given statistics."""
        made, _ = self.generator.stateless_call(self.generator.trainable_variables, statistics, latents.vectors())
        return tf.reshape(made, (-1, _COLUMNS, *made.shape[1:]))


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """InfoGAN, not fitted yet; 5000 steps unless the context says otherwise.

    `fit` raises InputError for images whose sides are no multiples of 4.

    Raises:
      InputError: a setting out of its range.
    """
    options = options or Options()
    if options.features not in FEATURES:
        raise InputError(f"--infogan_features={options.features}: it must be one of {', '.join(FEATURES)}")
    steps = context.steps if context and context.steps else STEPS
    return TrainedEmbedder("infogan", Infogan, options, steps)
