"""How every command begins and ends: with TensorFlow loaded quietly, and with one line and an exit code."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from cactus_tf import plugins
from cactus_tf.errors import InputError, RunError
from cactus_tf.utils import memory
from cactus_tf.utils.terminal import ReaderLeft, any_character, drop_output, for_lines, without_stderr
from cactus_tf.utils.text import first_line, printable

_SIGPIPE = 141  # the exit code of a program whose reader has left
_DISK = "No space left on device|Read-only file system|Disk quota exceeded|Permission denied|File too large"
"""What the system says, also through libraries that raise errors of their own."""
_process_is_ours = False  # whether the process runs nothing but a command


class Terminated(KeyboardInterrupt):
    """SIGTERM, which stops a command as Ctrl-C does."""


@contextlib.contextmanager
def loading(argv: Sequence[str]) -> Iterator[None]:
    """For the imports of TensorFlow, in its block: one line for what fails, no other messages, and Ctrl-C works.

    TensorFlow's start-up messages come from C++, below Python's sys.stderr. They are shown if the command's arguments
    include --debug.

    Raises:
      RunError: TensorFlow or Keras cannot be imported, or the process may not use enough memory.
      KeyboardInterrupt: it came; libraries that are being imported turn it into other errors, or drop it.
    """
    memory.check_limit()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "0" if _asks_for_debug(argv) else "3")
    with _stops() as stops:
        try:
            with contextlib.nullcontext() if _asks_for_debug(argv) else without_stderr():
                yield
        except Exception as error:
            if not stops:
                raise RunError(
                    f"TensorFlow or Keras cannot be loaded ({type(error).__name__}: {first_line(error)}): check "
                    "their installation, KERAS_BACKEND and ~/.keras/keras.json"
                ) from error
        if stops:
            raise stops[0]


def add_plugins(folder: str | None, argv: Sequence[str]) -> None:
    """Adds the members of the folder that --plugins names, if there is one.

    Raises:
      InputError: see `plugins.add`.
    """
    if folder:
        with loading(argv):  # plug-ins import it, and its messages are not theirs
            importlib.import_module("tensorflow")
        plugins.add(folder)


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

    If the reader of its output leaves, as `head` does, it stops like after Ctrl-C, without a word, and returns 141.

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
        except ReaderLeft:
            return _SIGPIPE
        except KeyboardInterrupt:
            return _end(130, stopped)
        except Exception as error:
            if isinstance(error, BrokenPipeError) and _nobody_reads():
                return _SIGPIPE
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


def _nobody_reads() -> bool:
    """Whether the reader of standard output has left with some of it unread; the rest of it is dropped."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        drop_output()
        return True
    return False


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
    first = re.sub(r"\{\{.*?\}\} ?", "", first_line(error))  # TensorFlow's names of nodes
    if isinstance(error, MemoryError) or re.search(r"OOM when|failed to allocate memory|bad_alloc", first):
        return 1, f"not enough memory ({first}): {memory.REMEDY}"
    disk = re.search(rf"({_DISK})", first)
    if disk:
        return 1, f"{first.replace(disk[1], '').strip(' ;')}: {disk[1]}; free or change {places}"
    ours = re.search(r"\b(?:RunError|InputError): (.+)", first)  # raised inside a tf.data pipeline
    if ours:
        return 1, ours[1]
    return 1, f"{type(error).__name__}: {first} (--debug prints the traceback)"


def _end(code: int, message: str) -> int:
    sys.stderr.write(printable(" ".join(message.split())) + "\n")
    return code


def start_logging(quiet: bool = False, debug: bool = False) -> None:
    """Sends the library's messages to standard output through absl, and sets TensorFlow's verbosity.

    Args:
      quiet: errors only.
      debug: everything, including TensorFlow's own messages.
    """
    from absl import flags
    from absl import logging as absl_logging

    from cactus_tf.utils.watchdog import LastLine

    absl_logging.set_verbosity(absl_logging.DEBUG if debug else absl_logging.WARNING)
    flags.FLAGS.mark_as_parsed()  # absl's own flags keep their defaults; until then its handler writes to stderr alone
    handler = absl_logging.PythonHandler(sys.stdout, logging.Formatter("%(message)s"))
    logger = logging.getLogger("cactus_tf")
    watching = [one for one in logger.handlers if isinstance(one, LastLine)]
    logger.handlers, logger.propagate = [for_lines(handler), *watching], False
    logger.setLevel(logging.ERROR if quiet else logging.DEBUG if debug else logging.INFO)
