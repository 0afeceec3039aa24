"""What a .keras file may name: Keras' own layers. Parts that run Python code or read other files are refused.

`safe_mode` of Keras refuses `Lambda` alone. Some versions that this package allows import modules, call functions of
Keras or read files that a file's configuration names (CVE-2025-1550, CVE-2025-8747, CVE-2025-9906, CVE-2025-12058).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from cactus_tf.errors import InputError

_PACKAGES = ("keras", "keras_hub", "keras_cv", "keras_nlp", "builtins")
_CODE = {"Lambda", "__lambda__", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"}
_OTHER_FILES = {"TFSMLayer", "StringLookup", "IntegerLookup", "TextVectorization"}
_FUNCTIONS = ("builtins", "keras.activations", "keras.src.activations")  # "builtins" are Keras' own activations etc.
_LARGEST = 1 << 28  # bytes of a configuration


def check_file(path: Path) -> None:
    """Checks the configuration of a .keras file before Keras reads it.

    Raises:
      InputError: it names code or other files.
      BadZipFile, KeyError, ValueError and others: it is damaged.
    """
    with zipfile.ZipFile(path) as archive:
        if archive.getinfo("config.json").file_size > _LARGEST:
            raise ValueError("its configuration is too large")
        check(json.loads(archive.read("config.json")), f"--pretrained_weights={path}")


def check(config: Any, flag: str) -> None:
    """Checks every object in a configuration; `flag` is what named it.

    Raises:
      InputError: one is code, or reads other files.
    """
    for part in _objects(config):
        name = str(part.get("class_name"))
        if name in _OTHER_FILES:
            raise InputError(f"{flag} has a layer {name}, which reads other files: name a network without it")
        if _is_code(name, part):
            raise InputError(
                f"{flag} cannot be read by Keras alone (it needs the Python code of {name:.60}): export it as a "
                "SavedModel (model.export(folder)) and name that folder"
            )


def _is_code(name: str, part: dict[str, Any]) -> bool:
    """Whether an object is a function or class that is not one of Keras, nor registered in this process."""
    module = part.get("module")
    if name in _CODE or module is None:
        return name in _CODE
    if name == "function":
        return not _is_activation(str(module))
    return str(module).split(".")[0] not in _PACKAGES and not _is_registered(part)


def _is_activation(module: str) -> bool:
    return module in _FUNCTIONS or module.startswith(_FUNCTIONS[1:])


def _is_registered(part: dict[str, Any]) -> bool:
    """Whether this process registered the class with Keras."""
    name = part.get("registered_name")
    return isinstance(name, str) and keras.saving.get_registered_object(name) is not None


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every object of a class in a configuration, at any depth."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += value.values()
            if "class_name" in value:
                yield value
        elif isinstance(value, list):
            waiting += value
