"""Finds the members of a family by file name: the file name is the flag's value, and there is no list to edit."""

import difflib
import importlib
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from cactus_tf.errors import InputError

FAMILIES = ("datasets", "embedders", "partitioners", "backbones", "learners")


def names(family: str) -> list[str]:
    """The members of a family, sorted: its modules whose names do not begin with an underscore."""
    package = sys.modules.get(f"cactus_tf.{family}")  # importing it could import TensorFlow
    places = package.__path__ if package else [str(Path(__file__).parent / family)]
    return sorted(m.name for m in pkgutil.iter_modules(places) if not m.name.startswith("_"))


def suggestion(name: str, choices: Iterable[str]) -> str:
    """What to say of a name that is not among the choices: the nearest of them, and all."""
    choices = list(choices)
    nearest = "".join(f"did you mean {near}? " for near in difflib.get_close_matches(name, choices, n=1))
    return f"{nearest}choose from {', '.join(choices)}"


def load(family: str, name: str) -> ModuleType:
    """The module of one member.

    Raises:
      InputError: no such member; the message lists those there are.
    """
    if name not in names(family):
        raise InputError(f"unknown member {name!r} of {family}; {suggestion(name, names(family))}")
    return importlib.import_module(f"cactus_tf.{family}.{name}")


def info(family: str, name: str) -> Any:
    """What a member declares about itself: its INFO, the dataclass of its family in `contracts`.

    Raises:
      InputError: no such member.
    """
    return load(family, name).INFO


def options_type(family: str, name: str) -> type[Any] | None:
    """The member's `Options`, a frozen dataclass; None if it has no settings of its own."""
    return vars(load(family, name)).get("Options")


def options(family: str, name: str, **values: Any) -> Any:
    """The member's own settings: its `Options` with these values, or None if it has none.

    Raises:
      InputError: a setting that the member does not have.
    """
    kind = options_type(family, name)
    if kind is None:
        if values:
            raise InputError(f"{name} has no settings of its own, so {', '.join(sorted(values))} cannot be set")
        return None
    unknown = set(values) - set(kind.__dataclass_fields__)
    if unknown:
        known = ", ".join(sorted(kind.__dataclass_fields__))
        raise InputError(f"{name} has no setting {', '.join(sorted(unknown))}; it has {known}")
    return kind(**values)
