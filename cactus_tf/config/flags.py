"""Dataclasses <-> absl flags: a command line becomes settings, and settings a plan."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from absl import flags

from cactus_tf import plugins
from cactus_tf.config import commands, schema
from cactus_tf.config.command_flags import parse_flags, refuse_words
from cactus_tf.config.declared import DECLARED, IMPORTED, Members
from cactus_tf.config.presets import RECIPES, preset
from cactus_tf.config.resolve import resolve
from cactus_tf.errors import InputError
from cactus_tf.utils.paths import expanded

SECTIONS = tuple(type(section) for section in schema.GivenSettings())


def parse(argv: Sequence[str], members: Members = IMPORTED) -> schema.Settings:
    """The resolved settings of a command line (without the program's name).

    Args:
      argv: the command's arguments.
      members: where to get what members declare.

    Raises:
      InputError: a flag or value that cannot be used.
    """
    folder = use_plugins(argv)
    options = all_options(members)
    values = _flag_values(options)
    refuse_words(parse_flags(values, argv))
    recipe = _recipe(values)
    if recipe:
        values = _flag_values(options)
        parse_flags(values, [*recipe, *argv])
    given = schema.GivenSettings(*(_collect(section, values) for section in SECTIONS))
    given = given._replace(run=dataclasses.replace(given.run, plugins=folder))
    _check_choices(given)
    chosen, defaults = _chosen_members(given), preset(given.data.dataset).options
    return resolve(given, _member_options(values, chosen, options, defaults), members.info)


def given(argv: Sequence[str]) -> dict[str, Any]:
    """The flags of a command line that were given, by name; names of members are not checked.

    Raises:
      InputError: a flag or value that cannot be used.
    """
    use_plugins(argv)
    values = _flag_values(all_options(DECLARED))
    parse_flags(values, argv)
    return {name: values[name].value for name in values if values[name].value is not None}


def _recipe(values: flags.FlagValues) -> list[str]:
    """The flags of the recipe that was given; they stand before all others, which take precedence.

    Raises:
      InputError: an unknown recipe.
    """
    name = values["recipe"].value or schema.RunSettings().recipe
    if name not in RECIPES:
        raise InputError(f"--recipe={name}: unknown recipe; {plugins.suggestion(name, RECIPES)}")
    dataset = values["dataset"].value or schema.DataSettings().dataset
    chosen = dict(RECIPES[name].get(dataset, RECIPES[name].get("", {})))
    if values["rounds"].value is not None and "round_steps" in chosen:  # fewer rounds have fewer earlier ones
        steps = chosen.pop("round_steps").split(",")[: max(0, values["rounds"].value - 1)]
        chosen |= {"round_steps": ",".join(steps)} if steps else {}
    return [f"--{flag}={value}" for flag, value in chosen.items()]


def use_plugins(argv: Sequence[str]) -> str | None:
    """Adds the members of the folder that --plugins names on a command line; returns its absolute path.

    Raises:
      InputError: a folder that cannot be used, no folder, or a flagfile that cannot be read.
    """
    values = flags.FlagValues()
    flags.DEFINE_string("plugins", None, "see RunSettings", flag_values=values)
    parse_flags(values, argv, known_only=True)
    folder = values["plugins"].value
    if not folder:
        return None
    commands.add_plugins(folder, argv)
    return str(expanded(folder, "--plugins").resolve())


def all_options(members: Members = IMPORTED) -> list[tuple[str, str, type]]:
    """(family, member, Options) of every member that has settings of its own."""
    pairs = [(family, name) for family in plugins.FAMILIES for name in plugins.names(family)]
    types = [(family, name, members.options_type(family, name)) for family, name in pairs]
    return [(family, name, kind) for family, name, kind in types if kind is not None]


def _flag_values(options: Sequence[tuple[str, str, type]]) -> flags.FlagValues:
    values = flags.FlagValues()
    for section in SECTIONS:
        _define(values, "", section)
    for _, name, kind in options:
        _define(values, f"{name}_", kind)
    return values


def _define(values: flags.FlagValues, prefix: str, settings: type) -> None:
    """A flag for each field; not given by default, as defaults are the dataclass's business."""
    kinds = {bool: flags.DEFINE_bool, int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
    hints = typing.get_type_hints(settings)
    for field in dataclasses.fields(settings):
        hint = hints[field.name]
        define: Any = flags.DEFINE_list if _is_tuple(hint) else kinds[_plain(hint)]
        try:
            define(f"{prefix}{field.name}", None, field.metadata["meaning"], flag_values=values)
        except flags.DuplicateFlagError as error:
            raise InputError(
                f"--{prefix}{field.name} is the flag of two settings: rename that of the plug-in"
            ) from error


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
    given = {field: values[field.name].value for field in dataclasses.fields(section)}
    return section(**{f.name: _value(f.name, v, hints[f.name], f) for f, v in given.items() if v is not None})


def _value(flag: str, value: Any, hint: Any, field: dataclasses.Field) -> Any:
    if field.metadata["path"] and value:
        return str(expanded(value, f"--{flag}"))
    if not _is_tuple(hint):
        return value
    if not value:
        raise InputError(f"--{flag} is empty: give a comma-separated list")
    try:
        entries = [_element(hint)(v) for v in value]
    except ValueError as error:
        raise InputError(f"--{flag}={','.join(value)}: every entry must be a whole number") from error
    return tuple(entries if field.metadata["repeats"] else dict.fromkeys(entries))  # other duplicates count once


def _check_choices(given: schema.GivenSettings) -> None:
    choices = [
        ("dataset", given.data.dataset, plugins.names("datasets")),
        ("embedder", given.embedding.embedder, plugins.names("embedders")),
        ("embedding_norm", given.embedding.embedding_norm, list(schema.EMBEDDING_NORMS)),
        ("partitioner", given.partition.partitioner, plugins.names("partitioners")),
        ("first_partitioner", given.partition.first_partitioner, plugins.names("partitioners")),
        ("augmentation", given.training.augmentation, plugins.names("augmentations")),
        ("backbone", given.training.backbone, plugins.names("backbones")),
        ("norm", given.training.norm, list(schema.NORMS)),
        ("precision", given.training.precision, list(schema.PRECISIONS)),
        ("select", given.training.select, list(schema.SELECTIONS)),
        ("outer_schedule", given.training.outer_schedule, list(schema.SCHEDULES)),
        *(("algo", name, plugins.names("learners")) for name in given.run.algo),
        ("stage", given.run.stage, ["all", *schema.STAGES]),
        ("distribute", given.run.distribute, list(schema.DISTRIBUTIONS)),
        ("eval_split", given.evaluation.eval_split, list(schema.EVAL_SPLITS)),
    ]
    for flag, value, allowed in choices:
        if value is not None and value not in allowed:
            raise InputError(f"--{flag}={value}: unknown {flag}; {plugins.suggestion(value, allowed)}")


def _chosen_members(given: schema.GivenSettings) -> list[tuple[str, str]]:
    """(family, member) of all that this run uses."""
    defaults = preset(given.data.dataset)
    return [
        ("datasets", given.data.dataset),
        ("embedders", given.embedding.embedder or defaults.embedder),
        ("partitioners", given.partition.partitioner or defaults.partitioner),
        *(("partitioners", name) for name in (given.partition.first_partitioner,) if name),
        ("augmentations", given.training.augmentation),
        *(("learners", name) for name in given.run.algo),
    ]


def _member_options(
    values: flags.FlagValues,
    chosen: list[tuple[str, str]],
    every: Sequence[tuple[str, str, type]],
    defaults: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Options of the chosen members, by name; a flag of a member that is not chosen is an error."""
    result = {}
    for family, name, options in every:
        hints = typing.get_type_hints(options)
        names = [field.name for field in dataclasses.fields(options)]
        given = {n: values[f"{name}_{n}"].value for n in names if values[f"{name}_{n}"].value is not None}
        if (family, name) in chosen:
            fields = {field.name: field for field in dataclasses.fields(options)}
            own = {n: _value(f"{name}_{n}", v, hints[n], fields[n]) for n, v in given.items()}
            result[name] = options(**{**defaults.get(name, {}), **own})
        elif given:
            raise InputError(f"--{name}_{next(iter(given))} is a setting of {name}, which this run does not use")
    return result
