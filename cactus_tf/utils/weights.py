"""Variables in a file of Keras' format, and a limit for networks that are made before their weights are read."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from cactus_tf.errors import InputError
from cactus_tf.utils import files

SMALL, LARGEST_UNSAVED = 1 << 28, 1 << 30
"""Bytes of networks that are made without a question, and of those whose weights are not saved, as from scratch."""


def save(variables: Sequence[Any], path: Path) -> None:
    """Writes the variables to a file NAME.weights.h5."""
    files.make_way(path)
    _model(variables).save_weights(path, overwrite=True)


def load(variables: Sequence[Any], path: Path) -> None:
    """Assigns what `save` wrote to variables of the same shapes in the same order.

    Raises:
      InputError: the file has parts that lie in other files.
    """
    _check(path)
    _model(variables).load_weights(path)


@contextlib.contextmanager
def limited(saved: int, where: Path) -> Iterator[None]:
    """Refuses, in its block, networks that cannot belong to their saved weights; before they take memory.

    A description that others wrote can ask for any size. While it is made, a network takes up to three times the bytes
    of its weights, with two moments of Adam.

    Args:
      saved: bytes of the saved weights; 0 if there are none.
      where: the description, a file.

    Raises:
      InputError: the network has more than four times these bytes.
    """
    import tensorflow as tf

    most = max(4 * saved, SMALL) if saved else LARGEST_UNSAVED
    taken = 0

    def creator(create: Any, **settings: Any) -> Any:
        nonlocal taken
        taken += _bytes(settings["initial_value"])
        if taken > most:
            why = f"the weights beside it have {saved / 1e6:.2g} MB: it is damaged or was changed; make it again"
            if not saved:
                why = f"one without saved weights may have {most / 1e9:.2g} GB: lower --filters or --image_size"
            raise InputError(f"{where} describes a network of at least {taken / 1e9:.2g} GB, and {why}")
        return create(**settings)

    with tf.variable_creator_scope(creator):
        yield


def _bytes(initial: Any) -> int:
    """The size of a variable, from its initial value, or from the function that makes it, which is not computed."""
    import tensorflow as tf

    if callable(initial):
        initial = tf.function(initial, autograph=False).get_concrete_function().structured_outputs
    value = tf.convert_to_tensor(initial)
    return math.prod(value.shape) * value.dtype.size


def _check(path: Path) -> None:
    """Checks that nothing in an HDF5 file leads to another file, which some versions of Keras would read."""
    import h5py

    with h5py.File(path, "r") as file:
        waiting = [file]
        while waiting:
            group = waiting.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise InputError(f"{path} has a link, {name}, which could lead to another file")
                part = group[name]
                if isinstance(part, h5py.Group):
                    waiting.append(part)
                elif part.is_virtual or part.external:
                    raise InputError(f"{path} has an array, {name}, whose numbers lie in another file")


def _model(variables: Sequence[Any]) -> Any:
    """A Keras model that consists of these variables, so that Keras writes and reads the file."""
    import keras

    class Weights(keras.Model):
        def save_own_variables(self, store: Any) -> None:
            for i, variable in enumerate(variables):
                store[str(i)] = variable.numpy()

        def load_own_variables(self, store: Any) -> None:
            for i, variable in enumerate(variables):
                variable.assign(store[str(i)])

    model = Weights()
    model.built = True
    return model
