"""The text of --help: the flags that people use first, all flags, or those of one member."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from cactus_tf import plugins
from cactus_tf.config import schema
from cactus_tf.config.commands import loading
from cactus_tf.config.declared import DECLARED, docstring
from cactus_tf.config.presets import PHOTOGRAPHS, PRESETS, Preset
from cactus_tf.errors import InputError

FIRST = (
    "dataset", "data_dir", "eval_dir", "image_size", "embedder", "embedder_steps", "partitioner", "clusters",
    "partitions", "algo", "way", "shot", "query", "steps", "backbone", "on_embeddings", "eval_ways", "eval_shots",
    "eval_episodes", "eval_split", "stage", "workdir", "artifacts_dir", "seed", "quiet",
)  # fmt: skip
"""The flags that --help shows; --helpfull shows all."""

_WIDTH, _INDENT = 110, 20
_USAGE = "Usage: python -m cactus_tf.main [--FLAG=VALUE ...] [--flagfile=FILE ...]   (a later flag wins)"
_WHAT = "Embeds images without labels, clusters them, meta-learns on the clusters, and evaluates on labeled tasks."
_PHOTOGRAPHS = textwrap.fill(
    "A folder of photographs (--dataset=folder) has its own defaults, if the pretrained weights are on this machine or "
    f"can be downloaded: {' '.join(f'--{name}={value}' for name, value in PHOTOGRAPHS.items())}. They do not apply if "
    "you choose an embedder, partitioner, backbone, recipe, augmentation or another meta-learner. With fewer than 200 "
    "pictures, --way is smaller. For weights that are on this machine, see --help=pretrained.",
    _WIDTH,
    break_on_hyphens=False,
)
_MORE = "  --help=MEMBER  settings of one member, such as --help=acai or --help=maml\n  --helpfull     every flag\n"
_CHOICES = {
    "dataset": "datasets", "embedder": "embedders", "partitioner": "partitioners", "backbone": "backbones",
    "augmentation": "augmentations", "algo": "learners",
}  # fmt: skip


def help_text(topic: str = "") -> str:
    """What `--help` (topic ""), `--helpfull` ("full") or `--help=NAME` print.

    Raises:
      InputError: no member of that name.
    """
    if topic not in ("", "full"):
        return _member_help(topic)
    shown = None if topic == "full" else FIRST
    parts = [_USAGE, _WHAT, _PHOTOGRAPHS, *(_section_help(section, shown) for section in schema.GivenSettings())]
    if shown:
        return "\n\n".join([*parts, "More\n" + _MORE.rstrip()])
    members = [(family, name) for family in plugins.FAMILIES for name in plugins.names(family)]
    return "\n\n".join([*parts, *(_options_help(f, n) for f, n in members if DECLARED.options_type(f, n))])


def _section_help(section: Any, shown: tuple[str, ...] | None) -> str:
    fields = [field for field in dataclasses.fields(section) if shown is None or field.name in shown]
    lines = [_line(f"--{field.name}", field, _default(field), _choices(field.name)) for field in fields]
    return "\n".join([str(section.__doc__), *lines])


def _member_help(name: str) -> str:
    families = [family for family in plugins.FAMILIES if name in plugins.names(family)]
    if not families:
        every = [name for family in plugins.FAMILIES for name in plugins.names(family)]
        raise InputError(f"--help={name}: unknown member; {plugins.suggestion(name, every)}")
    return "\n\n".join([*(_options_help(family, name) for family in families), *_more(families, name)])


def _more(families: Sequence[str], name: str) -> list[str]:
    """What an embedder adds to its settings, which takes importing it."""
    if "embedders" not in families or DECLARED.info("embedders", name).more is None:
        return []
    with loading(()):
        info = plugins.info("embedders", name)
    return [info.more()]


def _options_help(family: str, name: str) -> str:
    first = docstring(family, name).split("\n")[0]
    kind = DECLARED.options_type(family, name)
    fields = dataclasses.fields(kind) if kind else ()
    lines = [_line(f"--{name}_{field.name}", field, plain(field.default)) for field in fields]
    return "\n".join([f"{name} ({family}): {first}", *(lines or ["  no settings of its own"])])


def _line(flag: str, field: dataclasses.Field, default: str, choices: str = "") -> str:
    about = field.metadata
    details = "; ".join(filter(None, [about["symbol"], about["unit"], bounds(field)]))
    text = f"{about['meaning']}{choices}" + (f" ({details})" if details else "")
    source = about["source"]
    origin = f"default: {default}" + f" ({source})" * bool(source) if default else f"source: {source}" * bool(source)
    lines = [text, *([origin] if origin else [])]
    wrapped = [part for line in lines for part in textwrap.wrap(line, _WIDTH - _INDENT, break_on_hyphens=False)]
    head = f"  {flag}".ljust(_INDENT)
    first = [head + wrapped[0]] if len(flag) + 4 <= _INDENT else [head.rstrip(), " " * _INDENT + wrapped[0]]
    return "\n".join([*first, *(" " * _INDENT + part for part in wrapped[1:])])


def bounds(field: dataclasses.Field) -> str:
    """The range of a setting as text."""
    low, high = field.metadata["low"], field.metadata["high"]
    return f"{low} to {high}" if high is not None else f"at least {low}" if low is not None else ""


def _choices(field: str) -> str:
    return f": {', '.join(plugins.names(_CHOICES[field]))}" if field in _CHOICES else ""


def _default(field: dataclasses.Field) -> str:
    """The default as text; where data sets or members differ, each value with their names."""
    if field.default is not None:
        return plain(field.default)
    if field.name == "embedder_steps":
        return _grouped(_embedder_steps())
    if field.name in {f.name for f in dataclasses.fields(Preset)} - {"query"}:
        return _grouped(_preset_values(field.name))
    if field.name in {f.name for f in dataclasses.fields(schema.TrainingSettings)}:
        infos = {name: DECLARED.info("learners", name).training for name in plugins.names("learners")}
        by_learner = {name: getattr(own, field.name) for name, own in infos.items() if own}
        by_dataset = {f"every learner on {name}": vars(preset).get(field.name) for name, preset in PRESETS.items()}
        by_dataset = {name: value for name, value in by_dataset.items() if value is not None}
        rule = ". Defaults of a data set come first" if by_dataset else ""
        return _grouped({**by_learner, **by_dataset}) + rule
    return ""


def _embedder_steps() -> dict[str, int | None]:
    """Default steps by "EMBEDDER" or "EMBEDDER on DATASET"."""
    steps = {name: DECLARED.info("embedders", name).steps for name in plugins.names("embedders")}
    single = {name: value for name, value in steps.items() if not isinstance(value, Mapping)}
    several = {name: value for name, value in steps.items() if isinstance(value, Mapping)}
    return {**single, **{f"{name} on {data}": n for name, by in several.items() for data, n in by.items()}}


def _preset_values(name: str) -> dict[str, Any]:
    """Values by "DATASET", and by "DATASET with LEARNERS" where some learners differ."""
    values = {dataset: getattr(preset, name) or "chosen from the data" for dataset, preset in PRESETS.items()}
    for dataset, preset in PRESETS.items():
        own = {learner: vars(training).get(name) for learner, training in preset.learners.items()}
        learners = "/".join(learner for learner, value in own.items() if value is not None)
        if learners:
            values[f"{dataset} with {learners}"] = next(value for value in own.values() if value is not None)
    return values


def _grouped(values: Mapping[str, Any]) -> str:
    """ "500 (celeba, omniglot); 25 (digits)", or the value alone if there is only one."""
    groups: dict[str, list[str]] = {}
    for name, value in values.items():
        if value is not None:
            groups.setdefault(plain(value), []).append(name)
    if len(groups) == 1 and len(next(iter(groups.values()))) == len(values):
        return next(iter(groups))
    return "; ".join(f"{value} ({', '.join(names)})" for value, names in groups.items())


def plain(value: Any) -> str:
    """A value as it is typed after its flag; "" for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
