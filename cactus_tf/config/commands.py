"""How every command begins and ends: it reads flags, and ends with one line and an exit code."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags
from absl import logging as absl_logging

from cactus_tf.errors import InputError, RunError
from cactus_tf.utils.terminal import without_stderr


@contextlib.contextmanager
def silence(argv: Sequence[str] = ()) -> Iterator[None]:
    """Hides TensorFlow's start-up messages, unless the command's arguments include --debug.

    They come from C++, below Python's sys.stderr.
    """
    if any(argument.startswith("--debug") for argument in argv):
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with without_stderr():
        yield


def guarded(
    act: Callable[[Sequence[str]], Any],
    argv: Sequence[str],
    help_text: Callable[[str], str],
    debug: Callable[[], bool] = lambda: False,
    stopped: str = "stopped; nothing was written",
    places: str = "--out",
) -> int:
    """Runs act(argv), or prints the help; returns 0, 2 for bad input, 1 for failures while running, 130 for Ctrl-C.

    Args:
      act: the command.
      argv: its arguments.
      help_text: from a topic to the text: "" for --help, "full" for --helpfull, NAME for --help=NAME.
      debug: whether to print tracebacks even if no argument asks for them.
      stopped: what to say after Ctrl-C.
      places: the flags that choose where it writes, for the message about a full or read-only disk.
    """
    try:
        topic = _help_topic(argv)
        if topic is None:
            act(argv)
        else:
            sys.stdout.write(help_text(topic) + "\n")
        return 0
    except KeyboardInterrupt:
        return _end(130, stopped)
    except Exception as error:
        if debug() or any(a.startswith("--debug") for a in argv):
            traceback.print_exc()
        return _end(*_explain(error, places))


def _help_topic(argv: Sequence[str]) -> str | None:
    for argument in argv:
        if argument in ("-h", "--help", "-help", "--helpshort"):
            return ""
        if argument in ("--helpfull", "-helpfull"):
            return "full"
        if argument.startswith("--help="):
            return argument.removeprefix("--help=")
    return None


def _explain(error: BaseException, places: str) -> tuple[int, str]:
    """Exit code and one line for an error."""
    if isinstance(error, InputError):
        return 2, str(error)
    if isinstance(error, RunError):
        return 1, str(error)
    if isinstance(error, OSError) and error.strerror:
        return 1, f"{error.filename or 'a file'}: {error.strerror}; free or change {places}"
    first = (str(error).splitlines() or [""])[0]
    ours = re.search(r"\b(?:RunError|InputError): (.+)", first)  # raised inside a tf.data pipeline
    if ours:
        return 1, ours[1]
    return 1, f"{type(error).__name__}: {first} (--debug prints the traceback)"


def _end(code: int, message: str) -> int:
    sys.stderr.write(" ".join(message.split()) + "\n")
    return code


def start_logging(quiet: bool = False, debug: bool = False) -> None:
    """Sends the library's messages to standard output through absl, and sets TensorFlow's verbosity.

    Args:
      quiet: errors only.
      debug: everything, including TensorFlow's own messages.
    """
    absl_logging.set_verbosity(absl_logging.DEBUG if debug else absl_logging.WARNING)
    flags.FLAGS.mark_as_parsed()  # absl's own flags keep their defaults; until then its handler writes to stderr alone
    handler = absl_logging.PythonHandler(sys.stdout, logging.Formatter("%(message)s"))
    logger = logging.getLogger("cactus_tf")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.ERROR if quiet else logging.DEBUG if debug else logging.INFO)


def read_flags(argv: Sequence[str], defaults: Mapping[str, str | bool | None]) -> tuple[dict[str, Any], list[str]]:
    """The value of every flag of a command by name, and the arguments that are not flags.

    Args:
      argv: the command's arguments.
      defaults: of every flag; True or False makes a switch, anything else a text.

    Raises:
      InputError: an unknown flag, or a value that it cannot have.
    """
    values = flags.FlagValues()
    for name, default in defaults.items():
        define: Any = flags.DEFINE_bool if isinstance(default, bool) else flags.DEFINE_string
        define(name, default, "see HELP", flag_values=values)
    words = parse_flags(values, argv)
    return {name: values[name].value for name in defaults}, words


def read_settings(
    argv: Sequence[str], defaults: Mapping[str, str | bool | None], needed: Sequence[str], remedy: str
) -> dict[str, Any]:
    """The value of every flag of a command that takes only flags, by name.

    Args:
      argv, defaults: as of `read_flags`.
      needed: the flags that must be given.
      remedy: what to do if they are missing.

    Raises:
      InputError: a flag that is unknown, wrong or missing, or an argument that is not a flag.
    """
    values, words = read_flags(argv, defaults)
    refuse_words(words)
    missing = [f"--{name}" for name in needed if not values[name]]
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


def parse_flags(values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """Reads flags into their values; returns the other arguments.

    Raises:
      InputError: an unknown flag, or a value that it cannot have.
    """
    try:
        return values(["main", *argv])[1:]
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(values), n=1)
        hint = f"did you mean --{near[0]}?" if near else "see --help"
        raise InputError(f"--{error.flagname}: unknown flag; {hint}") from error
    except flags.IllegalFlagValueError as error:
        raise InputError(_in_words(str(error), values)) from error
    except (flags.Error, OSError) as error:
        raise InputError(" ".join(str(error).replace("ERROR:: ", "").split())) from error


def _in_words(message: str, values: flags.FlagValues) -> str:
    """absl's 'flag --steps=abc: invalid literal ...' as the rule that was broken."""
    flag, _, value = message.removeprefix("flag --").partition(":")[0].partition("=")
    kinds = {"int": "a whole number", "float": "a number", "bool": "true or false"}
    kind = kinds.get(values[flag].flag_type(), "another value") if flag in values else "another value"
    return f"--{flag}={value}: it must be {kind}"
