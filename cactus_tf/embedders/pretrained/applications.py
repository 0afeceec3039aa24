"""Networks of `keras.applications`, with weights from ImageNet, from a file, or random."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from cactus_tf.embedders.pretrained import catalog
from cactus_tf.embedders.pretrained.network import Network, errors_named, quiet
from cactus_tf.errors import InputError
from cactus_tf.utils.paths import keras_models

log = logging.getLogger(__name__)

_LICENSES = "https://keras.io/api/applications"


def build(name: str, size: int | None, *, download: bool = False) -> Network:
    """A network of `keras.applications` without its head, its features averaged over the image.

    Args:
      name: see `catalog`.
      size: side of its input; None takes its own.
      download: whether its weights are those of ImageNet; otherwise they are random.
    """
    entry = catalog.entry(name)
    side = size or entry.side
    make = functools.partial(entry.builder(), include_top=False, pooling="avg", input_shape=(side, side, 3))
    with quiet():
        model = _downloaded(name, entry, make) if download else make(weights=None)
    return Network(functools.partial(model, training=False), (side, side, 3), model)


def _downloaded(name: str, entry: catalog.Entry, make: Callable[..., keras.Model]) -> keras.Model:
    """The network with the ImageNet weights that Keras downloads once, with a progress bar."""
    log.info(
        "pretrained: ImageNet weights of %s, %d MB, downloaded once to %s; license: %s",
        name, entry.megabytes, keras_models(), _LICENSES,
    )  # fmt: skip
    try:
        return make(weights="imagenet")
    except Exception as error:  # Keras raises Exception itself if it cannot download
        url = re.search(r"https?://\S+?(?=[:,]?\s|$)", str(error))
        if url is None:
            raise
        raise InputError(
            f"--pretrained_model={name}: its weights could not be downloaded ({str(error).rpartition(' -- ')[2]}): "
            f"fetch {url[0]} and put it into {keras_models()}, or name the file with --pretrained_weights"
        ) from error


def read_weights(model: keras.Model, name: str, path: Path) -> None:
    """Reads the weights of a network of `keras.applications`, in either of Keras' .h5 formats.

    Raises:
      InputError: the file is damaged, or holds another network's weights.
    """
    with errors_named(path), quiet():
        try:
            model.load_weights(path)
        except ValueError as error:
            raise InputError(
                f"--pretrained_weights={path} does not hold the weights of {name}: {_difference(str(error))}; name "
                "their network with --pretrained_model"
            ) from error


def _difference(message: str) -> str:
    """Which layer differs, from an error message of Keras."""
    layer = re.search(r"object <\w+ name=([^,>]+)|[Ll]ayer '?\"?([\w/.]+)", message)
    shapes = re.search(r"variable\.shape=(\([^)]*\)).*?value\.shape=(\([^)]*\))", message, re.DOTALL)
    counts = re.search(r"expected (\d+) variables, but received (\d+)", message)
    detail = f" has shape {shapes[1]} in the network and {shapes[2]} in the file" if shapes else ""
    detail = detail or (f" has {counts[1]} arrays in the network and {counts[2]} in the file" if counts else "")
    if layer is None:
        return message.split("\n")[0]
    return f"its layer {layer[1] or layer[2]}{detail or ' differs'}"


def randomize(model: keras.Model) -> None:
    """Random kernels as of He et al. 2015, always the same ones; other weights as they are."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        if len(variable.shape) > 1:
            fan_in = int(np.prod(variable.shape[:-1]))
            variable.assign(rng.normal(0, np.sqrt(2 / fan_in), variable.shape).astype(np.float32))
