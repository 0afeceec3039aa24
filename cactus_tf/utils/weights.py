"""Variables in a file of Keras' format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cactus_tf.errors import InputError
from cactus_tf.utils import files


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
