"""The data sets: a module each, found by its file name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf import plugins
from cactus_tf.contracts import DataContext
from cactus_tf.errors import InputError
from cactus_tf.types import Splits


def load(name: str, data_dir: str | Path | None = None, context: DataContext | None = None) -> Splits:
    """A data set by its name.

    Args:
      name: a module of this folder, such as "digits" or "omniglot".
      data_dir: folder with its official files; None downloads it where tensorflow-datasets has it.
      context: where prepared arrays are kept; None keeps them in memory only.

    Raises:
      InputError: no such data set, a setting that it does not take (its module's TAKES lists what it does), or files
        that are missing, incomplete or damaged.

    Example:
      >>> import cactus_tf as ct
      >>> data = ct.datasets.load("digits")
      >>> data.train.images.shape, data.train.images.dtype.name, len(data.test)
      ((1000, 28, 28, 1), 'uint8', 500)
    """
    module, context = plugins.load("datasets", name), context or DataContext()
    for setting in ("image_size", "eval_dir"):
        value = getattr(context, setting)
        if value is not None and setting not in getattr(module, "TAKES", ()):
            raise InputError(f"{setting} {value} cannot be used: {name} does not take it, so leave {setting} out")
    return module.load(data_dir, context)


def picture_decoder(name: str, shape: tuple[int, ...], options: Any = None) -> Callable[[bytes], np.ndarray]:
    """The function from a file's bytes to [height, width, channels] uint8, as the data set prepares its own pictures.

    Data sets that do not come as pictures take those of `folder`, the middle of them.

    Args:
      name: of the data set.
      shape: (height, width, channels) of its images.
      options: its own settings; None means its usual.

    Raises:
      UnreadableError: by the function, for what is no picture.
    """
    module = plugins.load("datasets", name)
    if not hasattr(module, "picture_decoder"):
        module, options = plugins.load("datasets", "folder"), None
    return module.picture_decoder(tuple(shape), options)
