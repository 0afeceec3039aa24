"""How the commands read their flags: values, their rules, and what a wrong one is called."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from cactus_tf.config.flagfiles import with_flagfiles
from cactus_tf.errors import InputError
from cactus_tf.plugins import suggestion
from cactus_tf.utils.paths import expanded
from cactus_tf.utils.text import shortened

if TYPE_CHECKING:  # at the top, absl would add a tenth of a second in which Ctrl-C prints a traceback
    from absl import flags


class Rules(NamedTuple):
    """What the values of a command's flags must be.

    Attributes:
      needed: flags that must be given.
      paths: flags whose values are paths, in which ~ is the home folder.
      existing: paths that must exist.
      choices: the values that a flag can have, by flag.
    """

    needed: Sequence[str] = ()
    paths: Sequence[str] = ()
    existing: Sequence[str] = ()
    choices: Mapping[str, Sequence[str]] = MappingProxyType({})


Default = str | bool | float | type | None
_NO_RULES = Rules()
_LONGEST = 100  # letters of the name of a flag
_DEFINE = {bool: "DEFINE_bool", int: "DEFINE_integer", float: "DEFINE_float"}  # of absl.flags, by type of the default


def read_flags(
    argv: Sequence[str], defaults: Mapping[str, Default], rules: Rules = _NO_RULES
) -> tuple[dict[str, Any], list[str]]:
    """The value of every flag of a command by name, and the arguments that are not flags.

    Args:
      argv: the command's arguments.
      defaults: of every flag; True or False makes a switch, a number a number of its type, `int` or `float` a number
        without a default, anything else a text.
      rules: that the values must follow, but for `needed`.

    Raises:
      InputError: an unknown flag, or a value that it cannot have.
    """
    from absl import flags

    values = flags.FlagValues()
    for name, default in defaults.items():
        kind, value = (default, None) if isinstance(default, type) else (type(default), default)
        getattr(flags, _DEFINE.get(kind, "DEFINE_string"))(name, value, "see HELP", flag_values=values)
    words = parse_flags(values, argv)
    given: dict[str, Any] = {name: values[name].value for name in defaults}
    given |= {name: str(expanded(given[name], f"--{name}")) for name in rules.paths if given[name]}
    for name in rules.existing:
        if given[name] and not os.path.exists(given[name]):
            raise InputError(f"--{name}={given[name]}: there is no such folder or file")
    for name, choices in rules.choices.items():
        if given[name] not in choices:
            raise InputError(f"--{name}={given[name]}: unknown {name}; {suggestion(given[name], choices)}")
    return given, words


def read_settings(argv: Sequence[str], defaults: Mapping[str, Default], remedy: str, rules: Rules) -> dict[str, Any]:
    """The value of every flag of a command that takes only flags, by name.

    Args:
      argv, defaults: as of `read_flags`.
      remedy: what to do if a needed flag is missing.
      rules: that the values must follow.

    Raises:
      InputError: a flag that is unknown, wrong or missing, or an argument that is not a flag.
    """
    values, words = read_flags(argv, defaults, rules)
    refuse_words(words)
    missing = [f"--{name}" for name in rules.needed if not values[name]]
    if missing:
        raise InputError(f"{', '.join(missing)} missing: {remedy}; see --help")
    return values


def refuse_words(words: Sequence[str]) -> None:
    """Refuses arguments that are not flags.

    Raises:
      InputError: there are some.
    """
    if words:
        raise InputError(f"unexpected argument {words[0]!r}; flags look like --name=value; see --help")


def parse_flags(values: flags.FlagValues, argv: Sequence[str], known_only: bool = False) -> list[str]:
    """Reads flags into their values; returns the other arguments, with `known_only` also the unknown flags.

    Raises:
      InputError: an unknown flag, or a value that it cannot have.
    """
    from absl import flags

    words = with_flagfiles(argv)
    _check_lengths(words)
    try:
        return values(["main", *words], known_only=known_only)[1:]
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(values), n=1)
        hint = f"did you mean --{near[0]}?" if near else "see --help"
        raise InputError(f"--{error.flagname}: unknown flag; {hint}") from error
    except flags.IllegalFlagValueError as error:
        raise InputError(_in_words(str(error), values)) from error
    except (flags.Error, ValueError) as error:  # ValueError: --noquiet=x
        raise InputError(" ".join(str(error).replace("ERROR:: ", "").split())) from error


def _check_lengths(words: Sequence[str]) -> None:
    """Refuses names of flags that are too long for absl, which compares an unknown one with all others recursively.

    Raises:
      InputError: there is one.
    """
    for word in words:
        if word == "--":
            return
        name = word.split("=", 1)[0].lstrip("-")
        if word.startswith("-") and len(name) > _LONGEST:
            raise InputError(f"--{shortened(name, 40)}: unknown flag; see --help")


def _in_words(message: str, values: flags.FlagValues) -> str:
    """absl's 'flag --steps=abc: invalid literal ...' as the rule that was broken."""
    flag, _, value = message.removeprefix("flag --").partition(":")[0].partition("=")
    kinds = {"int": "a whole number", "float": "a number", "bool": "true or false"}
    kind = kinds.get(values[flag].flag_type(), "another value") if flag in values else "another value"
    return f"--{flag}={value}: it must be {kind}"
