"""Features of a network that was trained elsewhere, such as on ImageNet: a frozen network of `keras.applications`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cactus_tf.config.schema import option
from cactus_tf.contracts import Embedder, EmbedderContext, EmbedderInfo
from cactus_tf.embedders._base import image_arrays, saving
from cactus_tf.embedders._base.estimator import ImageTransformer
from cactus_tf.embedders.pretrained import applications, catalog, hub, pixels, whole
from cactus_tf.embedders.pretrained.network import FORMS, Network
from cactus_tf.embedders.pretrained.presets import PRESETS
from cactus_tf.errors import InputError
from cactus_tf.utils.files import checksum

_MODEL, _RANDOM = "mobilenet_v2", "random"
_WEIGHTS = (".h5", ".hdf5")  # endings of files that hold weights alone
_CHUNK = 32  # images of one forward pass


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of a pretrained network."""

    model: str | None = option(
        None,
        "network of keras.applications, or preset of keras-hub; --help=pretrained lists them; default: mobilenet_v2",
        source="ours",
    )
    weights: str | None = option(
        None,
        "FILE.weights.h5 of that network; or a whole network: FILE.keras, or the folder of a SavedModel or of a preset "
        "of keras-hub; or random (untrained); default: the network's weights, downloaded once",
        source="ours",
    )
    layer: str | None = option(
        None, "layer of a .keras file whose output is the embedding; default: the last", source="ours"
    )
    input_size: int | None = option(
        None, "side of the network's input; default: its own", unit="pixels", low=32, source="ours"
    )
    scaling: str | None = option(
        None,
        "pixels that the network takes: bytes (0 to 255), unit (0 to 1), symmetric (-1 to 1), torch or caffe "
        "(normalized by the statistics of ImageNet); default: the network's own, bytes for a whole network",
        source="ours",
    )


