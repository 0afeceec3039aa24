"""Dataclasses <-> absl flags: a command line becomes a configuration."""

import dataclasses
import signal
import typing
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from cactus_tf import plugins
from cactus_tf.backbones import NORMS
from cactus_tf.config import plan
from cactus_tf.config import schema as settings
from cactus_tf.config.commands import guarded, parse_flags, refuse_words, start_logging
from cactus_tf.errors import InputError

SECTIONS = tuple(type(section) for section in settings.Said())
_MEMBER_FAMILIES = ("datasets", "embedders", "partitioners", "learners")


def parse(argv: Sequence[str]) -> settings.Config:
    """The resolved configuration of a command line (without the program's name).

    Raises:
      InputError: a flag or value that cannot be used.
    """
    values = _flag_values()
    refuse_words(parse_flags(values, argv))
    said = settings.Said(*(_collect(section, values) for section in SECTIONS))
    _check_choices(said)
    options = _member_options(values, _chosen_members(said))
    learners = {name: plugins.load("learners", name) for name in said.run.algo}
    usual = {n: _usual_training(said, module.DEFAULTS) for n, module in learners.items() if hasattr(module, "DEFAULTS")}
    fixed_heads = [name for name, module in learners.items() if getattr(module, "FIXED_HEAD", False)]
    embedder = plugins.load("embedders", _embedder(said))
    trained = hasattr(embedder, "STEPS")
    steps = plan.usual_steps(embedder.STEPS, said.data.dataset) if trained else None
    networks = {name: module.NETWORK for name, module in learners.items() if hasattr(module, "NETWORK")}
    return plan.resolve(said, options, usual, steps, fixed_heads, networks, trained)


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

    return guarded(
        act,
        argv,
        help_text,
        debug=lambda: any(config.run.debug for config in configs),
        stopped="stopped; what was done is kept: run the same command again to go on",
        places="--workdir or --artifacts_dir",
    )


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
        ("norm", said.training.norm, list(NORMS)),
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


def _usual(said: settings.Said) -> plan.Usual:
    return plan.DEFAULTS.get(said.data.dataset, plan.Usual())


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
