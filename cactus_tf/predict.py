"""Classify pictures of your own: `python -m cactus_tf.predict --run=RUN --support=DIR --query=DIR`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cactus_tf.config.commands import guarded, read_settings, silence, start_logging

DEFAULTS = {
    **dict.fromkeys(("run", "support", "query", "algo", "out")),
    **dict.fromkeys(("evaluate", "transductive", "invert", "quiet", "debug"), False),
}
HELP = """python -m cactus_tf.predict --run=RUN --support=DIR --query=DIR [--flag=value ...]

Learns classes from a few pictures of each, with what a run learned without labels, and sorts other pictures.
  --run: folder of a run, as python -m cactus_tf.main printed it
  --support: folder or zip archive with a sub-folder per class, and one picture or more in each
  --query: folder or zip archive with the pictures to sort, in sub-folders or not
  --algo: learner of the run; may stay unsaid where only one of them is meta-trained
  --out: folder for prediction.csv and prediction.png (default predictions/RUN/QUERY-ALGO)
  --evaluate: the query folder has a sub-folder per class, too: accuracy, and confusion.csv
  --transductive: of maml and its relatives: queries share their statistics, as when a run is judged; else each picture
    gets the answer that it would get alone
  --invert: swap light and dark, for dark ink on paper where the run learned light ink on black
  --quiet: print errors only
  --debug: show tracebacks"""


def main(argv: list[str] | None = None) -> int:
    """Sorts pictures; returns the exit code."""
    return guarded(sort, sys.argv[1:] if argv is None else argv, lambda topic: HELP)


def sort(argv: Sequence[str]) -> None:
    """Sorts the pictures, writes the files and prints the summary.

    Raises:
      InputError: a flag that is missing or wrong, or what `prediction.predict` cannot use.
    """
    needed = ("run", "support", "query")
    said = read_settings(argv, DEFAULTS, needed, "it takes a run, labelled pictures and those to sort")
    with silence(argv):
        from cactus_tf.inference import prediction
    start_logging(said["quiet"], said["debug"])
    names = ("run", "support", "query", "algo", "evaluate", "transductive", "invert")
    found = prediction.predict(**{name: said[name] for name in names})
    paths = prediction.write(found, Path(said["out"] or _usual_place(said["run"], said["query"], found.algo)))
    if not said["quiet"]:
        sys.stdout.write("\n".join(["", prediction.summary(found), "", *(f"written  {path}" for path in paths), ""]))


def _usual_place(run: str, query: str, algo: str) -> Path:
    return Path("predictions") / Path(run).resolve().name / f"{Path(query).resolve().name.removesuffix('.zip')}-{algo}"


if __name__ == "__main__":
    sys.exit(main())
