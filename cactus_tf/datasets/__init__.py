"""The data sets: each module is one, and its file name is the value of --dataset.

The rest of the package imports the functions named here, and each module's `INFO`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf import plugins
from cactus_tf.contracts import DataContext, DatasetInfo
from cactus_tf.datasets._io.decoding import fitted
from cactus_tf.datasets._io.depth import PixelRange, scaled
from cactus_tf.datasets._io.entries import shown
from cactus_tf.datasets._io.user_pictures import Pictures, originals, read_all, read_classes
from cactus_tf.errors import InputError
from cactus_tf.types import Splits

__all__ = [
    "Pictures", "PixelRange", "fitted", "load", "originals", "picture_decoder", "read_all", "read_classes", "scaled",
    "shown",
]  # fmt: skip


def load(name: str, data_dir: str | Path | None = None, context: DataContext | None = None) -> Splits:
    """Loads a data set by its name.

    Args:
      name: a module of this folder, such as "digits" or "omniglot".
      data_dir: folder with its official files; None downloads it where tensorflow-datasets has it.
      context: stores prepared arrays; None keeps them in memory.

    Raises:
      InputError: no such data set, a setting that it does not take, or files that are missing, incomplete or damaged.

    Example:
      >>> import cactus_tf as ct
      >>> data = ct.datasets.load("digits")
      >>> data.train.images.shape, data.train.images.dtype.name, len(data.test)
      ((1000, 28, 28, 1), 'uint8', 500)
    """
    module, context = plugins.load("datasets", name), context or DataContext()
    for setting, value in (("image_size", context.image_size), ("eval_dir", context.eval_dir)):
        if value is not None and setting not in module.INFO.takes:
            raise InputError(f"{setting} {value} cannot be used: {name} does not take it, so leave {setting} out")
    return module.load(data_dir, context)


def picture_decoder(name: str, shape: tuple[int, ...], options: Any = None) -> Callable[[bytes], np.ndarray]:
    """The function from a file's bytes to [height, width, channels] uint8, as a data set prepares its own pictures.

    For a data set that does not come as pictures it is that of `folder`: the middle of the picture.

    Args:
      name: of the data set.
      shape: (height, width, channels) of its images.
      options: its own settings; None means their defaults.

    Raises:
      UnreadableError: by the returned function, for bytes that are not a picture.
    """
    info: DatasetInfo = plugins.load("datasets", name).INFO
    if info.picture_decoder is None:
        info, options = plugins.load("datasets", "folder").INFO, None
    assert info.picture_decoder is not None
    return info.picture_decoder(tuple(shape), options)
