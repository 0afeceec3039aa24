"""A family's member is found by its file name: the file name is the flag's value, and there is no registry to edit."""

import importlib
import pkgutil
from types import ModuleType

from cactus_tf.errors import InputError

FAMILIES = ("datasets", "embedders", "partitioners", "backbones", "learners")


def names(family: str) -> list[str]:
    """The members of a family, sorted: its modules whose names do not begin with an underscore."""
    package = importlib.import_module(f"cactus_tf.{family}")
    return sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def load(family: str, name: str) -> ModuleType:
    """The module of one member.

    Raises:
      InputError: no such member; the message lists those there are.
    """
    if name not in names(family):
        raise InputError(f"{name!r} is none of the {family}; there are {', '.join(names(family))}")
    return importlib.import_module(f"cactus_tf.{family}.{name}")


def options(family: str, name: str, **values):
    """The member's own settings: its `Options` with these values, or None where it has none.

    Raises:
      InputError: a setting that the member does not have.
    """
    options_type = getattr(load(family, name), "Options", None)
    if options_type is None:
        if values:
            raise InputError(f"{name} has no settings of its own, so {', '.join(sorted(values))} cannot be set")
        return None
    unknown = set(values) - set(options_type.__dataclass_fields__)
    if unknown:
        known = ", ".join(sorted(options_type.__dataclass_fields__))
        raise InputError(f"{name} has no setting {', '.join(sorted(unknown))}; it has {known}")
    return options_type(**values)