class Pretrained(ImageTransformer):
    """z = f(x) of a frozen network f; features of an image map are averaged over the image.

    Images of another size than the network's input are resized, gray images become color by equal channels.

    Args:
      options: which network.
    """

    def __init__(self, options: Options):
        pixels.check(options.scaling)
        self.options = options
        self._network: Network | None = None
        self._file: Path | None = None
        self._shape: tuple[int, ...] = ()

    def fit(
        self, images: np.ndarray, y: Any = None, *, seed: int = 0, folder: Path | None = None, callbacks: Sequence = ()
    ) -> Pretrained:
        """Reads the network, which learns nothing from the images, and returns itself.

        Raises:
          InputError: not an array of images, or a network that cannot be read.
        """
        image_arrays.check_images(images)
        network, file = _network(self.options, _whole_network(self.options))
        self._set(network, images.shape[1:], file)
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32, in bounded memory.

        Raises:
          InputError: not fitted yet, or images of another shape.
        """
        self._fitted()
        image_arrays.check_images(images, self._shape)
        return image_arrays.in_chunks(lambda part: self._encode(part).numpy(), images, _CHUNK)

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """As `transform`, of a tensor, all at once.

        Raises:
          InputError: not fitted yet.
        """
        self._fitted()
        return self._encode(images)

    def save(self, folder: Path) -> None:
        """Writes what `load` needs: the weights, or a copy of the file."""
        network = self._fitted()
        arrays = [weight.numpy() for weight in network.model.weights] if network.model else []
        description = {"image_shape": list(self._shape), "options": dataclasses.asdict(self.options)}
        folder = saving.write(folder, "pretrained", description, arrays)
        if self._file is not None:
            whole.store(self._file, folder)
        if network.hub is not None:
            hub.store(network.hub, folder)

    def load(self, folder: Path) -> Pretrained:
        """Restores what `save` wrote and returns itself.

        Raises:
          InputError: the folder holds no pretrained network, or a damaged one.
        """
        with saving.reading(folder, "pretrained") as (saved, arrays):
            self.options = saving.options(Options, saved["options"], folder)
            shape = tuple(saved["image_shape"])
            file = whole.stored(Path(folder))
            network = _restored(self.options, file, arrays)
        self._set(network, shape, file)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return self._network is not None

    def _set(self, network: Network, shape: tuple[int, ...], file: Path | None) -> None:
        self._network, self._shape, self._file = network, tuple(shape), file
        scale = pixels.scaling(self.options.scaling, self.options.model or _MODEL if network.model else None)

        def encode(images: tf.Tensor) -> tf.Tensor:
            return network.features(scale(pixels.fitted(images, network.input_shape)))

        self._encode = tf.function(encode, input_signature=[tf.TensorSpec((None, *shape), tf.uint8)], autograph=False)

    def _fitted(self) -> Network:
        if self._network is None:
            raise InputError("pretrained is not fitted yet; call fit or load first")
        return self._network


def _weights_file(options: Options) -> Path | None:
    """The file or folder that `weights` names, if it names one."""
    return None if options.weights in (None, _RANDOM) else Path(options.weights).expanduser()


def _whole_network(options: Options) -> Path | None:
    """The file or folder of a whole network, if `weights` names one."""
    file = _weights_file(options)
    if file is None:
        return None
    if options.model in PRESETS and not hub.is_preset(file):
        raise InputError(
            f"--pretrained_weights={file}: weights of {options.model} are the folder of a keras-hub preset"
        )
    if file.suffix in _WEIGHTS:
        return None
    if options.model is not None and options.model not in PRESETS:
        raise InputError(
            f"--pretrained_model={options.model}: {file} holds a whole network; leave one of them out, or name a file "
            "that ends with .weights.h5"
        )
    return file


def _network(options: Options, file: Path | None) -> tuple[Network, Path | None]:
    """The network of a file or of the options, and the file if a saved embedder must hold a copy of it."""
    preset, scaled = options.model if options.model in PRESETS else None, options.scaling is None
    if file is not None and not hub.is_preset(file):
        return whole.read(file, options.input_size, options.layer), file
    if options.layer is not None:
        raise InputError(f"--pretrained_layer={options.layer} is for a whole network in a .keras file: leave it out")
    if file is not None:
        return hub.read(file, options.input_size, scaled=scaled, name=preset), None
    if preset is not None:
        return hub.build(preset, options.input_size, download=options.weights is None, scaled=scaled), None
    return _application(options), None


def _application(options: Options) -> Network:
    """A network of `keras.applications` with the weights of the options."""
    name, weights = options.model or _MODEL, _weights_file(options)
    network = applications.build(name, options.input_size, download=options.weights is None)
    assert network.model is not None
    if weights is not None:
        applications.read_weights(network.model, name, weights)
    elif options.weights == _RANDOM:
        applications.randomize(network.model)
    return network


def _restored(options: Options, file: Path | None, arrays: Sequence[np.ndarray]) -> Network:
    """The network that was saved: a copy of the user's file, or weights."""
    if file is not None:
        return whole.read(file, options.input_size, options.layer)
    network = applications.build(options.model or _MODEL, options.input_size)
    assert network.model is not None
    network.model.set_weights(arrays)
    return network


def image_size(options: Options) -> int:
    """Side of the images that the network takes."""
    if options.input_size is not None:
        return options.input_size
    file = _whole_network(options)
    if file is None or options.model is not None:
        return catalog.side(options.model or _MODEL)
    return hub.side(file) if hub.is_preset(file) else max(whole.read(file, None).input_shape[:2])


def ready(options: Options) -> None:
    """Downloads and reads the network, so that what is wrong with it shows before images are prepared."""
    pixels.check(options.scaling)
    _network(options, _whole_network(options))


def fingerprint(options: Options) -> Any:
    """What the weights are: "imagenet" (the network's own), "random", or checksums of the user's files."""
    file = _weights_file(options)
    if file is None:
        return options.weights or "imagenet"
    if not file.exists():
        raise InputError(f"--pretrained_weights={file} does not exist; it must be {FORMS}")
    parts = sorted(part for part in file.rglob("*") if part.is_file()) if file.is_dir() else [file]
    return [checksum(part) for part in parts]


INFO = EmbedderInfo(
    seeded=False, fingerprint=fingerprint, norm="centered", image_size=image_size, ready=ready, more=catalog.listing
)


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """A pretrained network, not read yet; the context is not used."""
    return Pretrained(options or Options())
