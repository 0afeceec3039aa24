"""Dataclasses <-> absl flags: a command line becomes settings, and settings a plan."""

from __future__ import annotations

import dataclasses
import signal
import typing
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from cactus_tf import backbones, plugins
from cactus_tf.config import build_plan, schema
from cactus_tf.config.commands import guarded, parse_flags, refuse_words, start_logging
from cactus_tf.config.help import help_text
from cactus_tf.config.plan import RunPlan
from cactus_tf.config.presets import preset
from cactus_tf.config.resolve import resolve
from cactus_tf.errors import InputError

SECTIONS = tuple(type(section) for section in schema.GivenSettings())


def run(command: Callable[[RunPlan], Any], argv: Sequence[str]) -> int:
    """Runs a command on the plan of a command line; returns its exit code, see `guarded`."""
    parsed: list[schema.Settings] = []

    def act(arguments: Sequence[str]) -> None:
        settings = parse(arguments)
        parsed.append(settings)
        start_logging(settings.run.quiet, settings.run.debug)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        command(build_plan.make(settings))

    return guarded(
        act,
        argv,
        help_text,
        debug=lambda: any(settings.run.debug for settings in parsed),
        stopped="stopped; everything finished so far is saved: rerun the command to resume",
        places="--workdir or --artifacts_dir",
    )


def parse(argv: Sequence[str]) -> schema.Settings:
    """The resolved settings of a command line (without the program's name).

    Raises:
      InputError: a flag or value that cannot be used.
    """
    values = _flag_values()
    refuse_words(parse_flags(values, argv))
    given = schema.GivenSettings(*(_collect(section, values) for section in SECTIONS))
    _check_choices(given)
    return resolve(given, _member_options(values, _chosen_members(given)))


def all_options() -> list[tuple[str, str, type]]:
    """(family, member, Options) of every member that has settings of its own."""
    members = [(family, name) for family in plugins.FAMILIES for name in plugins.names(family)]
    types = [(family, name, plugins.options_type(family, name)) for family, name in members]
    return [(family, name, kind) for family, name, kind in types if kind is not None]


def _flag_values() -> flags.FlagValues:
    values = flags.FlagValues()
    for section in SECTIONS:
        _define(values, "", section)
    for _, name, options in all_options():
        _define(values, f"{name}_", options)
    return values


def _define(values: flags.FlagValues, prefix: str, settings: type) -> None:
    """A flag for each field; not given by default, as defaults are the dataclass's business."""
    kinds = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
    hints = typing.get_type_hints(settings)
    for field in dataclasses.fields(settings):
        hint = hints[field.name]
        define: Any = flags.DEFINE_list if _is_tuple(hint) else kinds[_plain(hint)]
        define(f"{prefix}{field.name}", None, field.metadata["meaning"], flag_values=values)


def _plain(hint: Any) -> type:
    """int from `int | None`."""
    return next((a for a in typing.get_args(hint) if a is not type(None)), hint)


def _is_tuple(hint: Any) -> bool:
    return any(typing.get_origin(h) is tuple for h in (hint, *typing.get_args(hint)))


def _element(hint: Any) -> type:
    """int from `tuple[int, ...] | None`."""
    hint = next(h for h in (hint, *typing.get_args(hint)) if typing.get_origin(h) is tuple)
    return typing.get_args(hint)[0]


def _collect(section: type, values: flags.FlagValues) -> Any:
    """The section with the values that were given."""
    hints = typing.get_type_hints(section)
    given = {f.name: values[f.name].value for f in dataclasses.fields(section)}
    return section(**{n: _value(n, v, hints[n]) for n, v in given.items() if v is not None})


def _value(flag: str, value: Any, hint: Any) -> Any:
    if not _is_tuple(hint):
        return value
    if not value:
        raise InputError(f"--{flag} is empty: give a comma-separated list")
    try:
        return tuple(dict.fromkeys(_element(hint)(v) for v in value))  # duplicates count once
    except ValueError as error:
        raise InputError(f"--{flag}={','.join(value)}: every entry must be a whole number") from error


def _check_choices(given: schema.GivenSettings) -> None:
    choices = [
        ("dataset", given.data.dataset, plugins.names("datasets")),
        ("embedder", given.embedding.embedder, plugins.names("embedders")),
        ("embedding_norm", given.embedding.embedding_norm, list(schema.EMBEDDING_NORMS)),
        ("partitioner", given.partition.partitioner, plugins.names("partitioners")),
        ("backbone", given.training.backbone, plugins.names("backbones")),
        ("norm", given.training.norm, list(backbones.NORMS)),
        *(("algo", name, plugins.names("learners")) for name in given.run.algo),
        ("stage", given.run.stage, ["all", *schema.STAGES]),
        ("eval_split", given.evaluation.eval_split, list(schema.EVAL_SPLITS)),
    ]
    for flag, value, allowed in choices:
        if value is not None and value not in allowed:
            raise InputError(f"--{flag}={value}: unknown {flag}; choose from {', '.join(allowed)}")


def _chosen_members(given: schema.GivenSettings) -> list[tuple[str, str]]:
    """(family, member) of all that this run uses."""
    defaults = preset(given.data.dataset)
    return [
        ("datasets", given.data.dataset),
        ("embedders", given.embedding.embedder or defaults.embedder),
        ("partitioners", given.partition.partitioner or defaults.partitioner),
        *(("learners", name) for name in given.run.algo),
    ]


def _member_options(values: flags.FlagValues, chosen: list[tuple[str, str]]) -> dict[str, Any]:
    """Options of the chosen members, by name; a flag of a member that is not chosen is an error."""
    result = {}
    for family, name, options in all_options():
        hints = typing.get_type_hints(options)
        names = [field.name for field in dataclasses.fields(options)]
        given = {n: values[f"{name}_{n}"].value for n in names if values[f"{name}_{n}"].value is not None}
        if (family, name) in chosen:
            result[name] = options(**{n: _value(f"{name}_{n}", v, hints[n]) for n, v in given.items()})
        elif given:
            raise InputError(f"--{name}_{next(iter(given))} is a setting of {name}, which this run does not use")
    return result
