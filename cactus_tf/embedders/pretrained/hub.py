"""Networks of keras-hub: its presets by name, or a preset in a folder of one's own."""

from __future__ import annotations

import functools
import importlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from cactus_tf.embedders.pretrained import stored_code, whole
from cactus_tf.embedders.pretrained.applications import randomize
from cactus_tf.embedders.pretrained.network import FORMS, Network, errors_named, quiet
from cactus_tf.embedders.pretrained.presets import PRESETS, page
from cactus_tf.errors import InputError
from cactus_tf.utils.terminal import without_stderr
from cactus_tf.utils.text import first_line, shortened

log = logging.getLogger(__name__)

_CONFIG, _SIDE = "config.json", 224
_CLASS_TOKEN = {"DINOV2Backbone", "DINOV3Backbone", "ViTBackbone", "DeiTBackbone", "CLIPVisionEncoder"}
_FOR_IMAGES = {"CLIPBackbone": "CLIPVisionEncoder", "SigLIPBackbone": "SigLIPVisionEncoder"}  # the others are for texts
_ANY_SIZE = {
    "DINOV2Backbone",
    "DINOV3Backbone",
    "ResNetBackbone",
}  # the others have learned a fixed number of positions
_SYMMETRIC = (1 / 127.5, -1.0)  # scale and offset of pixels, for random weights


def build(name: str, size: int | None, *, download: bool, scaled: bool) -> Network:
    """A preset of keras-hub by name.

    Args:
      name: see `presets`.
      size: side of its input; None takes the preset's.
      download: whether keras-hub downloads its weights; otherwise they are random.
      scaled: whether it puts pixels into the range of its own preprocessing; otherwise it takes them as they are.

    Raises:
      InputError: keras-hub is not installed, the preset cannot be downloaded, or it takes another size.
    """
    flag, preset = f"--pretrained_model={name}", PRESETS[name]
    hub, resized = _keras_hub(flag), _resized(preset.backbone, size or preset.side, preset.side, flag)
    if download:
        log.info(
            "pretrained: weights of %s, %d MB, downloaded once by keras-hub to %s; license: %s, see %s",
            name, preset.megabytes, _cache(), preset.license, page(name),
        )  # fmt: skip
        return _downloaded(hub, name, resized, scaled)
    side = size or preset.side
    with quiet():
        backbone = vars(hub.models)[preset.backbone](**{**preset.arguments, "image_shape": (side, side, 3)})
    randomize(backbone)
    return _network(backbone, _SYMMETRIC if scaled else None, flag)


def read(path: Path, size: int | None, *, scaled: bool, name: str | None = None) -> Network:
    """A preset in a folder, as keras-hub's `save_to_preset` writes it.

    Args:
      path: of the folder.
      size: side of its input; None takes the preset's.
      scaled: whether it puts pixels into the range of the folder's preprocessing; otherwise it takes them as they are.
      name: of the preset that it must be; None takes any.

    Raises:
      InputError: keras-hub is not installed; or the folder holds no network for images, a damaged one, or another one.
    """
    flag = f"--pretrained_weights={path}"
    kind, own = _described(path)
    stored_code.check_preset(path)
    side = size or (PRESETS[name].side if name else own)
    hub, resized = _keras_hub(flag), _resized(kind, side, own, flag)
    with errors_named(path), quiet():
        try:
            network = _from_preset(hub, str(path), resized, scaled, flag)
        except FileNotFoundError as error:
            raise InputError(f"{flag} is not a whole preset ({first_line(error)}): get it again") from error
    assert network.hub is not None
    numbers = network.hub.output_shape[-1]
    if name and (kind, numbers) != (PRESETS[name].backbone, PRESETS[name].numbers):
        raise InputError(f"{flag} holds a {kind} of {numbers} numbers, not {name}: leave --pretrained_model out")
    return network


def is_preset(path: Path) -> bool:
    """Whether a folder has the description of a preset, and no SavedModel."""
    return (path / _CONFIG).is_file() and not (path / "saved_model.pb").exists()


def side(path: Path) -> int:
    """Side of the images that the preset in a folder takes.

    Raises:
      InputError: the folder holds no preset of a network for images.
    """
    return _described(path)[1]


def store(network: keras.Model, folder: Path) -> None:
    """Puts a network into a folder, as a SavedModel, which can be read without keras-hub."""
    with tempfile.TemporaryDirectory() as temporary, quiet(), without_stderr():
        network.export(temporary, verbose=False)
        whole.store(Path(temporary), folder)


