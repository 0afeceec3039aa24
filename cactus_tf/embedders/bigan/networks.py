"""The networks of BiGAN: two trios of generator, encoder and joint discriminator (Donahue et al. 2017, appendix C).

Convolutions and fully connected layers have no bias. Where a code z is injected, a projection Wz is added to the input
of the batch norm; every layer has its own W.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

from cactus_tf.embedders._base.layers import activate, keras_seed
from cactus_tf.embedders.bigan.layers import KERNEL, Deconvolution, DeployedBatchNorm, PaddedConvolution, halved

SIDE = 64  # of the images that the convolutional trio sees
_DEVIATION = 0.02  # of the initial weights


class Trio(NamedTuple):
    """The three networks.

    Attributes:
      generator: codes [n, dims] -> x.
      encoder: x -> codes [n, dims] in (-1, 1).
      discriminator: (x, codes) -> [n, 1] logits of "an image and its code", not "a code and its sample".
    """

    generator: keras.Model
    encoder: keras.Model
    discriminator: keras.Model


def squash(a: tf.Tensor) -> tf.Tensor:
    """z = 2 sigmoid(a) - 1, between -1 and 1."""
    return 2 * tf.sigmoid(a) - 1


class _Part:
    """Makes the layers of one network; the initial weights follow from the seed and the layer's name."""

    def __init__(self, name: str, seed: int, affine: bool):
        self.name, self.seed, self.affine = name, seed, affine

    def normal(self, layer: str, deviation: float = _DEVIATION) -> keras.initializers.Initializer:
        """N(0, deviation^2), untruncated."""
        return keras.initializers.RandomNormal(stddev=deviation, seed=keras_seed(self.seed, f"{self.name} {layer}"))

    def dense(self, x: tf.Tensor, units: int, layer: str, initializer: Any = None) -> tf.Tensor:
        """Wx."""
        initializer = initializer or self.normal(layer)
        return keras.layers.Dense(units, use_bias=False, kernel_initializer=initializer, name=layer)(x)

    def conv(
        self, x: tf.Tensor, filters: int, kernel: int, layer: str, *, stride: int = 1, groups: int = 1
    ) -> tf.Tensor:
        """A convolution padded by half its kernel."""
        return PaddedConvolution(filters, kernel, stride, groups, self.normal(layer), name=layer)(x)

    def deconv(self, x: tf.Tensor, filters: int, layer: str) -> tf.Tensor:
        """A transposed convolution to twice the size."""
        return Deconvolution(filters, self.normal(layer), name=layer)(x)

    def inject(self, x: tf.Tensor, z: tf.Tensor, layer: str) -> tf.Tensor:
        """x + Wz, the same at every place of a map; there W is 5^2 times as large, for the 5x5 terms of a kernel."""
        maps = len(x.shape) == 4
        deviation = _DEVIATION * (KERNEL**2 if maps else 1)
        shift = self.dense(z, x.shape[-1], f"{layer}_z", self.normal(f"{layer}_z", deviation))
        return keras.layers.Add()([x, keras.layers.Reshape((1, 1, -1))(shift) if maps else shift])

    def norm(self, x: tf.Tensor, layer: str) -> tf.Tensor:
        """Batch norm."""
        return DeployedBatchNorm(affine=self.affine, name=f"{layer}_norm")(x)

    def relu(self, x: tf.Tensor, layer: str) -> tf.Tensor:
        """Batch norm, then max(x, 0)."""
        return keras.layers.ReLU()(self.norm(x, layer))

    def leaky(self, x: tf.Tensor, layer: str) -> tf.Tensor:
        """Batch norm, then max(x, 0.2 x)."""
        return activate(self.norm(x, layer))

    def code(self, x: tf.Tensor, dims: int) -> tf.Tensor:
        """The code: linear, then squashed."""
        return keras.layers.Activation(squash)(self.dense(x, dims, "out"))

    def logit(self, x: tf.Tensor) -> tf.Tensor:
        """The discriminator's logit; it starts at zero, so the first losses are ln 2."""
        return self.dense(x, 1, "out", keras.initializers.Zeros())


