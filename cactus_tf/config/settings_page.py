"""The page docs/settings.md: every default with its symbol and source.

After a change of a default or source: python -m cactus_tf.config.settings_page > docs/settings.md
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Mapping, Sequence

from cactus_tf import plugins
from cactus_tf.config import schema
from cactus_tf.config.help import bounds, plain
from cactus_tf.config.presets import PRESETS, RECIPES, UNPUBLISHED, Preset

_TOP = """# Settings and their sources

This page lists the defaults of partitions, meta-training, evaluation and each member's own settings, with their symbols
in the papers and the sources of the numbers. It is generated: `python -m cactus_tf.config.settings_page` prints it.

A source is a paper, a table or section of it, or its authors' published code ("code") or shell scripts ("scripts").
"Ours" marks a default chosen for this project. A cell is empty where a setting has no symbol, range or default.
`--help=NAME` says what the settings of a member do. [embedders.md](embedders.md) has the training lengths of embedders,
[algorithm.md](algorithm.md) the differences from the authors' code."""

_BY_DATASET = """## Defaults by data set

N and K are those of evaluation in `--eval_ways` and `--eval_shots`, and those of meta-training in `--way` and `--shot`.
Where `--query` is empty, the learner decides."""

_BY_LEARNER = """## Defaults by learner

Only learners with one of the backbones are listed."""

_BY_RECIPE = """## Defaults of --recipe=rounds

These values are ours; [beyond.md](beyond.md) explains them. Flags that you give take precedence."""

_FAMILIES = ("datasets", "embedders", "partitioners", "augmentations", "learners")
_SECTIONS = (schema.EmbeddingSettings, schema.PartitionSettings, schema.TrainingSettings, schema.EvaluationSettings)
_SETTINGS = {field.name: field for section in _SECTIONS for field in dataclasses.fields(section)}


def settings_page() -> str:
    """The page, in Markdown."""
    shared = [f for f in _SETTINGS.values() if f.default is not None]
    parts = [
        _TOP,
        _BY_DATASET, _dataset_table(),
        _BY_LEARNER, _learner_table(), _widths(),
        _BY_RECIPE, _recipe_table("rounds"),
        "## Defaults that are the same everywhere", _option_table("", shared),
    ]  # fmt: skip
    for family in _FAMILIES:
        parts += [f"## Settings of single {family.replace('datasets', 'data sets')}", *_member_tables(family)]
    return "\n\n".join(parts) + "\n"


def _dataset_table() -> str:
    presets = {**PRESETS, "others": UNPUBLISHED}
    fields = [f.name for f in dataclasses.fields(Preset) if f.name in _SETTINGS]
    rows = [_settings_row(name, [_preset_value(preset, name) for preset in presets.values()]) for name in fields]
    return _table(["setting", "symbol", *presets], [*rows, ["source", "", *(p.source for p in presets.values())]])


def _preset_value(preset: Preset, name: str) -> str:
    """A data set's default; defaults of single learners or embedders follow their names."""
    value = getattr(preset, name)
    if isinstance(value, Mapping):
        return ", ".join(f"{member}: {plain(own)}" for member, own in value.items())
    others: dict[str, list[str]] = {}
    for learner, own in preset.learners.items():
        own_value = dataclasses.asdict(own).get(name)
        if own_value not in (None, value):
            others.setdefault(plain(own_value), []).append(learner)
    text = "from the data" if value is None and name != "query" else plain(value)
    return "; ".join([text, *(f"{', '.join(learners)}: {v}" for v, learners in others.items())])


def _learner_table() -> str:
    infos = {name: plugins.info("learners", name) for name in plugins.names("learners")}
    networks = {name: info.training or info.network for name, info in infos.items() if info.training or info.network}
    fields = [f.name for f in dataclasses.fields(schema.TrainingSettings) if f.default is None]
    fields = [name for name in fields if any(getattr(own, name) is not None for own in networks.values())]
    rows = [_settings_row(name, [plain(getattr(own, name)) for own in networks.values()]) for name in fields]
    return _table(["setting", "symbol", *networks], [*rows, ["source", "", *(infos[name].source for name in networks)]])


def _recipe_table(recipe: str) -> str:
    values = {dataset or "others": own for dataset, own in RECIPES[recipe].items()}
    names = dict.fromkeys(name for own in values.values() for name in own)
    return _table(["setting", *values], [[f"`--{n}`", *(own.get(n, "") for own in values.values())] for n in names])


def _widths() -> str:
    infos = {name: plugins.info("backbones", name) for name in plugins.names("backbones")}
    own = [f"`{name}` has {info.filters}" for name, info in infos.items() if info.filters]
    return f"With every learner, {', '.join(own)} filters by default."


def _settings_row(name: str, values: Sequence[str]) -> list[str]:
    return [f"`--{name}`", _SETTINGS[name].metadata["symbol"], *values]


def _member_tables(family: str) -> Iterable[str]:
    for name in plugins.names(family):
        kind = plugins.options_type(family, name)
        if kind:
            yield f"### {name}"
            yield _option_table(f"{name}_", dataclasses.fields(kind))


def _option_table(prefix: str, fields: Iterable[dataclasses.Field]) -> str:
    rows = [
        [f"`--{prefix}{f.name}`", f.metadata["symbol"], _default(f), bounds(f), f.metadata["source"]] for f in fields
    ]
    return _table(["setting", "symbol", "default", "range", "source"], rows)


def _default(field: dataclasses.Field) -> str:
    """The default as text; where it depends on other things, the end of the meaning states it."""
    return plain(field.default) or field.metadata["meaning"].partition("default: ")[2]


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


if __name__ == "__main__":
    sys.stdout.write(settings_page())
