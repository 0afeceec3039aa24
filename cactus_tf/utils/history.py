"""Learning curves as CSV: a column `step`, and one per scalar."""

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from cactus_tf.utils.files import write_csv

Row = Mapping[str, float]


def write(path: Path, rows: Sequence[Row]) -> None:
    """Writes a learning curve."""
    write_csv(path, rows, list(rows[-1]) if rows else ["step"])


def read(path: Path | None, until: float = math.inf) -> list[dict[str, float]]:
    """The rows up to a step; none where there is no file that can be read."""
    if path is None:
        return []
    try:
        with open(path, newline="") as file:
            found = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [{**row, "step": int(row["step"])} for row in found if row["step"] <= until]
    except (OSError, ValueError, TypeError, KeyError):  # it is only a picture: never stop a training for it
        return []
