"""A run's learner for use without this package: `python -m cactus_tf.export --run=RUN --format=FORMAT --out=FOLDER`."""

import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from cactus_tf.main import silence

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
    argv = sys.argv[1:] if argv is None else argv
    with silence(argv):
        from cactus_tf import cli
    return cli.guarded(export, argv, lambda: HELP)


def export(argv: Sequence[str]) -> None:
    """Writes the export and prints what it holds.

    Raises:
      InputError: a flag that is missing or wrong, or what `exporting.export` cannot use.
      RunError: the export does not answer as the run does.
    """
    from cactus_tf import cli
    from cactus_tf.errors import InputError

    values = flags.FlagValues()
    for name in ("run", "out", "algo"):
        flags.DEFINE_string(name, None, "see HELP", flag_values=values)
    flags.DEFINE_string("format", "savedmodel", "see HELP", flag_values=values)
    for name in ("overwrite", "quiet", "debug"):
        flags.DEFINE_bool(name, False, "see HELP", flag_values=values)
    rest = cli.parse_flags(values, argv)
    if rest:
        raise InputError(f"{rest[0]!r} is no flag: every setting is written --NAME=VALUE; see --help")
    missing = [f"--{name}" for name in ("run", "out") if not values[name].value]
    if missing:
        raise InputError(f"{', '.join(missing)} missing: name the run and the folder to write; see --help")
    with silence(argv):
        from cactus_tf import exporting

        said: dict[str, Any] = {name: values[name].value for name in ("run", "out", "algo", "format", "overwrite")}
        written = exporting.export(**said)
    if not values["quiet"].value:
        sys.stdout.write(exporting.summary(written) + "\n")


if __name__ == "__main__":
    sys.exit(main())
