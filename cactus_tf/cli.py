"""Dataclasses <-> absl flags, and the way every command ends: one line and an exit code."""

import dataclasses
import difflib
import logging
import re
import signal
import sys
import traceback
import typing
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags
from absl import logging as absl_logging

from cactus_tf import config as settings
from cactus_tf import norms, plugins
from cactus_tf.errors import InputError, RunError

SECTIONS = tuple(type(section) for section in settings.Said())
_MEMBER_FAMILIES = ("datasets", "embedders", "partitioners", "learners")
_HELP = ("-h", "--help", "-help", "--helpfull", "--helpshort")


def parse(argv: Sequence[str]) -> settings.Config:
    """The resolved configuration of a command line (without the program's name).

    Raises:
      InputError: a flag or value that cannot be used.
    """
    values = _flag_values()
    rest = parse_flags(values, argv)
    if rest:
        raise InputError(f"{rest[0]!r} is no flag: every setting is written --NAME=VALUE; see --help")
    said = settings.Said(*(_collect(section, values) for section in SECTIONS))
    _check_choices(said)
    options = _member_options(values, _chosen_members(said))
    learners = {name: plugins.load("learners", name) for name in said.run.algo}
    usual = {n: _usual_training(said, module.USUAL) for n, module in learners.items() if hasattr(module, "USUAL")}
    fixed_heads = [name for name, module in learners.items() if getattr(module, "FIXED_HEAD", False)]
    embedder = plugins.load("embedders", _embedder(said))
    trained = hasattr(embedder, "STEPS")
    steps = settings.usual_steps(embedder.STEPS, said.data.dataset) if trained else None
    networks = {name: module.NETWORK for name, module in learners.items() if hasattr(module, "NETWORK")}
    return settings.resolve(said, options, usual, steps, fixed_heads, networks, trained)


def help_text() -> str:
    """All our flags with meaning, unit, default and the papers' symbol."""
    lines = ["python -m cactus_tf.main [--flag=value ...] [--flagfile=FILE ...]; a later flag wins.", ""]
    for section in SECTIONS:
        lines += [f"{section.__doc__}", *(_help_line("--", field) for field in dataclasses.fields(section)), ""]
    for family, name, options in _all_options():
        lines += [f"{family}: {name}", *(_help_line(f"--{name}_", f) for f in dataclasses.fields(options)), ""]
    families = {family: ", ".join(plugins.names(family)) for family in plugins.FAMILIES}
    return "\n".join(lines + [f"{family}: {names}" for family, names in families.items()])


def run(command: Callable[[settings.Config], Any], argv: Sequence[str]) -> int:
    """Runs a command on its configuration; returns its exit code, see `guarded`."""
    configs: list[settings.Config] = []

    def act(arguments: Sequence[str]) -> None:
        configs.append(parse(arguments))
        start_logging(configs[0].run.quiet, configs[0].run.debug)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        command(configs[0])

    return guarded(act, argv, help_text, debug=lambda: any(config.run.debug for config in configs))


def guarded(
    act: Callable[[Sequence[str]], Any],
    argv: Sequence[str],
    help_text: Callable[[], str],
    debug: Callable[[], bool] = lambda: False,
) -> int:
    """Runs act(argv), or prints the help; returns 0, 2 for bad input, 1 for failures while running, 130 for Ctrl-C.

    Args:
      act: the command.
      argv: its arguments.
      help_text: what --help prints.
      debug: whether tracebacks are wanted though no argument says so.
    """
    if any(argument in _HELP for argument in argv):
        sys.stdout.write(help_text() + "\n")
        return 0
    try:
        act(argv)
        return 0
    except KeyboardInterrupt:
        return _end(130, "stopped; what was done is kept: run the same command again to go on")
    except Exception as error:
        if debug() or any(a.startswith("--debug") for a in argv):
            traceback.print_exc()
        return _end(*_explain(error))


def _explain(error: BaseException) -> tuple[int, str]:
    """Exit code and one line for an error."""
    if isinstance(error, InputError):
        return 2, str(error)
    if isinstance(error, RunError):
        return 1, str(error)
    if isinstance(error, OSError) and error.strerror:
        return 1, f"{error.filename or 'a file'}: {error.strerror}; free or change --workdir or --artifacts_dir"
    first = (str(error).splitlines() or [""])[0]
    ours = re.search(r"\b(?:RunError|InputError): (.+)", first)  # raised inside a tf.data pipeline
    if ours:
        return 1, ours[1]
    return 1, f"{type(error).__name__}: {first} (--debug shows where)"


def _end(code: int, message: str) -> int:
    sys.stderr.write(" ".join(message.split()) + "\n")
    return code


def start_logging(quiet: bool = False, debug: bool = False) -> None:
    """Sends the library's messages to standard output, and sets absl's verbosity, through which TensorFlow speaks.

    Args:
      quiet: only errors.
      debug: everything, what TensorFlow says of its inside too.
    """
    absl_logging.set_verbosity(absl_logging.DEBUG if debug else absl_logging.WARNING)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("cactus_tf")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.ERROR if quiet else logging.DEBUG if debug else logging.INFO)


def _flag_values() -> flags.FlagValues:
    values = flags.FlagValues()
    for section in SECTIONS:
        for field in dataclasses.fields(section):
            _define(values, field.name, field, typing.get_type_hints(section)[field.name])
    for _, name, options in _all_options():
        for field in dataclasses.fields(options):
            _define(values, f"{name}_{field.name}", field, typing.get_type_hints(options)[field.name])
    return values


