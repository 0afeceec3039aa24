"""The networks of InfoGAN, those of the authors' code for MNIST, where d is 64.

Layers before batch norm have no bias, since batch norm would subtract it; the authors' code has one. In training, batch
norm stores the statistics of its last batch; its gamma starts as N(1, 0.02^2), its beta at 0.
"""

from __future__ import annotations

from collections.abc import Callable

import keras

from cactus_tf.backbones import RunningBatchNorm
from cactus_tf.embedders._base.layers import keras_seed

_DEVIATION, _SLOPE, _EPSILON = 0.02, 0.01, 1e-5


def generator(latents: int, image_shape: tuple[int, ...], depth: int, seed: int) -> keras.Model:
    """z [n, latents] -> images [n, h, w, c] in 0..1: two layers, then from h/4 x w/4 twice to double the size."""
    height, width, colors = image_shape
    small = (height // 4, width // 4, 2 * depth)
    layers = [
        *_normalized(_dense, 16 * depth, seed, "generator_0"),
        keras.layers.ReLU(),
        *_normalized(_dense, small[0] * small[1] * small[2], seed, "generator_1"),
        keras.layers.ReLU(),
        keras.layers.Reshape(small),
        *_normalized(_transposed, depth, seed, "generator_2"),
        keras.layers.ReLU(),
        _transposed(colors, seed, "generator_3"),
        keras.layers.Activation("sigmoid"),
    ]
    return keras.Sequential([keras.Input((latents,)), *layers], name="generator")


def trunk(image_shape: tuple[int, ...], depth: int, seed: int) -> keras.Model:
    """Images [n, h, w, c] in 0..1 -> [n, 16 d], what discriminator and recognition network share."""
    layers = [
        _conv(depth, seed, "trunk_0"),
        keras.layers.LeakyReLU(_SLOPE),
        *_normalized(_conv, 2 * depth, seed, "trunk_1"),
        keras.layers.LeakyReLU(_SLOPE),
        keras.layers.Flatten(),
        *_normalized(_dense, 16 * depth, seed, "trunk_2"),
        keras.layers.LeakyReLU(_SLOPE),
    ]
    return keras.Sequential([keras.Input(image_shape), *layers], name="trunk")


def head(depth: int, seed: int) -> keras.Model:
    """[n, 16 d] -> [n, 1], the discriminator's logit."""
    return keras.Sequential([keras.Input((16 * depth,)), _dense(1, seed, "head")], name="head")


def hidden(depth: int, seed: int) -> keras.Model:
    """[n, 16 d] -> [n, 2 d], the recognition network up to its last layer."""
    layers = [*_normalized(_dense, 2 * depth, seed, "hidden"), keras.layers.LeakyReLU(_SLOPE)]
    return keras.Sequential([keras.Input((16 * depth,)), *layers], name="hidden")


def recognition(outputs: int, depth: int, seed: int) -> keras.Model:
    """[n, 2 d] -> [n, outputs], the last layer of the recognition network."""
    return keras.Sequential([keras.Input((2 * depth,)), _dense(outputs, seed, "recognition")], name="recognition")


def _dense(units: int, seed: int, name: str, use_bias: bool = True) -> keras.layers.Layer:
    init = keras.initializers.RandomNormal(stddev=_DEVIATION, seed=keras_seed(seed, name))
    return keras.layers.Dense(units, use_bias=use_bias, kernel_initializer=init, name=name)


def _conv(filters: int, seed: int, name: str, use_bias: bool = True) -> keras.layers.Layer:
    init = keras.initializers.TruncatedNormal(stddev=_DEVIATION, seed=keras_seed(seed, name))
    return keras.layers.Conv2D(filters, 4, 2, "same", use_bias=use_bias, kernel_initializer=init, name=name)


def _transposed(filters: int, seed: int, name: str, use_bias: bool = True) -> keras.layers.Layer:
    init = keras.initializers.RandomNormal(stddev=_DEVIATION, seed=keras_seed(seed, name))
    return keras.layers.Conv2DTranspose(filters, 4, 2, "same", use_bias=use_bias, kernel_initializer=init, name=name)


def _normalized(layer: Callable[..., keras.layers.Layer], size: int, seed: int, name: str) -> list:
    """A layer and its batch norm."""
    gamma = keras.initializers.RandomNormal(mean=1.0, stddev=_DEVIATION, seed=keras_seed(seed, f"{name} gain"))
    norm = RunningBatchNorm(
        momentum=1.0, epsilon=_EPSILON, gamma_initializer=gamma, synchronized=True, name=f"{name}_norm"
    )
    return [layer(size, seed, name, use_bias=False), norm]