def _described(path: Path) -> tuple[str, int]:
    """The class of the network for images in a folder's preset, and the side of its input."""
    try:
        config = json.loads((path / _CONFIG).read_bytes())
        package, _, name = config["registered_name"].partition(">")
        inside = config["config"].get("vision_encoder", config)["config"]
        shape = inside["image_shape"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"--pretrained_weights={path}: its {_CONFIG} describes no network of keras-hub for images; it must be "
            f"{FORMS}"
        ) from error
    if package != "keras_hub":
        raise InputError(f"--pretrained_weights={path}: its {_CONFIG} names {name}, which keras-hub does not have")
    return _FOR_IMAGES.get(name, name), shape[0] or _SIDE


def _resized(kind: str, side: int, own: int, flag: str) -> dict[str, Any]:
    """What to change for another size of the input."""
    if kind in _ANY_SIZE:
        return {"image_shape": (side, side, 3)}
    if side != own:
        raise InputError(f"--pretrained_input_size={side}: {flag} takes {own}x{own} pixels only; leave it out")
    return {}


def _keras_hub(flag: str) -> Any:
    """The package keras-hub."""
    try:
        with quiet():
            return importlib.import_module("keras_hub")
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name == "keras_hub"
        about = "" if missing else f" ({first_line(error)})"
        raise InputError(f'{flag} needs keras-hub{about}: pip install "cactus-tf[hub]"') from error


def _downloaded(hub: Any, name: str, resized: Mapping[str, Any], scaled: bool) -> Network:
    flag = f"--pretrained_model={name}"
    try:
        with quiet():
            return _from_preset(hub, name, resized, scaled, flag)
    except InputError:
        raise
    except Exception as error:  # those of keras-hub, of Kaggle's client and of the connection have nothing in common
        raise InputError(
            f"{flag}: its weights could not be downloaded ({_reason(error)}): get them from {page(name)}, unpack them "
            "into a folder and add --pretrained_weights=FOLDER"
        ) from error


def _reason(error: Exception) -> str:
    """Why a download failed: the words of the operating system, or the first of the library's."""
    system = re.search(r"\[Errno -?\d+\] [^')\"]+", str(error))
    return system[0] if system else shortened(first_line(error), 120).rstrip(".")


def _cache() -> str:
    """Where Kaggle's client stores what it downloads."""
    return os.environ.get("KAGGLEHUB_CACHE") or str(Path.home() / ".cache" / "kagglehub")


def _from_preset(hub: Any, preset: str, resized: Mapping[str, Any], scaled: bool, flag: str) -> Network:
    """The network of a preset, by name or folder, with its preprocessing if that is wanted."""
    backbone = hub.models.Backbone.from_preset(preset, **resized)
    if not scaled:
        return _network(backbone, None, flag)
    try:
        pixels = hub.layers.ImageConverter.from_preset(preset)
    except FileNotFoundError:
        _warn_of_pixels(flag)
        return _network(backbone, None, flag)
    return _network(backbone, (1.0 if pixels.scale is None else pixels.scale, pixels.offset or 0.0), flag)


@functools.cache
def _warn_of_pixels(flag: str) -> None:
    """Says once that a network gets pixels as they are."""
    log.warning("%s has no preprocessing: it gets pixels in 0..255; name another range by --pretrained_scaling", flag)


def _network(backbone: Any, pixels: tuple[Any, Any] | None, flag: str) -> Network:
    """From pixels in 0..255 to features; `pixels` are scale and offset, one or one of each channel."""
    network = backbone.vision_encoder if type(backbone).__name__ in _FOR_IMAGES else backbone
    if len(network.inputs) != 1 or len(network.outputs) != 1:
        raise InputError(f"{flag} has {len(network.inputs)} inputs and {len(network.outputs)} outputs, not one of each")
    shape = whole.input_shape(flag, tuple(network.inputs[0].shape), None)
    images = keras.Input(shape)
    scaled = keras.layers.Rescaling(*pixels)(images) if pixels else images
    names = network.input if isinstance(network.input, dict) else None
    outputs = network(dict.fromkeys(names, scaled) if names else scaled, training=False)
    model = keras.Model(images, _features(outputs, network))
    return Network(lambda rows: model(rows, training=False), shape, hub=model)


def _features(outputs: Any, network: Any) -> Any:
    """[n, dim]: the class token, which is the first, or the mean of tokens or of a map.

    As the papers of the networks do it; see `presets`.
    """
    token = type(network).__name__ in _CLASS_TOKEN and network.get_config().get("use_class_token", True)
    if token:
        return outputs[:, 0]
    axes = list(range(1, len(outputs.shape) - 1))
    return keras.ops.mean(outputs, axes) if axes else outputs
