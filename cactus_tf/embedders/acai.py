"""ACAI: an autoencoder whose interpolations a critic cannot tell from reconstructions (Berthelot et al. 2018).

A critic learns to recover the mixing coefficient of two images from the decoded mix of their codes; the autoencoder
learns to make it answer 0, as for no mix. Arrays below are [batch, height, width, channels].
"""

from __future__ import annotations

import dataclasses
import functools
import math

import keras
import tensorflow as tf

from cactus_tf.config.schema import option
from cactus_tf.contracts import Embedder, EmbedderContext, EmbedderInfo
from cactus_tf.embedders._base.image_arrays import text
from cactus_tf.embedders._base.layers import PointwiseThenConv, activate, conv
from cactus_tf.embedders._base.losses import reconstruction_error
from cactus_tf.embedders._base.network import Network, NetworkContext
from cactus_tf.embedders._base.replicas import own
from cactus_tf.embedders._base.trained import TrainedEmbedder
from cactus_tf.errors import InputError
from cactus_tf.utils import seeds

INFO = EmbedderInfo(
    trained=True,
    divided=True,
    steps=2**18,  # 2^24 images in batches of 64
    metrics={
        "autoencoder_loss": "reconstruction_error + lambda x mean squared answer of the critic to mixes",
        "reconstruction_error": "mean squared difference of image and reconstruction; pixels are in [-1, 1]",
        "critic_loss": "squared error of the critic on the mixing coefficient, plus its squared answer to blended "
        "images",
        "critic_on_mixes": "mean answer of the critic to decoded mixes; the true coefficient has mean 0.25",
    },
    pictures={
        "reconstructions": "images, and below them what the decoder makes of their codes",
        "interpolations": "a row per pair of images: decoded mixes of their codes, the share of the second from 0 to 1",
    },
)
_MIXES = 9  # of a picture


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of ACAI; the defaults are the authors'."""

    depth: int | None = option(
        None,
        "channels of the first scale; default: 16 for gray, 64 for color",
        symbol="d",
        low=1,
        source="Berthelot et al. 2018, code; 16 is its depth for MNIST",
    )
    latent: int = option(16, "channels of the code", low=1, source="Berthelot et al. 2018, code")
    latent_width: int = option(
        4,
        "side of the code, for images whose side is this times a power of 2",
        low=1,
        source="Berthelot et al. 2018, code",
    )
    advweight: float = option(
        0.5, "weight of fooling the critic", symbol="lambda", low=0, source="Berthelot et al. 2018, code"
    )
    gamma: float = option(
        0.2,
        "share of the image in blends, which the critic must call unmixed",
        symbol="gamma",
        low=0,
        high=1,
        source="Berthelot et al. 2018, code",
    )
    rate: float = option(1e-4, "learning rate of both Adams", low=0, source="Berthelot et al. 2018, code")
    batch: int = option(64, "images per step", low=2, source="Berthelot et al. 2018, code")


def mixing_coefficient(u: tf.Tensor) -> tf.Tensor:
    """alpha = 0.5 - |u - 0.5|: uniform on [0, 0.5] for u uniform on [0, 1)."""
    return 0.5 - abs(u - 0.5)


def mix(h: tf.Tensor, alpha: tf.Tensor) -> tf.Tensor:
    """h_alpha = alpha h_1 + (1 - alpha) h_2; code i is mixed with code n - 1 - i.

    Args:
      h: [n, height, width, latent] codes.
      alpha: [n] in [0, 0.5].
    """
    alpha = tf.reshape(alpha, (-1, 1, 1, 1))
    return alpha * h + (1 - alpha) * h[::-1]


def blend(x: tf.Tensor, reconstruction: tf.Tensor, gamma: float) -> tf.Tensor:
    """gamma x + (1 - gamma) r, which the critic must call unmixed."""
    return reconstruction + gamma * (x - reconstruction)


