"""The paper's tables from finished runs: `python -m cactus_tf.table RUN ... [--format=markdown|csv|latex]`."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from cactus_tf.config.command_flags import Rules, read_flags
from cactus_tf.config.commands import guarded, loading, run_process
from cactus_tf.errors import InputError
from cactus_tf.utils.paths import expanded

STYLES = ("markdown", "csv", "latex")
"""The keys of `report.comparison.STYLES`, which loads TensorFlow."""
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
    values, runs = read_flags(argv, {"format": "markdown", "debug": False}, Rules(choices={"format": STYLES}))
    if not runs:
        raise InputError("name the folders of one or more runs: python -m cactus_tf.table runs/*")
    with loading(argv):
        from cactus_tf.report import comparison
    rows = [row for run in runs for row in comparison.read_rows(expanded(run))]
    sys.stdout.write(comparison.STYLES[values["format"]](comparison.compare(rows)))


def command() -> NoReturn:
    """The command `cactus-tf-table`."""
    run_process(main)


if __name__ == "__main__":
    command()