def _define(values: flags.FlagValues, name: str, field: dataclasses.Field, hint: Any) -> None:
    """One flag, unsaid by default; its default stays the dataclass's business."""
    kinds = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
    define = flags.DEFINE_list if _is_tuple(hint) else kinds[_plain(hint)]
    define(name, None, field.metadata["meaning"], flag_values=values)  # type: ignore[operator]


def _plain(hint: Any) -> type:
    """int from `int | None`."""
    return next((a for a in typing.get_args(hint) if a is not type(None)), hint)


def _is_tuple(hint: Any) -> bool:
    return any(typing.get_origin(h) is tuple for h in (hint, *typing.get_args(hint)))


def _element(hint: Any) -> type:
    """int from `tuple[int, ...] | None`."""
    hint = next(h for h in (hint, *typing.get_args(hint)) if typing.get_origin(h) is tuple)
    return typing.get_args(hint)[0]


def parse_flags(values: flags.FlagValues, argv: Sequence[str]) -> list[str]:
    """Reads flags into their values and returns what is no flag.

    Raises:
      InputError: an unknown flag, or a value that it cannot have.
    """
    try:
        return values(["main", *argv])[1:]
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(values), n=1)
        hint = f"did you mean --{near[0]}?" if near else "see --help"
        raise InputError(f"--{error.flagname} is not a flag; {hint}") from error
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


def _collect(section: type, values: flags.FlagValues) -> Any:
    """The section's dataclass with what was said, and its own defaults for the rest."""
    hints = typing.get_type_hints(section)
    said = {f.name: values[f.name].value for f in dataclasses.fields(section)}
    return section(**{n: _value(n, v, hints[n]) for n, v in said.items() if v is not None})


def _value(flag: str, value: Any, hint: Any) -> Any:
    if not _is_tuple(hint):
        return value
    if not value:
        raise InputError(f"--{flag} is empty: give a comma-separated list")
    try:
        return tuple(dict.fromkeys(_element(hint)(v) for v in value))  # said twice counts once
    except ValueError as error:
        raise InputError(f"--{flag}={','.join(value)}: every entry must be a whole number") from error


def _all_options() -> list[tuple[str, str, type]]:
    """(family, member, Options) of every member that has settings of its own."""
    members = [(family, name) for family in _MEMBER_FAMILIES for name in plugins.names(family)]
    found = [(family, name, getattr(plugins.load(family, name), "Options", None)) for family, name in members]
    return [(family, name, options) for family, name, options in found if options is not None]


def _check_choices(said: settings.Said) -> None:
    chosen = [
        ("dataset", said.data.dataset, plugins.names("datasets")),
        ("embedder", said.embedding.embedder, plugins.names("embedders")),
        ("partitioner", said.partition.partitioner, plugins.names("partitioners")),
        ("backbone", said.training.backbone, plugins.names("backbones")),
        ("norm", said.training.norm, list(norms.NORMS)),
        *(("algo", name, plugins.names("learners")) for name in said.run.algo),
        ("stage", said.run.stage, ["all", *settings.STAGES]),
        ("eval_split", said.evaluation.eval_split, list(settings.EVAL_SPLITS)),
    ]
    for flag, value, allowed in chosen:
        if value is not None and value not in allowed:
            raise InputError(f"--{flag}={value}: there is no such {flag}; choose from {', '.join(allowed)}")


def _chosen_members(said: settings.Said) -> list[tuple[str, str]]:
    """(family, member) of all that this run uses, as far as it has settings of its own."""
    return [
        ("datasets", said.data.dataset),
        ("embedders", _embedder(said)),
        ("partitioners", said.partition.partitioner or _usual(said).partitioner),
        *(("learners", name) for name in said.run.algo),
    ]


def _usual(said: settings.Said) -> settings.Usual:
    return settings.USUAL.get(said.data.dataset, settings.Usual())


def _embedder(said: settings.Said) -> str:
    return said.embedding.embedder or _usual(said).embedder


def _usual_training(said: settings.Said, own: settings.TrainingSettings) -> settings.TrainingSettings:
    """The learner's usual values, with what another network than its usual one changes in them."""
    network = said.training.backbone or ("mlp" if said.training.on_embeddings else own.backbone)
    filters = getattr(plugins.load("backbones", network), "FILTERS", own.filters)
    return dataclasses.replace(own, backbone=network, filters=filters)


def _member_options(values: flags.FlagValues, chosen: list[tuple[str, str]]) -> dict[str, Any]:
    """Options of the chosen members, by name; a flag of a member that is not chosen is an error."""
    result = {}
    for family, name, options in _all_options():
        hints = typing.get_type_hints(options)
        names = [field.name for field in dataclasses.fields(options)]
        said = {n: values[f"{name}_{n}"].value for n in names if values[f"{name}_{n}"].value is not None}
        if (family, name) in chosen:
            result[name] = options(**{n: _value(f"{name}_{n}", v, hints[n]) for n, v in said.items()})
        elif said:
            raise InputError(f"--{name}_{next(iter(said))} is for {name}, which this run does not use: drop it")
    return result


def _help_line(prefix: str, field: dataclasses.Field) -> str:
    about = field.metadata
    bounds = [
        f"from {about['low']}" if about["low"] is not None else "",
        f"to {about['high']}" if about["high"] is not None else "",
    ]
    default = "the usual of the data set or learner" if field.default is None else _plain_text(field.default)
    if field.default is None and (prefix != "--" or "unsaid" in about["meaning"]):
        default = ""  # its meaning says what happens then
    notes = [
        about["symbol"],
        about["unit"],
        " ".join(filter(None, bounds)),
        default and f"default {default}",
        about["source"],
    ]
    said = "; ".join(filter(None, notes))
    return f"  {prefix}{field.name}: {about['meaning']}" + (f" ({said})" if said else "")


def _plain_text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
