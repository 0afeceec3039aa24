"""The folder of a run belongs to one configuration."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cactus_tf.errors import InputError
from cactus_tf.utils import sealed

CONFIG = "config.json"
_SHOWN = 4  # differences that a message names
_REMEDY = "delete the file and rerun the run's command, which writes it again"


def claim(
    folder: Path,
    identity: Mapping[str, Any],
    config: Mapping[str, Any],
    changed: Callable[[], str] = lambda: "the files of the data set changed",
) -> None:
    """Claims a run folder for a configuration, and writes config.json.

    Args:
      folder: of the run.
      identity: the settings that may not change; stored in config.json under "identity".
      config: everything else in config.json.
      changed: what to say where the files of the data set, "files", are others.

    Raises:
      InputError: the folder holds results of another configuration; says what differs.
    """
    path = folder / CONFIG
    if path.exists() and _has_results(folder):
        saved = sealed.read_unchecked(path, _REMEDY)
        before, now = _mapping(saved.get("identity")), json.loads(json.dumps(identity))
        differences = _differences({**before, "files": None}, {**now, "files": None})
        remedy = "choose another --workdir" + (" or repeat its settings" if differences else "")
        if before.get("files") != now.get("files"):
            differences.append(changed())
        if differences and not sealed.is_whole(saved):
            raise InputError(f"{path} is damaged or was changed, as its {sealed.DIGEST} shows: {_REMEDY}")
        if differences:
            if len(differences) > _SHOWN:
                differences[_SHOWN:] = [f"and {len(differences) - _SHOWN} more"]
            raise InputError(
                f"--workdir: {folder} belongs to another configuration ({'; '.join(differences)}); {remedy}"
            )
    sealed.write(path, {**config, "identity": identity})


def _mapping(value: Any) -> Mapping[str, Any]:
    """The value, or no settings where it is of another type."""
    return value if isinstance(value, Mapping) else {}


def _has_results(folder: Path) -> bool:
    """Whether anything was trained or evaluated there; a run that ended before may be corrected and started again."""
    trained = ("*/checkpoints/*.index", "rounds/*/*/checkpoints/*.index")
    return (folder / "results.json").exists() or any(any(folder.glob(pattern)) for pattern in trained)


def _differences(saved: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> list[str]:
    """'name: A there, now B' for every leaf that differs."""
    differences = []
    for name in sorted({*saved, *now}):
        a, b = saved.get(name), now.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            differences += _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            differences.append(f"{prefix}{name}: {_shown(a)} there, now {_shown(b)}")
    return differences


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)
