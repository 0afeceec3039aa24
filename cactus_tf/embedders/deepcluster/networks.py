"""The networks of DeepCluster: Sobel maps, convolutions with batch norm, two fully connected layers.

Biases before batch norm are left out: they start at 0, have no gradient and decay towards 0.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.backbones import RunningBatchNorm
from cactus_tf.embedders._base.image_arrays import text
from cactus_tf.embedders._base.replicas import own
from cactus_tf.errors import InputError
from cactus_tf.utils import seeds

LINEAR_STDDEV = 0.01  # Caron et al. 2018, their code
_SOBEL = np.array([[1, 0, -1], [2, 0, -2], [1, 0, -1]], np.float32)
_MEAN, _STDDEV = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's colors in 0..1


@dataclasses.dataclass(frozen=True)
class Form:
    """What distinguishes the networks.

    Attributes:
      layers: in order, (filters, kernel side, padding) of a convolution of stride 1, or (window, stride) of a max-pool.
      units: outputs of both fully connected layers.
      stddev: of their initial weights.
      dropouts: whether dropout precedes the first and the second of them.
      smallest: least side of an image.
    """

    layers: tuple[tuple[int, ...], ...]
    units: int = 4096
    stddev: float = LINEAR_STDDEV
    dropouts: tuple[bool, bool] = (True, True)
    smallest: int = 32


def _vgg(*counts: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
    """Blocks of 3x3 convolutions, each with a 2x2 pool at its end, from (convolutions, filters)."""
    return tuple(layer for n, filters in counts for layer in (*((filters, 3, 1),) * n, (2, 2)))


FORMS = {
    # Hsu et al. 2019, E.4: Caron's AlexNet with the first convolution changed from 11, stride 4 to 5, stride 1. A side
    # of 64 goes 62, 30, 30, 14, 14, 14, 14, 6, so 6 x 6 x 256 = 9216 numbers are flattened, as in the original.
    "alexnet": Form(
        ((96, 5, 1), (3, 2), (256, 5, 2), (3, 2), (384, 3, 1), (384, 3, 1), (256, 3, 1), (3, 2)),
    ),
    "vgg16": Form(_vgg((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), dropouts=(False, True)),
    # Ours, for 28x28 images on a laptop: 16 million multiply-adds per image. Sides of 28, 14, 7, 3 leave 1152 numbers.
    # The fully connected layers have an eighth of AlexNet's inputs (1152 of 9216, 512 of 4096), hence initial weights
    # of 8 times its variance: signals start as large as there. 512 outputs suffice for 256 principal components.
    "conv4": Form(
        ((32, 3, 1), (2, 2), (64, 3, 1), (2, 2), (128, 3, 1), (128, 3, 1), (2, 2)),
        units=512,
        stddev=LINEAR_STDDEV * math.sqrt(8),
        smallest=8,
    ),
}


def form_of(network: str | None, image_shape: tuple[int, ...]) -> tuple[str, Form]:
    """The network by name; None: AlexNet for sides of at least 64, else conv4."""
    side = min(image_shape[:2])
    name = network or ("alexnet" if side >= 64 else "conv4")
    if name not in FORMS:
        raise InputError(f"--deepcluster_network={name}: there is no such network; choose from {', '.join(FORMS)}")
    smallest = FORMS[name].smallest
    if side < smallest:
        smaller = [other for other, form in FORMS.items() if form.smallest <= side]
        remedy = f"enlarge the images, raise --deepcluster_side{f' or take {smaller[0]}' if smaller else ''}"
        raise InputError(
            f"deepcluster: {name} takes views of at least {smallest} pixels a side, not {text(image_shape)}: {remedy}"
        )
    return name, FORMS[name]


def scaled(x: tf.Tensor) -> tf.Tensor:
    """Images 0..255 -> about unit size: color by ImageNet's mean and deviation, gray to 0..1.

    The zero of a gray image stays, since convolutions pad with zeros: a black background gets no edge at the border.
    """
    x = x / 255
    return (x - _MEAN) / _STDDEV if x.shape[-1] == 3 else x


def sobel(x: tf.Tensor) -> tf.Tensor:
    """Slopes to the left and upwards of the mean over channels, not trained.

    A 1x1 convolution with weights 1/channels, then the two Sobel kernels with padding 1, computed as one convolution.

    Args:
      x: [n, h, w, channels].

    Returns:
      [n, h, w, 2]. Caron et al. 2018, section 4.
    """
    kernels = np.stack([_SOBEL, _SOBEL.T], axis=-1)[:, :, None] / x.shape[-1]
    return tf.nn.conv2d(x, np.repeat(kernels, x.shape[-1], axis=2), 1, "SAME")


def convolutions(shape: tuple[int, ...], form: Form, seed: int) -> keras.Model:
    """Maps [n, h, w, c] -> [n, dim] rows, flattened by height, width, channel; sizes are those of `form.layers`.

    Kernels start as N(0, 2 / (side^2 filters)). ReLU follows the max-pool if there is one: the same result from fewer
    numbers.
    """
    x = inputs = keras.Input(shape)
    for i, layer in enumerate(form.layers):
        if len(layer) == 3:
            x = _convolution(x, *layer, seeds.derive(seed, f"convolution {i}"), f"convolution_{i}")
        else:
            x = keras.layers.MaxPooling2D(layer[0], layer[1])(x)
        if not _is_pool_next(form.layers, i):
            x = keras.layers.ReLU()(x)
    return keras.Model(inputs, keras.layers.Flatten()(x), name="convolutions")


def linear(inputs: int, units: int, stddev: float, seed: int, name: str) -> keras.layers.Dense:
    """A fully connected layer with weights N(0, stddev^2) and biases 0."""
    layer = keras.layers.Dense(units, kernel_initializer=_normal(stddev, seeds.derive(seed, name)), name=name)
    layer.build((None, inputs))
    return layer


class Body(keras.layers.Layer):
    """A network without its head: images to the output of the second fully connected layer.

    Args:
      image_shape: (height, width, channels).
      network: its name; None chooses by the images' size.
      sobel: whether it sees Sobel maps.
      dropout: fraction that is dropped.
      seed: of weights and dropout.

    Attributes:
      units: number of features.
    """

    def __init__(self, image_shape: tuple[int, ...], network: str | None, sobel: bool, dropout: float, seed: int):
        super().__init__(name="body")
        height, width, channels = image_shape
        _, form = form_of(network, image_shape)
        self._sobel, self._dropout, self._dropouts, self.units = sobel, dropout, form.dropouts, form.units
        self._seeds = tuple(seeds.derive(seed, f"deepcluster dropout {place}") for place in (0, 1))
        weights = seeds.derive(seed, "deepcluster weights")
        self.convolutions = convolutions((height, width, 2 if sobel else channels), form, weights)
        self.first = linear(self.convolutions.output_shape[1], form.units, form.stddev, weights, "first")
        self.second = linear(form.units, form.units, form.stddev, weights, "second")
        self.built = True

    def features(self, x: tf.Tensor, step: Any = None) -> tf.Tensor:
        """Output of the second fully connected layer, before its ReLU.

        Args:
          x: [n, h, w, c] float32 in 0..255.
          step: number of the training step, for dropout and batch statistics; None outside training.

        Returns:
          [n, units].
        """
        x = scaled(x)
        x = self.convolutions(sobel(x) if self._sobel else x, training=step is not None)
        x = tf.nn.relu(self.first(self._dropped(x, 0, step)))
        return self.second(self._dropped(x, 1, step))

    def _dropped(self, x: tf.Tensor, place: int, step: Any) -> tf.Tensor:
        if step is None or not self._dropouts[place]:
            return x
        seed = tf.stack([self._seeds[place], step])
        number = tf.distribute.get_replica_context().num_replicas_in_sync
        if number == 1:
            return tf.nn.experimental.stateless_dropout(x, self._dropout, seed)
        of_all = tf.ones((tf.shape(x)[0] * number, x.shape[1]))
        return x * own(tf.nn.experimental.stateless_dropout(of_all, self._dropout, seed))


def _convolution(x: tf.Tensor, filters: int, side: int, padding: int, seed: int, name: str) -> tf.Tensor:
    if 2 * padding == side - 1:
        mode = "same"
    else:
        mode, x = "valid", keras.layers.ZeroPadding2D(padding)(x)
    init = _normal(math.sqrt(2 / (side**2 * filters)), seed)
    x = keras.layers.Conv2D(filters, side, padding=mode, use_bias=False, kernel_initializer=init, name=name)(x)
    return RunningBatchNorm(synchronized=True, name=f"{name}_norm")(x)


def _is_pool_next(layers: tuple[tuple[int, ...], ...], i: int) -> bool:
    return i + 1 < len(layers) and len(layers[i + 1]) == 2


def _normal(stddev: float, seed: int) -> keras.initializers.Initializer:
    return keras.initializers.RandomNormal(stddev=stddev, seed=seed & 0xFFFFFFFF)  # Keras takes 32 bits