def autoencoder_loss(
    x: tf.Tensor, reconstruction: tf.Tensor, critic_on_mixes: tf.Tensor, advweight: float
) -> tf.Tensor:
    """mean (x - r)^2 + lambda mean c(y)^2 (Berthelot et al. 2018, L_f,g).

    Args:
      x, reconstruction: [n, h, w, c] images in [-1, 1].
      critic_on_mixes: [n] the critic's answers c(y) to decoded mixes.
      advweight: lambda.
    """
    return reconstruction_error(x, reconstruction) + advweight * tf.reduce_mean(tf.square(critic_on_mixes))


def critic_loss(critic_on_mixes: tf.Tensor, alpha: tf.Tensor, critic_on_blends: tf.Tensor) -> tf.Tensor:
    """mean (c(y) - alpha)^2 + mean c(gamma x + (1 - gamma) r)^2 (Berthelot et al. 2018, L_d).

    Args:
      critic_on_mixes: [n] answers to decoded mixes.
      alpha: [n] their mixing coefficients.
      critic_on_blends: [n] answers to blends.
    """
    return tf.reduce_mean(tf.square(critic_on_mixes - alpha)) + tf.reduce_mean(tf.square(critic_on_blends))


def encoder(shape: tuple[int, ...], depth: int, latent: int, scales: int, seed: int, name: str) -> keras.Model:
    """Images [n, h, w, c] -> codes [n, h / 2^scales, w / 2^scales, latent], linear at both ends."""
    x = inputs = keras.Input(shape)
    x = activate(PointwiseThenConv(depth, seed, f"{name}_0a")(x))
    x = keras.layers.AveragePooling2D(2)(activate(conv(x, depth, seed, f"{name}_0b")))
    for i in range(1, scales):
        x = keras.layers.AveragePooling2D(2)(_pair(x, depth * 2**i, seed, f"{name}_{i}"))
    x = activate(conv(x, depth * 2**scales, seed, f"{name}_wide"))
    return keras.Model(inputs, conv(x, latent, seed, f"{name}_out"), name=name)


def decoder(shape: tuple[int, ...], depth: int, colors: int, scales: int, seed: int) -> keras.Model:
    """Codes [n, h, w, latent] -> images [n, h 2^scales, w 2^scales, colors], linear."""
    x = inputs = keras.Input(shape)
    for i in reversed(range(scales)):
        x = keras.layers.UpSampling2D(2, interpolation="nearest")(_pair(x, depth * 2**i, seed, f"decoder_{i}"))
    x = activate(conv(x, depth, seed, "decoder_narrow"))
    return keras.Model(inputs, conv(x, colors, seed, "decoder_out"), name="decoder")


def _pair(x: tf.Tensor, filters: int, seed: int, name: str) -> tf.Tensor:
    return activate(conv(activate(conv(x, filters, seed, f"{name}a")), filters, seed, f"{name}b"))


def scales_of(image_shape: tuple[int, ...], latent_width: int) -> int:
    """s = round(log2(side / latent_width)), how often the encoder halves the shorter side."""
    scales = round(math.log2(min(image_shape[:2]) / latent_width))
    if scales < 1:
        least = math.ceil(latent_width * math.sqrt(2))
        raise InputError(
            f"acai takes images of at least {least} pixels a side, these are {text(image_shape)}: "
            "enlarge them or lower --acai_latent_width"
        )
    return scales


