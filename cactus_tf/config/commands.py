"""How every command begins and ends: it reads flags, and ends with one line and an exit code."""

from __future__ import annotations

import contextlib
import difflib
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType, MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from cactus_tf.config.flagfiles import with_flagfiles
from cactus_tf.errors import InputError, RunError
from cactus_tf.plugins import suggestion
from cactus_tf.utils.paths import expanded
from cactus_tf.utils.terminal import any_character, without_stderr

if TYPE_CHECKING:  # at the top, absl would add a tenth of a second in which Ctrl-C prints a traceback
    from absl import flags


_process_is_ours = False  # whether the process runs nothing but a command


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a command as Ctrl-C does."""


@contextlib.contextmanager
def loading(argv: Sequence[str]) -> Iterator[None]:
    """For the imports of TensorFlow, in its block: one line for what fails, no other messages, and Ctrl-C works.

    TensorFlow's start-up messages come from C++, below Python's sys.stderr. They are shown if the command's arguments
    include --debug.

    Raises:
      RunError: TensorFlow or Keras cannot be imported.
      KeyboardInterrupt: it came; libraries that are being imported turn it into other errors, or drop it.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if _asks_for_debug(argv) else "3")
    with _stops() as stops:
        try:
            with contextlib.nullcontext() if _asks_for_debug(argv) else without_stderr():
                yield
        except Exception as error:
            if not stops:
                raise RunError(
                    f"TensorFlow or Keras cannot be loaded ({type(error).__name__}: {_first_line(error)}): check "
                    "their installation, KERAS_BACKEND and ~/.keras/keras.json"
                ) from error
        if stops:
            raise stops[0]


@contextlib.contextmanager
def _stops() -> Iterator[list[KeyboardInterrupt]]:
    """Ctrl-C and SIGTERM raise KeyboardInterrupt in its block; gives those that came.

    Python handles signals in its main thread only. A signal that the process ignores, as under nohup, stays ignored.
    """
    came: list[KeyboardInterrupt] = []

    def stop(number: int, frame: FrameType | None) -> None:
        came.append(Terminated() if number == signal.SIGTERM else KeyboardInterrupt())
        raise came[-1]

    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        handlers = {number: old for number, old in handlers.items() if old not in (signal.SIG_IGN, None)}
    for number in handlers:
        signal.signal(number, stop)
    try:
        yield came
    finally:
        for number, old in handlers.items():
            signal.signal(number, old)


def run_process(main: Callable[[], int]) -> NoReturn:
    """Runs a command that has the process for itself, and ends the process with its exit code.

    After a signal it ends at once, without waiting for threads that still compute.
    """
    global _process_is_ours
    _process_is_ours = True
    code = main()
    if code not in (130, 143):
        sys.exit(code)
    from cactus_tf.utils import watchdog

    watchdog.end_process(code)


def guarded(
    act: Callable[[Sequence[str]], Any],
    argv: Sequence[str],
    help_text: Callable[[str], str],
    debug: Callable[[], bool] = lambda: False,
    stopped: str = "stopped; nothing was written",
    places: str = "--out",
    terminated: int = 143,
) -> int:
    """Runs act(argv), or prints the help; returns 0, 2 for bad input, 1 for failures while running, 130 for Ctrl-C.

    Args:
      act: the command.
      argv: its arguments.
      help_text: from a topic to the text: "" for --help, "full" for --helpfull, NAME for --help=NAME.
      debug: whether to print tracebacks even if no argument asks for them.
      stopped: what to say after Ctrl-C or SIGTERM.
      places: the flags that choose where it writes, for the message about a full or read-only disk.
      terminated: what to return after SIGTERM.
    """
    stops: list[KeyboardInterrupt] = []
    with any_character():
        try:
            with _stops() as stops, _watching(stopped, terminated):
                topic = _help_topic(argv)
                if topic is None:
                    act(argv)
                else:
                    sys.stdout.write(help_text(topic) + "\n")
                if sys.stdout:  # a program without a console has none
                    sys.stdout.flush()
            return 0
        except Terminated:
            return _end(terminated, stopped)
        except KeyboardInterrupt:
            return _end(130, stopped)
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except Exception as error:
            if stops:  # a library made another error of it
                return _end(terminated if isinstance(stops[0], Terminated) else 130, stopped)
            if debug() or _asks_for_debug(argv):
                traceback.print_exc()
            return _end(*_explain(error, places))


