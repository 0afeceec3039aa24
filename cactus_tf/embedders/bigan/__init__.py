"""BiGAN: a generator, its inverse, and a discriminator of (image, code) pairs (Donahue, Kraehenbuehl, Darrell 2017).

The discriminator tells (x, E(x)) of the data from (G(z), z) of the prior; generator and encoder learn to deceive it,
which they do only where E inverts G. The code of an image is E(x).
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math

import numpy as np
import tensorflow as tf

from cactus_tf.config.schema import option
from cactus_tf.contracts import Embedder, EmbedderContext
from cactus_tf.embedders._base.adam import ConstantThenDecay, FusedAdam
from cactus_tf.embedders._base.fitting import Network, Plan
from cactus_tf.embedders._base.trained import TrainedEmbedder
from cactus_tf.embedders.bigan import networks as networks
from cactus_tf.embedders.bigan.image_forms import Crops, Flat
from cactus_tf.embedders.bigan.layers import deploy
from cactus_tf.errors import InputError
from cactus_tf.utils import seeds

log = logging.getLogger(__name__)

NETWORKS = ("mlp", "conv")
DIMS: dict[str | None, int] = {"mnist": 50, "digits": 50, None: 200}  # the authors' u-50 and u-200
# The authors' scripts: 200 epochs at a constant rate and 200 of decay, of 390 batches on MNIST. Hsu et al. 2019 do not
# say theirs: 400 epochs (171 batches on Omniglot), at most 200,000 steps. Digits have 7 batches.
STEPS = {"mnist": 400 * 390, "omniglot": 400 * 171, "miniimagenet": 400 * 300, "celeba": 200_000, "digits": 400 * 7}
EPOCHS, MOST_STEPS = 400, 200_000  # elsewhere
_LAST = 0.01  # of the rate, what the decay leaves
_MIXES, _SAMPLES, _ROWS = 9, 64, 4  # of the pictures
METRICS = {
    "discriminator_loss": "cross-entropy of telling (image, code) from (sample, code), in nats; ln 2 is a guess",
    "generator_loss": "the same with the answers swapped, which generator and encoder minimise",
    "reconstruction_error": "mean squared difference of images and G(E(x)); pixels are in [0, 1] (conv: [-1, 1])",
}
PICTURES = {
    "reconstructions": "images, and below them what the generator makes of their codes",
    "samples": "what the generator makes of 64 fixed codes of the prior",
    "interpolations": "a row per pair of images: the generator on mixes of their codes, from the one to the other",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of BiGAN; the defaults are those of Donahue et al. 2017 and their scripts."""

    network: str | None = option(None, "mlp or conv; unsaid mlp for images with a side below 64, else conv")
    dims: int | None = option(None, "numbers of the code; unsaid 50 for mnist and digits, else 200", low=1)
    units: int = option(1024, "units of each hidden layer (mlp)", low=1)
    filters: int = option(64, "channels of the discriminator's first layer, a multiple of 4 (conv)", low=4)
    rate: float = option(2e-4, "rate of both Adams in the first half; it ends at a hundredth", low=0)
    beta: float = option(0.5, "decay of Adam's mean of gradients", symbol="beta_1", low=0, high=0.999)
    decay: float = option(2.5e-5, "L2 decay, added to the gradient of all weights but gains", low=0)
    batch: int = option(128, "images per step", low=2)
    deploy_batches: int = option(1000, "batches whose statistics are averaged for encoding", low=1)


def prior(shape, seed):
    """z ~ U(-1, 1).

    Args:
      shape: (n, dims).
      seed: [2] int64.
    """
    return tf.random.stateless_uniform(shape, seed, -1, 1)


def discriminator_loss(on_data, on_samples):
    """1/2 (mean -log D(x, E(x)) + mean -log(1 - D(G(z), z))): -V(D, E, G) / 2 of Donahue et al. 2017, eq. 3.

    Args:
      on_data: [n, 1] logits of D for images with their codes.
      on_samples: [n, 1] logits for codes with their samples.
    """
    return (tf.reduce_mean(tf.nn.softplus(-on_data)) + tf.reduce_mean(tf.nn.softplus(on_samples))) / 2


