"""The forms in which TensorFlow functions are written for use without this package, and how each is read back."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from cactus_tf.errors import InputError, RunError
from cactus_tf.utils.terminal import without_stderr

Functions = Mapping[str, Any]
"""TensorFlow functions with an input signature, by name; they return tensors by name."""

Call = Callable[..., Mapping[str, np.ndarray]]
"""From arrays by name to arrays by name."""

TFLITE_FILE, ONNX_FILE = "embed.tflite", "embed.onnx"


class Format(NamedTuple):
    """A form of export.

    Attributes:
      holds: names of the functions that it can hold.
      write: writes functions into a folder that exists.
      read: what was written, by name.
      packages: what it needs beside our requirements.
    """

    holds: tuple[str, ...]
    write: Callable[[Functions, Path], None]
    read: Callable[[Path], dict[str, Call]]
    packages: tuple[str, ...] = ()


def chosen(name: str) -> Format:
    """The form of this name.

    Raises:
      InputError: there is none, or a package that it needs is not installed.
    """
    if name not in FORMATS:
        raise InputError(f"--format={name}: there is no such format; choose from {', '.join(FORMATS)}")
    missing = [package for package in FORMATS[name].packages if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(
            f'--format={name} needs {" and ".join(missing)}: pip install "cactus-tf[{name}]", or choose another format'
        )
    return FORMATS[name]


def write_savedmodel(functions: Functions, folder: Path) -> None:
    """A SavedModel whose signatures are the functions, which are its attributes, too."""
    module = tf.Module()
    traced = [function.get_concrete_function() for function in functions.values()]
    module.state = list({id(v): v for concrete in traced for v in concrete.graph.variables}.values())
    for name, function in functions.items():
        setattr(module, name, function)
    with _quiet():
        tf.saved_model.save(module, str(folder), signatures=dict(functions))


def read_savedmodel(folder: Path) -> dict[str, Call]:
    """The signatures."""
    with _quiet():
        loaded = tf.saved_model.load(str(folder))

    def call(name: str, **arrays: np.ndarray) -> dict[str, np.ndarray]:
        told = loaded.signatures[name](**{key: tf.constant(array) for key, array in arrays.items()})
        return {key: value.numpy() for key, value in told.items()}

    return {name: _named(call, name, loaded) for name in loaded.signatures}


def write_tflite(functions: Functions, folder: Path) -> None:
    """embed.tflite with the functions as its signatures, in float32.

    Raises:
      RunError: TFLite lacks an operation that a function has.
    """
    with tempfile.TemporaryDirectory() as place:
        write_savedmodel(functions, Path(place))
        with _quiet():
            converter = tf.lite.TFLiteConverter.from_saved_model(place, signature_keys=list(functions))
            try:
                made = converter.convert()
            except Exception as error:
                lacks = re.search(r"TF Select ops: (.+)", str(error))
                told = f"it has no {lacks[1].strip()}" if lacks else _first_line(error)
                raise RunError(f"TFLite cannot hold this embedder, {told}: take --format=savedmodel") from error
    (folder / TFLITE_FILE).write_bytes(made)


def read_tflite(folder: Path) -> dict[str, Call]:
    """The signatures."""
    with _quiet(), without_stderr():  # TFLite's C++ says which delegate it makes
        interpreter = tf.lite.Interpreter(str(folder / TFLITE_FILE))
        interpreter.allocate_tensors()
    return {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}


def write_onnx(functions: Functions, folder: Path) -> None:
    """embed.onnx with the function's inputs and outputs.

    Raises:
      RunError: tf2onnx cannot convert an operation that the function has.
    """
    import tf2onnx

    (function,) = functions.values()
    with _quiet():
        try:
            tf2onnx.convert.from_function(
                function, function.input_signature, opset=_OPSET, output_path=str(folder / ONNX_FILE)
            )
        except Exception as error:
            raise RunError(
                f"tf2onnx cannot convert this embedder, {_first_line(error)}: take --format=savedmodel"
            ) from error


def read_onnx(folder: Path) -> dict[str, Call]:
    """The one function, named embed."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / ONNX_FILE), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {"embed": lambda **arrays: dict(zip(names, session.run(names, arrays), strict=True))}


_OPSET = 18
FORMATS = {
    "savedmodel": Format(("classify", "embed"), write_savedmodel, read_savedmodel),
    "tflite": Format(("embed",), write_tflite, read_tflite),
    "onnx": Format(("embed",), write_onnx, read_onnx, ("tf2onnx", "onnxruntime")),
}


def _named(call: Callable, name: str, keep: Any) -> Call:
    """The call of one name; what it was loaded from lives as long."""

    def run(**arrays):
        assert keep is not None
        return call(name, **arrays)

    return run


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No notes of converters, which are for their own people."""
    loggers = [logging.getLogger(name) for name in ("absl", "tensorflow", "tf2onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
