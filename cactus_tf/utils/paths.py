"""Paths as people give them."""

from __future__ import annotations

import os
from pathlib import Path

from cactus_tf.errors import InputError


def expanded(path: str | Path, flag: str = "") -> Path:
    """The path with the home folder in place of a leading ~ or ~USER; expanding it again changes nothing.

    Args:
      path: as a person gave it.
      flag: that it was given to, for the message.

    Raises:
      InputError: no such user.
    """
    whole = os.path.expanduser(path)
    if str(whole).startswith("~"):
        user = Path(whole).parts[0]
        raise InputError(
            f"{flag}{'=' if flag else ''}{path}: there is no home folder {user}; write the whole path, or ./{user} for "
            "a folder of this name"
        )
    result = Path(whole)
    return result.absolute() if str(result).startswith("~") else result  # "./~x", of which Path drops the "./"


def identity(path: str | Path) -> str:
    """The absolute path of a place, the same by whichever link it was given."""
    return str(expanded(path).resolve())


def given_name(path: str | Path) -> str:
    """The last part of a path as a person gave it: of a link, its own name."""
    whole = expanded(path).absolute()
    return (whole.resolve() if whole.name == ".." else whole).name


def is_below(name: str) -> bool:
    """Whether a file name in a description leads to a place below its folder, on every operating system."""
    parts = name.replace("\\", "/").split("/")
    return not ({"", "..", "."} & set(parts) or ":" in name or "\0" in name)


def keras_models() -> Path:
    """The folder in which Keras stores downloaded weights."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
