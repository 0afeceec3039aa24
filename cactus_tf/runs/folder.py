"""The folder of a run: which configuration it belongs to."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cactus_tf.errors import InputError
from cactus_tf.utils.files import read_json, write_json

_CONFIG = "config.json"


def claim(folder: Path, identity: Mapping, config: Mapping) -> None:
    """Makes the workdir this configuration's own, and writes config.json.

    Args:
      folder: the workdir.
      identity: the settings that may not change; kept in config.json under "identity".
      config: all of config.json.

    Raises:
      InputError: the workdir holds work of another configuration; says what differs.
    """
    path = folder / _CONFIG
    if path.exists() and _holds_work(folder):
        differing = _differences(read_json(path).get("identity", {}), json.loads(json.dumps(identity)))
        if differing:
            raise InputError(
                f"--workdir: {folder} belongs to another configuration ({'; '.join(differing)}); "
                "choose another --workdir or repeat its settings"
            )
    write_json(path, {**config, "identity": identity})


def _holds_work(folder: Path) -> bool:
    """Whether anything was trained or judged there; a run that ended before may be put right and started again."""
    return (folder / "results.json").exists() or any(folder.glob("*/checkpoints/*.index"))


def _differences(there: Mapping, here: Mapping, prefix: str = "") -> list[str]:
    """'name: there A, now B' for every leaf that differs."""
    found = []
    for name in sorted({*there, *here}):
        a, b = there.get(name), here.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _differences(a, b, f"{prefix}{name}.")
        elif a != b:
            found.append(f"{prefix}{name}: there {_shown(a)}, now {_shown(b)}")
    return found


def _shown(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value)
