"""Keras' own defaults, whatever its configuration file or another library has set."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import keras

_LOCK = threading.RLock()  # two of the three settings belong to the whole process


@contextlib.contextmanager
def keras_defaults() -> Iterator[None]:
    """Layers and optimizers made in its block have float32 and channels last, and keep both; also a decorator."""
    with _LOCK:
        earlier = keras.config.floatx(), keras.config.image_data_format(), keras.config.dtype_policy()
        try:
            _set("float32", "channels_last", "float32")
            yield
        finally:
            _set(*earlier)


def _set(floatx: str, image_data_format: str, dtype_policy: str | keras.dtype_policies.DTypePolicy) -> None:
    keras.config.set_floatx(floatx)
    keras.config.set_image_data_format(image_data_format)
    keras.config.set_dtype_policy(dtype_policy)
