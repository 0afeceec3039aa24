"""Embed, cluster, meta-learn, evaluate: `python -m cactus_tf.main --help`."""

import sys

from cactus_tf.config.commands import silence


def main(argv: list[str] | None = None) -> int:
    """Runs the pipeline for a command line; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    with silence(argv):
        from cactus_tf import pipeline
        from cactus_tf.config import flags
    return flags.run(pipeline.run, argv)


if __name__ == "__main__":
    sys.exit(main())
