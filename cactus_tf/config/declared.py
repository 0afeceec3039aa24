"""What members declare, read from their files without importing them.

The module of a network imports TensorFlow, which takes seconds. A command line is checked against these declarations
first, so that a mistyped flag is an error at once.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cactus_tf import plugins


class Members(NamedTuple):
    """Where to get what members declare.

    Attributes:
      info: (family, name) -> the member's INFO.
      options_type: (family, name) -> its Options, or None if it has none.
    """

    info: Callable[[str, str], Any]
    options_type: Callable[[str, str], type[Any] | None]


def _info(family: str, name: str) -> Any:
    try:
        return _value(f"cactus_tf.{family}.{name}", "INFO")
    except Exception:  # written in a way that needs the whole module
        return plugins.info(family, name)


def _options_type(family: str, name: str) -> type[Any] | None:
    module = f"cactus_tf.{family}.{name}"
    try:
        return _value(module, "Options") if "Options" in _statements(module) else None
    except Exception:  # as above
        return plugins.options_type(family, name)


IMPORTED = Members(plugins.info, plugins.options_type)
"""By importing them."""
DECLARED = Members(_info, _options_type)
"""By reading their files: other objects with the same fields, and functions that cannot be called."""


def docstring(family: str, name: str) -> str:
    """That of the member's module."""
    try:
        return ast.get_docstring(_tree(f"cactus_tf.{family}.{name}")) or ""
    except OSError:  # the family's folder is not its only one
        return inspect.getdoc(plugins.load(family, name)) or ""


@functools.cache
def _value(module: str, name: str) -> Any:
    """The value of a name of a module, by running only the statements that it needs.

    Modules outside the families are imported. A function of a family has a stand-in, as only its presence counts.
    """
    if not _belongs_to_a_family(module):
        return vars(importlib.import_module(module))[name]
    statement = _statements(module)[name]
    if isinstance(statement, ast.FunctionDef):
        return _stand_in
    if isinstance(statement, ast.ImportFrom) and _belongs_to_a_family(statement.module or ""):
        original = next(alias.name for alias in statement.names if (alias.asname or alias.name) == name)
        inner = f"{statement.module}.{original}"
        return _Module(inner) if _path(inner).exists() else _value(str(statement.module), original)
    space = {"__name__": module, **{used: _value(module, used) for used in _used(module, statement)}}
    code = ast.Module([statement], [])
    exec(compile(code, str(_path(module)), "exec", dont_inherit=True), space)
    return space[name]


def _stand_in(*arguments: Any) -> Any:
    raise NotImplementedError("import the member to call its functions")


def _used(module: str, node: ast.AST) -> set[str]:
    """The names of the module that a statement needs: not those of a lambda, which is not called."""
    if isinstance(node, ast.Lambda):
        return set()
    read = {node.id} if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) else set()
    own = read & set(_statements(module))
    return own.union(*(_used(module, child) for child in ast.iter_child_nodes(node)))


@functools.cache
def _statements(module: str) -> dict[str, ast.stmt]:
    """The statement that defines each name of a module."""
    return {name: statement for statement in _tree(module).body for name in _defined(statement)}


def _defined(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in statement.names]
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign):
        return [node.id for target in statement.targets for node in ast.walk(target) if isinstance(node, ast.Name)]
    target = statement.target if isinstance(statement, ast.AnnAssign) else None
    return [target.id] if isinstance(target, ast.Name) else []


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_bytes())


def _path(module: str) -> Path:
    """The file of a module of this package."""
    path = Path(plugins.__file__).parents[1].joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _belongs_to_a_family(module: str) -> bool:
    return module.startswith(tuple(f"cactus_tf.{family}" for family in plugins.FAMILIES))


class _Module:
    """A module of a family whose names are read one by one."""

    def __init__(self, module: str):
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return _value(self._module, name)
