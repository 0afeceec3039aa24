"""The networks of BiGAN: two trios of generator, encoder and joint discriminator (Donahue et al. 2017, appendix C).

Convolutions and fully connected layers have no bias of their own. Where a code z is injected, a projection Wz is added
to what the batch norm normalises, every layer with a W of its own.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from cactus_tf import seeds
from cactus_tf.embedders._layers import activate

SIDE = 64  # of the images that the convolutional trio sees
_DEVIATION = 0.02  # of the initial weights
_KERNEL = 5  # side of the generator's and the discriminator's kernels
_EPSILON = 1e-8


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


def squash(a):
    """z = 2 sigmoid(a) - 1, between -1 and 1."""
    return 2 * tf.sigmoid(a) - 1


def padding(pixels: int) -> list[list[int]]:
    """The same number of pixels on all four sides, as Theano pads; SAME with a stride puts more of them last.

    It is done by hand, before VALID: padded by the kernels, deep layers take twice as long on a CPU.
    """
    return [[0, 0], [pixels, pixels], [pixels, pixels], [0, 0]]


class DeployedBatchNorm(keras.layers.Layer):
    """Batch norm without running averages: y = gain (x - mean) / sqrt(variance + 1e-8) + bias.

    In training the statistics are those of the batch, over all axes but the last, with the biased variance; otherwise
    those that `deploy` stored.

    Args:
      affine: whether there are a gain and a bias.
    """

    def __init__(self, *, affine: bool, **kwargs):
        super().__init__(**kwargs)
        self.affine = affine

    def build(self, shape):
        """Makes the weights for [..., channels]."""
        size = (shape[-1],)
        if self.affine:
            self.gain = self.add_weight(shape=size, initializer="ones", name="gain")
            self.bias = self.add_weight(shape=size, initializer="zeros", name="bias")
        self.mean = self.add_weight(shape=size, initializer="zeros", trainable=False, name="mean")
        self.variance = self.add_weight(shape=size, initializer="ones", trainable=False, name="variance")

    def call(self, x, training=False):
        """[n, channels] or [n, height, width, channels] -> the same shape."""
        channels, maps = x.shape[-1], len(x.shape) == 4
        normalised = tf.raw_ops.FusedBatchNormV3(
            x=x if maps else tf.reshape(x, (-1, 1, 1, channels)),
            scale=tf.convert_to_tensor(self.gain) if self.affine else tf.ones(channels),
            offset=tf.convert_to_tensor(self.bias) if self.affine else tf.zeros(channels),
            mean=tf.convert_to_tensor(self.mean),
            variance=tf.convert_to_tensor(self.variance),
            epsilon=_EPSILON,
            is_training=bool(training),
        )
        return normalised.y if maps else tf.reshape(normalised.y, (-1, channels))


def batch_statistics(x):
    """Mean and unbiased variance per channel, over all axes but the last.

    Where they hold n numbers, it is n / (n - 1) times the variance that a training step normalises with.
    """
    mean, variance = tf.nn.moments(x, list(range(len(x.shape) - 1)))
    n = tf.cast(tf.size(x) // x.shape[-1], x.dtype)
    return mean, variance * n / (n - 1)


def deploy(network: keras.Model, batches: tf.data.Dataset) -> None:
    """Stores in every batch norm the average over batches of `batch_statistics` of what it normalises.

    One pass serves all layers: below a norm, each batch is normalised by its own statistics, as in training.
    """
    norms = [layer for layer in network.layers if isinstance(layer, DeployedBatchNorm)]
    before = keras.Model(network.inputs, [norm.input for norm in norms])

    @tf.function
    def statistics(batch):
        return [batch_statistics(x) for x in tf.nest.flatten(before(batch, training=True))]

    sums = [(tf.zeros_like(norm.mean), tf.zeros_like(norm.variance)) for norm in norms]
    for batch in batches:
        sums = tf.nest.map_structure(tf.add, sums, statistics(batch))
    count = float(len(batches))
    for norm, (mean, variance) in zip(norms, sums, strict=True):
        norm.mean.assign(mean / count)
        norm.variance.assign(variance / count)


class Convolution(keras.layers.Layer):
    """A convolution without bias, padded by `pad` pixels on all sides.

    With two groups, each half of the filters sees half of the channels; done by halves, since TensorFlow has no
    gradient of grouped kernels on a CPU.

    Args:
      filters: channels of the result.
      kernel: side of the kernel.
      initializer: of the kernel [kernel, kernel, channels / groups, filters].
    """

    def __init__(self, filters: int, kernel: int, *, stride: int, pad: int, initializer, groups: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.side, self.stride, self.pad, self.groups = filters, kernel, stride, pad, groups
        self.initializer = initializer

    def build(self, shape):
        """Makes the kernel."""
        shape = (self.side, self.side, shape[-1] // self.groups, self.filters)
        self.kernel = self.add_weight(shape=shape, initializer=self.initializer, name="kernel")

    def call(self, x):
        """[n, h, w, channels] -> [n, (h + 2 pad - kernel) // stride + 1, the same of w, filters]."""
        kernel = tf.convert_to_tensor(self.kernel)
        if self.groups == 1:
            return self._convolve(x, kernel)
        pairs = zip(tf.split(x, self.groups, -1), tf.split(kernel, self.groups, -1), strict=True)
        return tf.concat([self._convolve(part, own) for part, own in pairs], axis=-1)

    def _convolve(self, x, kernel):
        return tf.nn.conv2d(tf.pad(x, padding(self.pad)), kernel, self.stride, "VALID")


class Deconvolution(keras.layers.Layer):
    """The transpose of a 5x5 convolution of stride 2, padded by 2: twice the size; without bias.

    Args:
      filters: channels of the result.
      initializer: of the kernel [5, 5, filters, channels].
    """

    def __init__(self, filters: int, *, initializer, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.initializer = filters, initializer

    def build(self, shape):
        """Makes the kernel."""
        shape = (_KERNEL, _KERNEL, self.filters, shape[-1])
        self.kernel = self.add_weight(shape=shape, initializer=self.initializer, name="kernel")

    def call(self, x):
        """[n, h, w, channels] -> [n, 2h, 2w, filters]."""
        (height, width), cut = (2 * side for side in x.shape[1:3]), _KERNEL // 2
        whole = (tf.shape(x)[0], height + _KERNEL - 2, width + _KERNEL - 2, self.filters)
        y = tf.nn.conv2d_transpose(x, tf.convert_to_tensor(self.kernel), whole, 2, "VALID")
        return y[:, cut : cut + height, cut : cut + width]


class _Part:
    """Makes the layers of one network; every weight has a stream of its own, told by the layer's name."""

    def __init__(self, name: str, seed: int, affine: bool):
        self.name, self.seed, self.affine = name, seed, affine

    def normal(self, layer: str, deviation: float = _DEVIATION) -> keras.initializers.Initializer:
        """N(0, deviation^2), untruncated."""
        seed = seeds.derive(self.seed, f"{self.name} {layer}") & 0xFFFFFFFF  # Keras takes 32 bits
        return keras.initializers.RandomNormal(stddev=deviation, seed=seed)

    def dense(self, x, units: int, layer: str, initializer=None):
        """Wx."""
        initializer = initializer or self.normal(layer)
        return keras.layers.Dense(units, use_bias=False, kernel_initializer=initializer, name=layer)(x)

    def conv(self, x, filters: int, kernel: int, layer: str, *, stride: int = 1, groups: int = 1):
        """A convolution padded by half its kernel."""
        init = self.normal(layer)
        make = Convolution(filters, kernel, stride=stride, pad=kernel // 2, groups=groups, initializer=init, name=layer)
        return make(x)

    def deconv(self, x, filters: int, layer: str):
        """A transposed convolution to twice the size."""
        return Deconvolution(filters, initializer=self.normal(layer), name=layer)(x)

    def inject(self, x, z, layer: str):
        """x + Wz, the same at every place of a map; there W is 5^2 times as large, as kernels have so many terms."""
        maps = len(x.shape) == 4
        deviation = _DEVIATION * (_KERNEL**2 if maps else 1)
        shift = self.dense(z, x.shape[-1], f"{layer}_z", self.normal(f"{layer}_z", deviation))
        return keras.layers.Add()([x, keras.layers.Reshape((1, 1, -1))(shift) if maps else shift])

    def norm(self, x, layer: str):
        """Batch norm."""
        return DeployedBatchNorm(affine=self.affine, name=f"{layer}_norm")(x)

    def relu(self, x, layer: str):
        """Batch norm, then max(x, 0)."""
        return keras.layers.ReLU()(self.norm(x, layer))

    def leaky(self, x, layer: str):
        """Batch norm, then max(x, 0.2 x)."""
        return activate(self.norm(x, layer))

    def code(self, x, dims: int):
        """The code: linear, then squashed."""
        return keras.layers.Activation(squash)(self.dense(x, dims, "out"))

    def logit(self, x):
        """The answer; it starts at zero, so that the first losses are ln 2."""
        return self.dense(x, 1, "out", keras.initializers.Zeros())


def mlp_trio(pixels: int, dims: int, units: int, seed: int) -> Trio:
    """For flat images in [0, 1]; batch norm has neither gain nor bias.

    Args:
      pixels: numbers of an image.
      dims: numbers of a code.
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


def conv_trio(colours: int, dims: int, filters: int, seed: int) -> Trio:
    """For images [64, 64, colours] in [-1, 1]; batch norm has gain and bias.

    Args:
      colours: of an image.
      dims: numbers of a code.
      filters: of the discriminator's first convolution, a multiple of 4; all other widths follow from it.
      seed: of the initial weights.
    """
    return Trio(
        _conv_generator(_Part("generator", seed, affine=True), colours, dims, filters),
        _conv_encoder(_Part("encoder", seed, affine=True), colours, dims, filters),
        _conv_discriminator(_Part("discriminator", seed, affine=True), colours, dims, filters),
    )


def _conv_generator(part: _Part, colours: int, dims: int, filters: int) -> keras.Model:
    """Maps of 4x4, 8x8, 16x16, 32x32, 64x64; the first batch norm has statistics for each of its units."""
    z = keras.Input((dims,))
    side, widest = SIDE // 16, 8 * filters
    h = part.relu(part.dense(z, side * side * widest, "fc"), "fc")
    h = keras.layers.Reshape((side, side, widest))(h)
    for i, times in enumerate((4, 2, 1), 1):
        layer = f"deconv{i}"
        h = part.relu(part.inject(part.deconv(h, times * filters, layer), z, layer), layer)
    return keras.Model(z, keras.layers.Activation(squash)(part.deconv(h, colours, "out")), name=part.name)


def _conv_discriminator(part: _Part, colours: int, dims: int, filters: int) -> keras.Model:
    """Maps of 32x32, 16x16, 8x8, 4x4."""
    x, z = keras.Input((SIDE, SIDE, colours)), keras.Input((dims,))
    h = activate(part.conv(x, filters, _KERNEL, "conv1", stride=2))
    for i, times in enumerate((2, 4, 8), 2):
        layer = f"conv{i}"
        h = part.leaky(part.inject(part.conv(h, times * filters, _KERNEL, layer, stride=2), z, layer), layer)
    return keras.Model([x, z], part.logit(keras.layers.Flatten()(h)), name=part.name)


def _conv_encoder(part: _Part, colours: int, dims: int, filters: int) -> keras.Model:
    """AlexNet's convolutions (`alexnet_group_padpool`): maps of 16x16, 8x8, 8x8, 4x4, 4x4, 4x4, 4x4."""
    x = keras.Input((SIDE, SIDE, colours))
    h = halved(activate(part.conv(x, filters * 3 // 2, 11, "conv1", stride=4)))
    h = halved(part.leaky(part.conv(h, 4 * filters, 5, "conv2", groups=2), "conv2"))
    for i, (times, groups) in enumerate(((6, 1), (6, 2), (4, 2)), 3):
        h = part.leaky(part.conv(h, times * filters, 3, f"conv{i}", groups=groups), f"conv{i}")
    return keras.Model(x, part.code(keras.layers.Flatten()(h), dims), name=part.name)


def halved(x):
    """The largest of 3x3 at every second place, padded by one pixel that is never the largest."""
    return keras.layers.Lambda(lambda maps: tf.nn.max_pool2d(maps, 3, 2, padding(1)))(x)
