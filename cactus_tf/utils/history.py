"""Learning curves as CSV: a column `step`, and one per scalar."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from cactus_tf.utils.files import write_csv

NAME = "history.csv"


class Curve:
    """A learning curve, thinned to a few hundred points; a resumed training continues the one in the file.

    Args:
      path: of the CSV file; None writes nothing.
      start: steps that are done already; later rows of the file are dropped.
      steps: length of the training.
      points: number of points to record.
    """

    def __init__(self, path: Path | None, start: int, steps: int, points: int = 500):
        self._path, self._every = path, max(1, steps // points)
        self.rows: list[dict[str, float]] = read(path, start)

    def add(self, step: int, scalars: Mapping[str, float], always: bool = False) -> None:
        """Records every n-th step, and those that are always recorded."""
        if always or step % self._every == 0:
            self.rows.append({"step": step, **scalars})

    def write(self) -> None:
        """Writes the file."""
        if self._path and self.rows:
            write(self._path, self.rows)


def write(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Writes a learning curve."""
    write_csv(path, rows, list(rows[-1]) if rows else ["step"])


def read(path: Path | None, until: float = math.inf) -> list[dict[str, float]]:
    """The rows up to a step; none if there is no readable file."""
    if path is None:
        return []
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
        return [{**row, "step": int(row["step"])} for row in rows if row["step"] <= until]
    except (OSError, ValueError, OverflowError, TypeError, KeyError, csv.Error):
        return []  # only a picture: never stop a training for it
