"""The paper's tables from finished runs: `python -m cactus_tf.table RUN ... [--format=markdown|csv|latex]`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cactus_tf.config.commands import guarded, read_flags, silence
from cactus_tf.errors import InputError

HELP = """python -m cactus_tf.table RUN ... [--format=markdown|csv|latex]

Prints the results of finished runs of one data set in the layout of the paper's tables: ours, the paper's figure, and
the difference. Runs that differ only in the seed are averaged; the 95% interval is that of the mean (Student's t).

  RUN         folder of a run
  --format    markdown, csv (a line per row and task) or latex; default: markdown
  --debug     show tracebacks"""


def main(argv: list[str] | None = None) -> int:
    """Prints the table; returns the exit code."""
    return guarded(show, sys.argv[1:] if argv is None else argv, lambda topic: HELP)


def show(argv: Sequence[str]) -> None:
    """Prints the table.

    Raises:
      InputError: no runs, an unknown format, or runs that do not go into one table.
    """
    values, runs = read_flags(argv, {"format": "markdown", "debug": False})
    if not runs:
        raise InputError("name the folders of one or more runs: python -m cactus_tf.table runs/*")
    with silence(argv):
        from cactus_tf.report import comparison
    style = values["format"]
    if style not in comparison.STYLES:
        raise InputError(f"--format={style}: choose from {', '.join(comparison.STYLES)}")
    rows = [row for run in runs for row in comparison.read_rows(Path(run))]
    sys.stdout.write(comparison.STYLES[style](comparison.compare(rows)))


if __name__ == "__main__":
    sys.exit(main())
