"""Whole networks from files: .keras, or a SavedModel. Nothing that would run a file's Python code is read."""

from __future__ import annotations

import difflib
import functools
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import IO

import keras
import tensorflow as tf

from cactus_tf.embedders.pretrained import stored_code
from cactus_tf.embedders.pretrained.network import FORMS, Network, errors_named, quiet
from cactus_tf.errors import InputError
from cactus_tf.utils import files
from cactus_tf.utils.arrays import check_unpacked

_SIDE = 224  # of a network that takes images of any size
_KERAS, _SAVEDMODEL = "network.keras", "network.zip"


def read(path: Path, size: int | None, layer: str | None = None) -> Network:
    """A whole network from a .keras file or a SavedModel.

    Args:
      path: of the file or folder.
      size: side of its input, if that is variable; None takes 224.
      layer: of a .keras file, whose output is taken; None takes the last.

    Raises:
      InputError: it is missing, damaged or of another form, or it does not map color or gray images to features.
    """
    if not path.exists():
        raise InputError(f"--pretrained_weights={path} does not exist; it must be {FORMS}")
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise InputError(
                f"--pretrained_weights={path} is a folder without saved_model.pb or config.json; it must be {FORMS}"
            )
        return _savedmodel(path, size)
    if path.suffix == ".zip":
        return _unpacked(path, size)
    stat = path.stat()
    model = _keras_file(path, stat.st_mtime_ns, stat.st_size)
    if len(model.inputs) != 1 or (layer is None and len(model.outputs) != 1):
        raise InputError(
            f"--pretrained_weights={path} has {len(model.inputs)} inputs and {len(model.outputs)} outputs: it must "
            "have one of each"
        )
    shape = input_shape(f"--pretrained_weights={path}", tuple(model.inputs[0].shape), size)
    model = _up_to(model, layer, path)
    return Network(lambda images: _pooled(model(images, training=False)), shape)


@functools.lru_cache(1)
def _keras_file(path: Path, time: int, size: int) -> keras.Model:
    """The model of a .keras file of this time and size; read once, though first its input and then it are needed."""
    with errors_named(path), quiet():
        if not zipfile.is_zipfile(path):
            raise InputError(
                f"--pretrained_weights={path} is damaged, cut short or no .keras file: get it again; it must be {FORMS}"
            )
        stored_code.check_file(path)
        return keras.models.load_model(path, compile=False, safe_mode=True)


def _up_to(model: keras.Model, layer: str | None, path: Path) -> keras.Model:
    """The model up to a layer."""
    if layer is None:
        return model
    names = [one.name for one in model.layers]
    if layer not in names:
        closest = ", ".join(difflib.get_close_matches(layer, names, 3, 0) or names[-3:])
        raise InputError(f"--pretrained_layer={layer}: {path} has no such layer; closest: {closest}")
    return keras.Model(model.inputs, model.get_layer(layer).output)


def _savedmodel(path: Path, size: int | None) -> Network:
    """The signature `serving_default` of a SavedModel."""
    with errors_named(path), quiet():
        stored_code.check_savedmodel(path)
        loaded = tf.saved_model.load(str(path))
    if "serving_default" not in loaded.signatures:
        raise InputError(
            f"--pretrained_weights={path} has no signature serving_default: save it by Keras' model.export(folder)"
        )
    signature = loaded.signatures["serving_default"]
    (_, inputs), outputs = signature.structured_input_signature, signature.structured_outputs
    if len(inputs) != 1 or len(outputs) != 1:
        raise InputError(f"--pretrained_weights={path}: its serving_default must have one input and one output")
    ((name, spec),) = inputs.items()
    (output,) = outputs

    def features(images: tf.Tensor) -> tf.Tensor:
        assert loaded  # holds its variables
        return _pooled(signature(**{name: tf.cast(images, spec.dtype)})[output])

    return Network(features, input_shape(f"--pretrained_weights={path}", tuple(spec.shape or ()), size))


def input_shape(flag: str, shape: tuple[int | None, ...], size: int | None) -> tuple[int, int, int]:
    """(height, width, channels) that a network of this input shape gets; `flag` is what named it."""
    if len(shape) != 4 or shape[-1] not in (1, 3, None):
        raise InputError(
            f"{flag} takes inputs of shape {shape}: it must take images of shape "
            "(n, height, width, channels) in color or gray"
        )
    height, width = shape[1] or size or _SIDE, shape[2] or size or _SIDE
    if size and (height, width) != (size, size):
        raise InputError(f"--pretrained_input_size={size}: {flag} takes {height}x{width} pixels only; leave it out")
    return height, width, shape[3] or 3


def _pooled(features: tf.Tensor) -> tf.Tensor:
    """[n, dim] float32 of features [n, dim], [n, tokens, dim] or [n, height, width, dim]: means over the image."""
    axes = list(range(1, len(features.shape) - 1))
    return tf.cast(tf.reduce_mean(features, axes) if axes else features, tf.float32)


def _unpacked(path: Path, size: int | None) -> Network:
    """The network of a zipped SavedModel."""
    with tempfile.TemporaryDirectory() as folder:
        with errors_named(path), zipfile.ZipFile(path) as archive:
            check_unpacked(archive)
            archive.extractall(folder)
        return _savedmodel(Path(folder), size)


def store(path: Path, folder: Path) -> None:
    """Copies a network into a folder; a SavedModel, a folder itself, as one zip archive."""

    def write(file: IO[bytes]) -> None:
        if path.is_dir():
            with zipfile.ZipFile(file, "w") as archive:
                for part in sorted(path.rglob("*")):
                    archive.write(part, part.relative_to(path))
        else:
            with open(path, "rb") as source:
                shutil.copyfileobj(source, file)

    files.write_atomic(folder / (_SAVEDMODEL if path.is_dir() or path.suffix == ".zip" else _KERAS), write)


def stored(folder: Path) -> Path | None:
    """The network that `store` put into a folder; None if there is none."""
    paths = [folder / name for name in (_KERAS, _SAVEDMODEL)]
    return next((path for path in paths if path.is_file()), None)