def mlp_trio(pixels: int, dims: int, units: int, seed: int) -> Trio:
    """For flat images in [0, 1]; batch norm has neither gamma nor beta.

    Args:
      pixels: size of a flat image.
      dims: size of a code.
      units: of each hidden layer.
      seed: of the initial weights.
    """
    return Trio(
        _mlp_generator(_Part("generator", seed, affine=False), pixels, dims, units),
        _mlp_encoder(_Part("encoder", seed, affine=False), pixels, dims, units),
        _mlp_discriminator(_Part("discriminator", seed, affine=False), pixels, dims, units),
    )


def _mlp_generator(part: _Part, pixels: int, dims: int, units: int) -> keras.Model:
    z = keras.Input((dims,))
    h = part.relu(part.dense(z, units, "fc1"), "fc1")
    h = part.relu(part.inject(part.dense(h, units, "fc2"), z, "fc2"), "fc2")
    return keras.Model(z, keras.layers.Activation("sigmoid")(part.dense(h, pixels, "out")), name=part.name)


def _mlp_encoder(part: _Part, pixels: int, dims: int, units: int) -> keras.Model:
    x = keras.Input((pixels,))
    h = activate(part.dense(x, units, "fc1"))
    h = part.leaky(part.dense(h, units, "fc2"), "fc2")
    return keras.Model(x, part.code(h, dims), name=part.name)


def _mlp_discriminator(part: _Part, pixels: int, dims: int, units: int) -> keras.Model:
    x, z = keras.Input((pixels,)), keras.Input((dims,))
    h = activate(part.dense(x, units, "fc1"))
    h = part.leaky(part.inject(part.dense(h, units, "fc2"), z, "fc2"), "fc2")
    return keras.Model([x, z], part.logit(h), name=part.name)


def conv_trio(colors: int, dims: int, filters: int, seed: int) -> Trio:
    """For images [64, 64, colors] in [-1, 1]; batch norm has gamma and beta.

    Args:
      colors: channels of an image.
      dims: size of a code.
      filters: of the discriminator's first convolution, a multiple of 4; all other widths follow from it.
      seed: of the initial weights.
    """
    return Trio(
        _conv_generator(_Part("generator", seed, affine=True), colors, dims, filters),
        _conv_encoder(_Part("encoder", seed, affine=True), colors, dims, filters),
        _conv_discriminator(_Part("discriminator", seed, affine=True), colors, dims, filters),
    )


def _conv_generator(part: _Part, colors: int, dims: int, filters: int) -> keras.Model:
    """Maps of 4x4, 8x8, 16x16, 32x32, 64x64; the first batch norm has statistics for each of its units."""
    z = keras.Input((dims,))
    side, widest = SIDE // 16, 8 * filters
    h = part.relu(part.dense(z, side * side * widest, "fc"), "fc")
    h = keras.layers.Reshape((side, side, widest))(h)
    for i, times in enumerate((4, 2, 1), 1):
        layer = f"deconv{i}"
        h = part.relu(part.inject(part.deconv(h, times * filters, layer), z, layer), layer)
    return keras.Model(z, keras.layers.Activation(squash)(part.deconv(h, colors, "out")), name=part.name)


def _conv_discriminator(part: _Part, colors: int, dims: int, filters: int) -> keras.Model:
    """Maps of 32x32, 16x16, 8x8, 4x4."""
    x, z = keras.Input((SIDE, SIDE, colors)), keras.Input((dims,))
    h = activate(part.conv(x, filters, KERNEL, "conv1", stride=2))
    for i, times in enumerate((2, 4, 8), 2):
        layer = f"conv{i}"
        h = part.leaky(part.inject(part.conv(h, times * filters, KERNEL, layer, stride=2), z, layer), layer)
    return keras.Model([x, z], part.logit(keras.layers.Flatten()(h)), name=part.name)


def _conv_encoder(part: _Part, colors: int, dims: int, filters: int) -> keras.Model:
    """AlexNet's convolutions (`alexnet_group_padpool`): maps of 16x16, 8x8, 8x8, 4x4, 4x4, 4x4, 4x4."""
    x = keras.Input((SIDE, SIDE, colors))
    h = halved(activate(part.conv(x, filters * 3 // 2, 11, "conv1", stride=4)))
    h = halved(part.leaky(part.conv(h, 4 * filters, 5, "conv2", groups=2), "conv2"))
    for i, (times, groups) in enumerate(((6, 1), (6, 2), (4, 2)), 3):
        h = part.leaky(part.conv(h, times * filters, 3, f"conv{i}", groups=groups), f"conv{i}")
    return keras.Model(x, part.code(keras.layers.Flatten()(h), dims), name=part.name)
