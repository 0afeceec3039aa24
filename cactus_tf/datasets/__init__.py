"""The data sets: a module each, found by its file name."""

from __future__ import annotations

from pathlib import Path

from cactus_tf import plugins
from cactus_tf.types import DataContext, Splits


def load(name: str, data_dir: str | Path | None = None, context: DataContext | None = None) -> Splits:
    """A data set by its name.

    Args:
      name: a module of this folder, such as "digits" or "omniglot".
      data_dir: folder with its official files; None downloads it where tensorflow-datasets has it.
      context: where prepared arrays are kept; None keeps them in memory only.

    Raises:
      InputError: no such data set, or files that are missing, incomplete or damaged.
    """
    return plugins.load("datasets", name).load(data_dir, context or DataContext())
