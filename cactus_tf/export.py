"""A run's learner for use without this package: `python -m cactus_tf.export --run=RUN --format=FORMAT --out=FOLDER`."""

import sys
from collections.abc import Sequence

from cactus_tf.config.commands import guarded, read_settings, silence, start_logging

DEFAULTS = {
    **dict.fromkeys(("run", "out", "algo")),
    "format": "savedmodel",
    **dict.fromkeys(("overwrite", "quiet", "debug"), False),
}
HELP = """python -m cactus_tf.export --run=RUN --out=FOLDER [--flag=value ...]

Writes what a run learned as a model that is used without cactus_tf, loads it back and compares it on images of the run.
  --run: folder of a run, as python -m cactus_tf.main printed it
  --out: folder to write, with export.json, which describes it
  --format: savedmodel (default; TensorFlow: classifies from labelled examples, and embeds), tflite (embeds), onnx
    (embeds; needs pip install "cactus-tf[onnx]")
  --algo: learner of the run; may stay unsaid where only one of them is meta-trained
  --overwrite: replace an earlier export in that folder
  --quiet: print errors only
  --debug: show tracebacks"""


def main(argv: list[str] | None = None) -> int:
    """Exports a run; returns the exit code."""
    return guarded(export, sys.argv[1:] if argv is None else argv, lambda topic: HELP)


def export(argv: Sequence[str]) -> None:
    """Writes the export and prints what it holds.

    Raises:
      InputError: a flag that is missing or wrong, or what `exporting.export` cannot use.
      RunError: the export does not answer as the run does.
    """
    said = read_settings(argv, DEFAULTS, ("run", "out"), "name the run and the folder to write")
    with silence(argv):
        from cactus_tf.inference import exporting
    start_logging(said["quiet"], said["debug"])
    written = exporting.export(**{name: said[name] for name in ("run", "out", "algo", "format", "overwrite")})
    if not said["quiet"]:
        sys.stdout.write(exporting.summary(written) + "\n")


if __name__ == "__main__":
    sys.exit(main())
