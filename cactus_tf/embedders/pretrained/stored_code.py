"""What a file of a network may do: compute. What runs Python code, or reads or writes files, is refused.

The safe mode of Keras refuses `Lambda` alone. Some versions that this package allows import modules, call functions of
Keras or read files that a file's configuration names (CVE-2025-1550, CVE-2025-8747, CVE-2025-9906, CVE-2025-12058).
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from cactus_tf.errors import InputError
from cactus_tf.utils import files

_PACKAGES = ("keras", "keras_hub", "keras_cv", "keras_nlp", "builtins")
_CODE = {"Lambda", "__lambda__", "TorchModuleWrapper", "FlaxLayer", "JaxLayer"}
_OTHER_FILES = {"TFSMLayer", "StringLookup", "IntegerLookup", "TextVectorization"}
_FUNCTIONS = ("builtins", "keras.activations", "keras.src.activations")  # "builtins" are Keras' own activations etc.
_USES_MORE = re.compile(
    r"File|Reader|Dataset|Iterator|Record|Save|Restore|Checkpoint|Summary|PyFunc|^Print|Debug|Remap|Rpc|Gcs|Abort|^Copy|"
    r"^_?(Send|Recv|HostSend|HostRecv)|Collective"
)
_CHECKPOINTS = frozenset(("SaveV2", "RestoreV2", "ShardedFilename", "MergeV2Checkpoints"))
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


def check_preset(folder: Path) -> None:
    """Checks the configurations of a preset of keras-hub.

    Raises:
      InputError: one names code or other files, or is damaged.
    """
    for path in sorted(folder.glob("*.json")):
        check(files.read_json(path, "get the preset again"), f"--pretrained_weights={path}")


def check_savedmodel(folder: Path) -> None:
    """Checks the graphs of a SavedModel before TensorFlow loads it.

    The functions that save and restore its variables use files; they are not run, and no other function may call them.
    A SavedModel of TensorFlow 1 has them in its one graph, so there its operations for checkpoints are not refused.

    Raises:
      InputError: an operation reads or writes files, calls Python, opens a connection, or ends the process.
      OSError and others: the SavedModel is damaged.
    """
    graphs = tf.__internal__.saved_model.parse_saved_model(str(folder)).meta_graphs
    allowed: frozenset[str] = frozenset()
    functions = [function for graph in graphs for function in graph.graph_def.library.function]
    if len(graphs) == 1 and graphs[0].HasField("object_graph_def"):
        functions = _called(functions, set(graphs[0].object_graph_def.concrete_functions))
    else:
        allowed = _CHECKPOINTS
    nodes = [node for graph in graphs for node in graph.graph_def.node]
    nodes += [node for function in functions for node in function.node_def]
    refused = sorted({node.op for node in nodes if _USES_MORE.search(node.op)} - allowed)
    if refused:
        raise InputError(
            f"--pretrained_weights={folder} does more than compute ({refused[0]}): it could read or write files; get "
            "the network from somebody you trust, as a file that only computes"
        )


def _called(functions: list[Any], names: set[str]) -> list[Any]:
    """The functions of these names, and those that they call."""
    by_name = {function.signature.name: function for function in functions}
    called, waiting = dict[str, Any](), list(names)
    while waiting:
        name = waiting.pop()
        if name in by_name and name not in called:
            called[name] = by_name[name]
            for node in by_name[name].node_def:
                waiting += _functions_of(node)
    return list(called.values())


def _functions_of(node: Any) -> list[str]:
    """Names of the functions that a node calls, be it as an attribute or as an operation."""
    own = [value.func.name for value in node.attr.values() if value.HasField("func")]
    listed = [one.name for value in node.attr.values() if value.HasField("list") for one in value.list.func]
    return [node.op, *own, *listed]


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
