"""Variables in a file of Keras' format."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cactus_tf.utils import files


def save(variables: Sequence[Any], path: Path) -> None:
    """Writes the variables to a file NAME.weights.h5."""
    files.make_way(path)
    _model(variables).save_weights(path, overwrite=True)


def load(variables: Sequence[Any], path: Path) -> None:
    """Assigns what `save` wrote to variables of the same shapes in the same order."""
    _model(variables).load_weights(path)


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
