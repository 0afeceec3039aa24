"""Export formats: writes TensorFlow functions to files that work without this package, and reads them back."""

from __future__ import annotations

import contextlib
import functools
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
from cactus_tf.utils.text import first_line

Functions = Mapping[str, Any]
"""`tf.function`s with an input signature, by name; they return tensors by name."""

Call = Callable[..., Mapping[str, np.ndarray]]
"""From arrays by name to arrays by name."""

TFLITE_FILE, ONNX_FILE = "embed.tflite", "embed.onnx"
_OPSET = 18


class Format(NamedTuple):
    """An export format.

    Attributes:
      signatures: names of the functions that it can hold.
      write: writes functions into an existing folder.
      read: folder -> the functions written there, by name.
      packages: modules that it needs besides the package's requirements.
    """

    signatures: tuple[str, ...]
    write: Callable[[Functions, Path], None]
    read: Callable[[Path], dict[str, Call]]
    packages: tuple[str, ...] = ()


def by_name(name: str) -> Format:
    """The format of this name, whose packages are installed."""
    if name not in FORMATS:
        raise InputError(f"--format={name}: unknown format; choose from {', '.join(FORMATS)}")
    missing = [package for package in FORMATS[name].packages if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(
            f'--format={name} needs {" and ".join(missing)}: pip install "cactus-tf[{name}]", or choose another format'
        )
    return FORMATS[name]


def write(form: Format, functions: Functions, folder: Path, out: Path) -> dict[str, Call]:
    """Writes functions in a format, and returns them as read back.

    Args:
      form: the format.
      functions: what it holds.
      folder: to write into.
      out: where the folder will be, for the message.

    Raises:
      RunError: the functions cannot be written: the disk is full, or the format cannot hold them.
    """
    try:
        form.write(functions, folder)
        return form.read(folder)
    except (OSError, tf.errors.OpError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or first_line(error).rsplit(";", 1)[-1].strip()
        raise RunError(f"cannot write {out} ({reason}): free some space, or choose another --out") from error


def write_savedmodel(functions: Functions, folder: Path) -> None:
    """A SavedModel that has the functions as signatures and as attributes.

    `keras.export.ExportArchive` does the same, but writes the first function a second time as "serving_default", which
    nearly doubles the size of the graph and the time.
    """
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
        model = tf.saved_model.load(str(folder))
    return {name: functools.partial(_run_signature, model, name) for name in model.signatures}


def _run_signature(model: Any, name: str, **arrays: np.ndarray) -> dict[str, np.ndarray]:
    """Runs a signature; holding `model` keeps its variables alive."""
    outputs = model.signatures[name](**{key: tf.constant(array) for key, array in arrays.items()})
    return {key: value.numpy() for key, value in outputs.items()}


def write_tflite(functions: Functions, folder: Path) -> None:
    """embed.tflite with the functions as signatures, in float32."""
    with tempfile.TemporaryDirectory() as place:
        write_savedmodel(functions, Path(place))
        converter = tf.lite.TFLiteConverter.from_saved_model(place, signature_keys=list(functions))
        try:
            with _quiet():
                model = converter.convert()
        except Exception as error:
            missing = re.search(r"TF Select ops: (.+)", str(error))
            reason = f"it has no {missing[1].strip()}" if missing else first_line(error)
            raise RunError(f"TFLite cannot hold this embedder, {reason}: take --format=savedmodel") from error
    (folder / TFLITE_FILE).write_bytes(model)


def read_tflite(folder: Path) -> dict[str, Call]:
    """The signatures."""
    with _quiet(), without_stderr():  # TFLite's C++ prints its delegate
        interpreter = _interpreter()(str(folder / TFLITE_FILE))
        interpreter.allocate_tensors()
    return {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}


def _interpreter() -> Any:
    """LiteRT's interpreter if `ai-edge-litert` is installed, else the deprecated copy inside TensorFlow."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        return tf.lite.Interpreter
    return Interpreter


def write_onnx(functions: Functions, folder: Path) -> None:
    """embed.onnx with the inputs and outputs of the one function."""
    import tf2onnx

    (function,) = functions.values()
    path = str(folder / ONNX_FILE)
    try:
        with _quiet():
            tf2onnx.convert.from_function(function, function.input_signature, opset=_OPSET, output_path=path)
    except Exception as error:
        raise RunError(
            f"tf2onnx cannot convert this embedder, {first_line(error)}: take --format=savedmodel"
        ) from error


def read_onnx(folder: Path) -> dict[str, Call]:
    """The one function, named embed."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(folder / ONNX_FILE), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {"embed": lambda **arrays: dict(zip(names, session.run(names, arrays), strict=True))}


FORMATS = {
    "savedmodel": Format(("classify", "embed"), write_savedmodel, read_savedmodel),
    "tflite": Format(("embed",), write_tflite, read_tflite),
    "onnx": Format(("embed",), write_onnx, read_onnx, ("tf2onnx", "onnxruntime")),
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the converters' logs, warnings and prints."""
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