def generator_loss(on_data, on_samples):
    """1/2 (mean -log(1 - D(x, E(x))) + mean -log D(G(z), z)): the "inverse" objective of Donahue et al. 2017, 3.4.

    It is the discriminator's loss with the answers swapped, whose gradient is strong where that of -V fades: where D is
    sure.

    Args:
      on_data: [n, 1] logits of D for images with their codes.
      on_samples: [n, 1] logits for codes with their samples.
    """
    return discriminator_loss(on_samples, on_data)


def decayed(gradient, weight, decay: float):
    """g + decay x w: the gradient of loss + decay / 2 |w|^2."""
    return gradient + decay * weight


def reconstruction_error(x, reconstruction):
    """Mean of (x - G(E(x)))^2 over the batch and all pixels."""
    return tf.reduce_mean(tf.square(x - reconstruction))


class Bigan(Network):
    """The trio with the step that trains it.

    Both players' gradients are taken at the same weights, then both are updated. `encode` normalises with statistics
    that `finish` stores.
    """

    scheduled = True

    def __init__(self, options: Options, plan: Plan):
        super().__init__(name="bigan")
        self._decay, self._batch, self._deploy_batches = options.decay, options.batch, options.deploy_batches
        self._dims = options.dims or DIMS[None]
        self._purpose = functools.partial(seeds.derive, plan.seed)
        self._form, trio = _networks(options, plan.image_shape, self._dims, self._purpose("bigan weights"))
        self.generator, self.encoder, self.discriminator = trio
        schedule = ConstantThenDecay(plan.steps, options.rate, _LAST)
        adam = functools.partial(FusedAdam, schedule, beta_1=options.beta, epsilon=1e-8)
        self.compile(optimizer=adam(), jit_compile=False)
        self.discriminator_optimizer = adam()
        for optimizer, player in zip(self.optimizers, self.players, strict=True):
            optimizer.build(player)
        self.built = True

    @property
    def players(self) -> tuple[list, list]:
        """Weights of generator and encoder, and of the discriminator."""
        return (
            [*self.generator.trainable_variables, *self.encoder.trainable_variables],
            self.discriminator.trainable_variables,
        )

    @property
    def optimizers(self) -> list:
        """That of generator and encoder, and the discriminator's."""
        return [self.optimizer, self.discriminator_optimizer]

    def encode(self, images):
        """[n, h, w, c] uint8 -> [n, dims] codes in (-1, 1)."""
        return self.encoder(self._form.encoding(images), training=False)

    def call(self, images):
        """[n, h, w, c] uint8 -> their reconstructions G(E(x)) in 0..1, [n, 64, 64, c] of the convolutional trio.

        The generator normalises with the statistics of this batch.
        """
        return self._form.pictured(self.generator(self.encode(images), training=True))

    def losses(self, x, z) -> dict[str, tf.Tensor]:
        """The scalars of METRICS.

        Args:
          x: [n, ...] images in the networks' form.
          z: [n, dims] codes of the prior.
        """
        codes = self.encoder(x, training=True)
        on_data = self.discriminator([x, codes], training=True)
        on_samples = self.discriminator([self.generator(z, training=True), z], training=True)
        some = math.ceil(self._batch / 4)  # enough to watch
        reconstruction = self.generator(tf.stop_gradient(codes[:some]), training=True)
        return {
            "discriminator_loss": discriminator_loss(on_data, on_samples),
            "generator_loss": generator_loss(on_data, on_samples),
            "reconstruction_error": reconstruction_error(x[:some], reconstruction),
        }

    def train_step(self, data):
        """One step of both players; data is (step, [batch, h, w, c] uint8)."""
        step, images = data
        x = self._form.training(images, self._key("bigan crops", step))
        z = prior((tf.shape(images)[0], self._dims), self._key("bigan prior", step))
        with tf.GradientTape(persistent=True) as tape:
            losses = self.losses(x, z)
        names = ("generator_loss", "discriminator_loss")
        gradients = [tape.gradient(losses[n], player) for n, player in zip(names, self.players, strict=True)]
        for optimizer, player, own in zip(self.optimizers, self.players, gradients, strict=True):
            optimizer.apply([self._with_decay(g, v) for g, v in zip(own, player, strict=True)], player)
        return losses

    def finish(self, images: np.ndarray) -> None:
        """Stores the statistics that the encoder has on average over training batches."""
        log.info("bigan: taking the statistics of %d batches", self._deploy_batches)
        steps = self._deploy_batches
        data = self.data(images, self._batch, self._purpose("bigan deploy"), 0, steps)
        places = functools.partial(self._key, "bigan deploy crops")
        deploy(self.encoder, data.map(lambda step, batch: self._form.training(batch, places(step))))

    def pictures(self, images):
        """The pictures of PICTURES; an image is paired with its mirror image in the row.

        They are normalised by their own statistics, as `finish` comes after the last of them.
        """
        x = self._form.encoding(images)
        codes = self.encoder(x, training=True)
        pairs = interpolated(codes, _MIXES)
        fixed = prior((_SAMPLES, self._dims), self._key("bigan pictures", 0))
        z = tf.concat([codes, tf.reshape(pairs, (-1, self._dims)), fixed], axis=0)
        made = self._form.pictured(self.generator(z, training=True))
        of_codes, of_pairs, of_fixed = tf.split(made, [len(images), len(pairs) * _MIXES, _SAMPLES])
        return {
            "reconstructions": tf.stack([self._form.pictured(x), of_codes]),
            "samples": tf.reshape(of_fixed, (_ROWS, _SAMPLES // _ROWS, *made.shape[1:])),
            "interpolations": tf.reshape(of_pairs, (len(pairs), _MIXES, *made.shape[1:])),
        }

    def _with_decay(self, gradient, variable):
        return gradient if variable.name == "gain" else decayed(gradient, variable, self._decay)

    def _key(self, purpose: str, step):
        return tf.stack([tf.constant(self._purpose(purpose), tf.int64), tf.cast(step, tf.int64)])


def interpolated(codes, mixes: int):
    """[n, dims] -> [n // 2, mixes, dims]: from each code of the first half to its mirror image in the row."""
    shares = tf.linspace(0.0, 1.0, mixes)[:, None]
    pairs = len(codes) // 2
    return (1 - shares) * codes[:pairs, None] + shares * codes[::-1][:pairs, None]


def _networks(options: Options, shape: tuple[int, ...], dims: int, seed: int):
    """How the networks see images of a shape, and the networks."""
    kind = options.network or ("mlp" if min(shape[:2]) < networks.SIDE else "conv")
    if kind == "mlp":
        return Flat(shape), networks.mlp_trio(math.prod(shape), dims, options.units, seed)
    return Crops(shape), networks.conv_trio(shape[2], dims, options.filters, seed)


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """BiGAN, not fitted yet; its length and the dims of its code are the data set's usual unless said.

    Raises:
      InputError: a network that there is not, or filters that do not divide into the encoder's groups.
    """
    context, options = context or EmbedderContext(), options or Options()
    if options.network not in (None, *NETWORKS):
        raise InputError(f"--bigan_network={options.network}: it must be {' or '.join(NETWORKS)}; or leave it out")
    if options.filters % 4:
        raise InputError(f"--bigan_filters={options.filters}: it must be a multiple of 4, for two groups of 1.5 x it")
    options = dataclasses.replace(options, dims=options.dims or DIMS.get(context.dataset, DIMS[None]))
    steps = context.steps or STEPS.get(context.dataset or "")
    return TrainedEmbedder("bigan", Bigan, options, steps, functools.partial(sized, steps))


def sized(steps: int | None, options: Options, images: int) -> tuple[Options, int]:
    """The length for a number of images, where it is unsaid."""
    return options, steps or min(MOST_STEPS, EPOCHS * max(1, images // options.batch))
