"""Export a run's learner to use without this package: `python -m cactus_tf.export --run=RUN --out=FOLDER`."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from cactus_tf.config.command_flags import Rules, read_settings
from cactus_tf.config.commands import add_plugins, guarded, loading, run_process, start_logging

DEFAULTS = {
    **dict.fromkeys(("run", "out", "algo", "plugins")),
    "format": "savedmodel",
    **dict.fromkeys(("overwrite", "quiet", "debug"), False),
}
FORMATS = ("savedmodel", "tflite", "onnx")
"""The keys of `inference.formats.FORMATS`, which needs TensorFlow."""
_RULES = Rules(needed=("run", "out"), paths=("run", "out", "plugins"), existing=("run",), choices={"format": FORMATS})
HELP = """python -m cactus_tf.export --run=RUN --out=FOLDER [--flag=value ...]

Writes a learner or embedder of a run as a model that works without cactus_tf, and checks it against the run.
  --run: folder of a run, as printed by python -m cactus_tf.main
  --out: folder to write
  --format: savedmodel (default; classifies and embeds), tflite (embeds) or onnx (embeds; needs "cactus-tf[onnx]")
  --algo: learner of the run; needed only if several are meta-trained
  --plugins: folder with the plug-ins of the run, if it has any; their code runs
  --overwrite: replace an earlier export in --out
  --quiet: print errors only
  --debug: show tracebacks"""


def main(argv: list[str] | None = None) -> int:
    """Exports a run; returns the exit code."""
    return guarded(export, sys.argv[1:] if argv is None else argv, lambda topic: HELP)


def export(argv: Sequence[str]) -> None:
    """Writes the export and prints a summary."""
    settings = read_settings(argv, DEFAULTS, "name the run and the folder to write", _RULES)
    with loading(argv):
        from cactus_tf.inference import exporting
    start_logging(settings["quiet"], settings["debug"])
    add_plugins(settings["plugins"], argv)
    written = exporting.export(**{name: settings[name] for name in ("run", "out", "algo", "format", "overwrite")})
    if not settings["quiet"]:
        sys.stdout.write(exporting.summary(written) + "\n")


def command() -> NoReturn:
    """The command `cactus-tf-export`."""
    run_process(main)


if __name__ == "__main__":
    command()