@contextlib.contextmanager
def _watching(stopped: str, terminated: int) -> Iterator[None]:
    """Nothing is silent for over a minute, and signals are acknowledged at once."""
    from cactus_tf.utils import watchdog  # at the top it would delay the handling of Ctrl-C

    with watchdog.watching(stopped, {signal.SIGINT: 130, signal.SIGTERM: terminated} if _process_is_ours else None):
        yield


def _asks_for_debug(argv: Sequence[str]) -> bool:
    return any(argument.startswith("--debug") for argument in argv)


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
    first = _first_line(error)
    ours = re.search(r"\b(?:RunError|InputError): (.+)", first)  # raised inside a tf.data pipeline
    if ours:
        return 1, ours[1]
    return 1, f"{type(error).__name__}: {first} (--debug prints the traceback)"


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0]


def _end(code: int, message: str) -> int:
    sys.stderr.write(" ".join(message.split()) + "\n")
    return code


def start_logging(quiet: bool = False, debug: bool = False) -> None:
    """Sends the library's messages to standard output through absl, and sets TensorFlow's verbosity.

    Args:
      quiet: errors only.
      debug: everything, including TensorFlow's own messages.
    """
    from absl import flags
    from absl import logging as absl_logging

    from cactus_tf.utils.progress import beside_bars
    from cactus_tf.utils.watchdog import LastLine

    absl_logging.set_verbosity(absl_logging.DEBUG if debug else absl_logging.WARNING)
    flags.FLAGS.mark_as_parsed()  # absl's own flags keep their defaults; until then its handler writes to stderr alone
    handler = absl_logging.PythonHandler(sys.stdout, logging.Formatter("%(message)s"))
    logger = logging.getLogger("cactus_tf")
    watching = [one for one in logger.handlers if isinstance(one, LastLine)]
    logger.handlers, logger.propagate = [beside_bars(handler), *watching], False
    logger.setLevel(logging.ERROR if quiet else logging.DEBUG if debug else logging.INFO)


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


_NO_RULES = Rules()


def read_flags(
    argv: Sequence[str], defaults: Mapping[str, str | bool | None], rules: Rules = _NO_RULES
) -> tuple[dict[str, Any], list[str]]:
    """The value of every flag of a command by name, and the arguments that are not flags.

    Args:
      argv: the command's arguments.
      defaults: of every flag; True or False makes a switch, anything else a text.
      rules: that the values must follow, but for `needed`.

    Raises:
      InputError: an unknown flag, or a value that it cannot have.
    """
    from absl import flags

    values = flags.FlagValues()
    for name, default in defaults.items():
        define: Any = flags.DEFINE_bool if isinstance(default, bool) else flags.DEFINE_string
        define(name, default, "see HELP", flag_values=values)
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


def read_settings(
    argv: Sequence[str], defaults: Mapping[str, str | bool | None], remedy: str, rules: Rules
) -> dict[str, Any]:
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


def parse_flags(values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """Reads flags into their values; returns the other arguments.

    Raises:
      InputError: an unknown flag, or a value that it cannot have.
    """
    from absl import flags

    try:
        return values(["main", *with_flagfiles(argv)])[1:]
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(values), n=1)
        hint = f"did you mean --{near[0]}?" if near else "see --help"
        raise InputError(f"--{error.flagname}: unknown flag; {hint}") from error
    except flags.IllegalFlagValueError as error:
        raise InputError(_in_words(str(error), values)) from error
    except flags.Error as error:
        raise InputError(" ".join(str(error).replace("ERROR:: ", "").split())) from error


def _in_words(message: str, values: flags.FlagValues) -> str:
    """absl's 'flag --steps=abc: invalid literal ...' as the rule that was broken."""
    flag, _, value = message.removeprefix("flag --").partition(":")[0].partition("=")
    kinds = {"int": "a whole number", "float": "a number", "bool": "true or false"}
    kind = kinds.get(values[flag].flag_type(), "another value") if flag in values else "another value"
    return f"--{flag}={value}: it must be {kind}"
