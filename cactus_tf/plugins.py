"""Finds the members of a family by file name: the file name is the flag's value, and there is no list to edit.

Members lie in this package and in the plug-in folders that `add` was given.
"""

import dataclasses
import difflib
import functools
import importlib
import pkgutil
import sys
import traceback
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from cactus_tf import plugin_folders
from cactus_tf.errors import InputError
from cactus_tf.plugin_folders import Plugin
from cactus_tf.utils.paths import expanded
from cactus_tf.utils.text import first_line

FAMILIES = plugin_folders.FAMILIES
_INFOS = dict(zip(FAMILIES, ("Dataset", "Embedder", "Partitioner", "Augmentation", "Backbone", "Learner"), strict=True))
_added: dict[tuple[str, str], Plugin] = {}  # by family and name


def add(folder: str | Path) -> None:
    """Adds the members of a plug-in folder to their families, for this process. This runs their code.

    Args:
      folder: has a subfolder for each family that it adds to, such as `embedders/`, with a file or package per member.

    Raises:
      InputError: no such folder, no members in it, a file that cannot be imported or lacks something, a name that is
        taken, or a file that changed since this process imported it.
    """
    found = plugin_folders.read(expanded(folder).resolve(), {name for family in FAMILIES for name in _built_in(family)})
    for plugin in found:
        _check_against_others(plugin)
        _check_helpers(plugin)
    importlib.invalidate_caches()
    for plugin in found:
        _import(plugin)
        _added[plugin.family, plugin.name] = plugin


def sources(members: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Digests of the sources of those (family, name) that are plug-ins, by "family/name"."""
    return {f"{family}/{name}": _added[family, name].source for family, name in members if (family, name) in _added}


def check_sources(recorded: Mapping[str, str], user: str, folder: str | None = None) -> None:
    """Checks that the plug-ins that something was made with are here and the same.

    Args:
      recorded: of `sources`.
      user: what was made with them.
      folder: where they were then, if that is known.

    Raises:
      InputError: one was not added, or is another one.
    """
    for member, source in recorded.items():
        family, _, name = member.partition("/")
        if (family, name) not in _added:
            raise InputError(
                f"{user} was made with the plug-in {member}: add --plugins={folder or 'FOLDER'} (it runs the code "
                "there; in Python: cactus_tf.plugins.add)"
            )
        if _added[family, name].source != source:
            raise InputError(
                f"{user} was made with another {_added[family, name].path}: restore the file, or make it again"
            )


def names(family: str) -> list[str]:
    """The members of a family, sorted: its modules whose names do not begin with an underscore, and its plug-ins."""
    added = {name for kind, name in _added if kind == family}
    return sorted({name for name in _built_in(family) if not name.startswith("_")} | added)


@functools.cache
def _built_in(family: str) -> frozenset[str]:
    """The modules of a family in this package, found without importing any: it could import TensorFlow."""
    return frozenset(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / family)]))


def _check_against_others(plugin: Plugin) -> None:
    for other in _added.values():
        if other.name != plugin.name:
            continue
        if other.path != plugin.path:
            raise InputError(f"--plugins: {other.path} and {plugin.path} have the same name: rename one")
        if other.source != plugin.source:
            raise InputError(f"--plugins: {plugin.path} changed after it was imported: start a new Python process")


def _check_helpers(plugin: Plugin) -> None:
    """Refuses modules beside a plug-in that those of another folder would hide, as their import name is the same."""
    own = plugin.path.parent
    helpers = {path.name for path in own.glob("_[!_]*")}
    for place in {other.path.parent for other in _added.values() if other.family == plugin.family} - {own}:
        shared = sorted(helpers & {path.name for path in place.iterdir()})
        if shared:
            raise InputError(f"--plugins: {place} and {own} both have {shared[0]}: rename one")


def _import(plugin: Plugin) -> None:
    """Imports a plug-in as a module of its family, and checks it."""
    package = importlib.import_module(f"cactus_tf.{plugin.family}")
    place = str(plugin.path.parent)
    if place not in package.__path__:
        package.__path__.append(place)
    module = f"cactus_tf.{plugin.family}.{plugin.name}"
    try:
        missing = _missing(importlib.import_module(module), plugin.family)
    except (Exception, SystemExit) as error:
        raise InputError(
            f"--plugins: {plugin.path} cannot be imported ({_in_words(error, plugin.path)}): correct it"
        ) from error
    if missing:
        del sys.modules[module]  # so that it is read again once it is corrected
        raise InputError(f"--plugins: {plugin.path} {missing}; see docs/extending.md")


def _in_words(error: BaseException, path: Path) -> str:
    """An error with the line of the plug-in that it comes from."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(str(path))
    ]
    return f"{f'line {lines[-1]}: ' if lines else ''}{type(error).__name__}: {first_line(error)}"


def _missing(module: ModuleType, family: str) -> str:
    """What a plug-in lacks of its family's contract, in words; "" if nothing."""
    from cactus_tf import contracts  # at the top, it would delay every command

    kind, function = f"{_INFOS[family]}Info", "load" if family == "datasets" else "build"
    has = vars(module)
    if not isinstance(has.get("INFO"), vars(contracts)[kind]):
        return f"has no INFO: add INFO = {kind}(...), of cactus_tf.contracts"
    if not callable(has.get(function)):
        return f"has no function {function}: add it"
    return _wrong_options(has["Options"]) if "Options" in has else ""


def _wrong_options(kind: Any) -> str:
    """What is wrong with a plug-in's `Options`, in words; "" if nothing."""
    if not dataclasses.is_dataclass(kind):
        return "has Options that are not a dataclass: decorate the class with @dataclasses.dataclass(frozen=True)"
    hints = typing.get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if "meaning" not in field.metadata:
            return f'has Options whose {field.name} is not an option: write option(DEFAULT, "meaning")'
        if not set(_types(hints[field.name])) <= {bool, int, float, str, type(None)}:
            return f"has Options whose {field.name} cannot be a flag: annotate it as bool, int, float, str or a tuple"
    return ""


def _types(hint: Any) -> list[Any]:
    """The types in a hint such as `tuple[int, ...] | None`."""
    inner = [part for part in typing.get_args(hint) if part is not Ellipsis]
    return [one for part in inner for one in _types(part)] if inner else [hint]


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
