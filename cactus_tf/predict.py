"""Classify your own pictures: `python -m cactus_tf.predict --run=RUN --support=DIR --query=DIR`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from cactus_tf.config.command_flags import Rules, read_settings
from cactus_tf.config.commands import add_plugins, guarded, loading, run_process, start_logging

DEFAULTS = {
    **dict.fromkeys(("run", "support", "query", "algo", "out", "plugins")),
    "head": "auto",
    "reject": float,
    **dict.fromkeys(("evaluate", "transductive", "invert", "quiet", "debug"), False),
}
_GIVEN = ("run", "support", "query")
_HEADS = ("auto", "learner", "prototype", "logistic")
_RULES = Rules(needed=_GIVEN, paths=(*_GIVEN, "out", "plugins"), existing=_GIVEN, choices={"head": _HEADS})
HELP = """python -m cactus_tf.predict --run=RUN --support=DIR --query=DIR [--flag=value ...]

Learns classes from a few labeled pictures with a learner of a run, and classifies other pictures.
  --run: folder of a run, as printed by python -m cactus_tf.main
  --support: folder or zip archive with a subfolder of pictures per class
  --query: folder or zip archive of the pictures to classify, or one picture
  --algo: learner of the run; needed only if several are meta-trained
  --head: what turns features into classes: learner (the learner itself), prototype (nearest class mean), logistic
    (logistic regression), or auto (logistic for a run with a pretrained network and at least five pictures of each
    class, else learner; the default)
  --reject: share of true members that may be called "none of these" (0.05, say) so that pictures of other classes
    are, too; a column of predictions.csv and a row of predictions.png (default: every picture gets a class)
  --plugins: folder with the plug-ins of the run, if it has any; their code runs
  --out: folder for predictions.csv and predictions.png (default: predictions/RUN/QUERY-ALGO, and with a suffix
    for other support pictures or settings)
  --evaluate: take the subfolders of --query as true classes; print the accuracy and write confusion.csv; with --reject,
    pictures of classes that --support lacks are right when refused
  --transductive: let all queries share batch statistics, as MAML and its relatives do in evaluation
  --invert: swap light and dark, for dark ink on paper if the run learned light ink on black
  --quiet: print errors only
  --debug: show tracebacks"""


def main(argv: list[str] | None = None) -> int:
    """Classifies pictures; returns the exit code."""
    return guarded(classify, sys.argv[1:] if argv is None else argv, lambda topic: HELP)


def classify(argv: Sequence[str]) -> None:
    """Classifies the pictures, writes the files and prints the summary."""
    settings = read_settings(argv, DEFAULTS, "name a run, the labeled pictures and those to classify", _RULES)
    with loading(argv):
        from cactus_tf.inference import prediction, prediction_output
    start_logging(settings["quiet"], settings["debug"])
    add_plugins(settings["plugins"], argv)
    names = ("run", "support", "query", "algo", "evaluate", "transductive", "invert", "head", "reject")
    predictions = prediction.predict(**{name: settings[name] for name in names})
    places = (settings[name] for name in ("run", "support", "query"))
    out = Path(settings["out"]) if settings["out"] else prediction_output.default_folder(predictions, *places)
    paths = prediction_output.write(predictions, out)
    if not settings["quiet"]:
        written = [f"written  {path}" for path in paths]
        sys.stdout.write("\n".join(["", prediction_output.summary(predictions), "", *written, ""]))


def command() -> NoReturn:
    """The command `cactus-tf-predict`."""
    run_process(main)


if __name__ == "__main__":
    command()