def paddings(image_shape: tuple[int, ...], scales: int) -> list[list[int]]:
    """Rows and columns of background that make both sides multiples of 2^scales, the odd one last: 28 -> 32."""
    missing = [-side % 2**scales for side in image_shape[:2]]
    return [[0, 0], *([m // 2, m - m // 2] for m in missing), [0, 0]]


class Acai(Network):
    """Encoder, decoder and critic; both players' gradients are taken at the same weights, then both are updated."""

    def __init__(self, options: Options, context: NetworkContext):
        super().__init__(name="acai")
        height, width, colors = context.image_shape
        scales = scales_of(context.image_shape, options.latent_width)
        depth = options.depth or (16 if colors == 1 else 64)
        self._paddings = paddings(context.image_shape, scales)
        shape = (height + sum(self._paddings[1]), width + sum(self._paddings[2]), colors)
        weights = seeds.derive(context.seed, "acai weights")
        self._noise = seeds.derive(context.seed, "acai mixing")
        self._advweight, self._gamma = options.advweight, options.gamma
        self.encoder = encoder(shape, depth, options.latent, scales, weights, "encoder")
        self.decoder = decoder(self.encoder.output_shape[1:], depth, colors, scales, weights)
        self.critic = encoder(shape, depth, options.latent, scales, weights, "critic")
        adam = functools.partial(keras.optimizers.Adam, options.rate, epsilon=1e-8)
        self.compile_players(adam(), adam())

    @property
    def players(self) -> tuple[list[keras.Variable], list[keras.Variable]]:
        """Weights of the autoencoder, and of the critic."""
        autoencoder = [*self.encoder.trainable_variables, *self.decoder.trainable_variables]
        return autoencoder, self.critic.trainable_variables

    def scaled(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> padded float32 in [-1, 1]; background is black, -1."""
        return tf.pad(tf.cast(images, tf.float32), self._paddings) * (2 / 255) - 1  # TFLite pads no uint8

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> [n, dim] codes, flattened by height, width, channel."""
        codes = self.encoder(self.scaled(images))
        return tf.reshape(codes, (-1, math.prod(codes.shape[1:])))

    def critique(self, x: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] images in [-1, 1] -> [n]: the mean of the critic's map is its guess at alpha."""
        return tf.reduce_mean(self.critic(x), axis=(1, 2, 3))

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> padded reconstructions in about [-1, 1]."""
        return self.decoder(self.encoder(self.scaled(images)))

    def pictures(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The pictures of INFO; image i is paired with image n - 1 - i."""
        x = self.scaled(images)
        h = self.encoder(x)
        shares = tf.linspace(0.0, 1.0, _MIXES)
        mixes = [self.decoder((1 - share) * h + share * h[::-1]) for share in shares]
        pairs = tf.stack(mixes, axis=1)[: len(images) // 2]
        shown = {"reconstructions": tf.stack([x, self.decoder(h)]), "interpolations": pairs}
        return {name: tf.clip_by_value((picture + 1) / 2, 0, 1) for name, picture in shown.items()}

    def losses(self, x: tf.Tensor, alpha: tf.Tensor) -> dict[str, tf.Tensor]:
        """The metrics of INFO.

        Args:
          x: [n, h, w, c] padded images in [-1, 1].
          alpha: [n] mixing coefficients.
        """
        h = self.encoder(x)
        reconstruction = self.decoder(h)
        on_mixes = self.critique(self.decoder(mix(h, alpha)))
        on_blends = self.critique(blend(x, reconstruction, self._gamma))
        return {
            "autoencoder_loss": autoencoder_loss(x, reconstruction, on_mixes, self._advweight),
            "reconstruction_error": reconstruction_error(x, reconstruction),
            "critic_loss": critic_loss(on_mixes, alpha, on_blends),
            "critic_on_mixes": tf.reduce_mean(on_mixes),
        }

    def replica_step(self, step: tf.Tensor, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of both players."""
        u = tf.random.stateless_uniform((tf.shape(images)[0],), seed=tf.stack([self._noise, step]))
        with tf.GradientTape(persistent=True) as tape:
            losses = self.losses(self.scaled(own(images)), mixing_coefficient(own(u)))
        names = ("autoencoder_loss", "critic_loss")
        gradients = [tape.gradient(losses[name], player) for name, player in zip(names, self.players, strict=True)]
        for optimizer, player, grads in zip(self.optimizers, self.players, gradients, strict=True):
            optimizer.apply(grads, player)
        return losses


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """ACAI, not fitted yet.

    `fit` raises InputError for images whose shorter side is below latent_width x sqrt(2); other sides are padded.
    """
    context = context or EmbedderContext()
    return TrainedEmbedder("acai", Acai, options or Options(), context.steps or INFO.default_steps(context.dataset))
