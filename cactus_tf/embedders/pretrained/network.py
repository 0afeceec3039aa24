"""What a network with its weights is, and its errors in one line each."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import keras
import tensorflow as tf

from cactus_tf.errors import InputError

FORMS = (
    "FILE.weights.h5 of a network of keras.applications, FILE.keras, or the folder of a SavedModel or of a preset of "
    "keras-hub"
)


class Network(NamedTuple):
    """A network with its weights.

    Attributes:
      features: [n, height, width, channels] float32 -> [n, dim] float32.
      input_shape: (height, width, channels).
      model: a network of `keras.applications`; None for another.
      hub: one of keras-hub with its preprocessing, which a saved embedder holds as a SavedModel; None for another.
    """

    features: Callable[[tf.Tensor], tf.Tensor]
    input_shape: tuple[int, int, int]
    model: keras.Model | None = None
    hub: keras.Model | None = None


@contextlib.contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Turns the errors of reading a network into one line."""
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"--pretrained_weights={path} does not exist; it must be {FORMS}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        unknown = re.search(r"Could not locate (?:class|function) '(\w+)'", str(error))
        reason = f"it needs the Python code of {unknown[1]}" if unknown else _first(error)
        raise InputError(
            f"--pretrained_weights={path} cannot be read by Keras alone ({reason}): export it as a SavedModel "
            "(model.export(folder)) and name that folder"
        ) from error
    except Exception as error:  # zipfile, HDF5 and TensorFlow raise errors of every kind on damaged files
        raise InputError(
            f"--pretrained_weights={path} is damaged, cut short or of another kind ({_first(error)}): get it again; it "
            f"must be {FORMS}"
        ) from error


def _first(error: Exception) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Hides Python's warnings: Keras warns of each layer that a wrong file lacks, and of unusual input sizes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
