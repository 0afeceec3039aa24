"""Embed, cluster, meta-learn, evaluate: `python -m cactus_tf.main --help`."""

import os
import sys


def main(argv: list[str] | None = None) -> int:
    """Runs the pipeline for a command line; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if "--debug" not in argv:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow reads it when it is first imported
    if "--quiet" in argv:
        os.environ["TQDM_DISABLE"] = "1"  # so does tqdm
    from cactus_tf import cli, pipeline

    return cli.run(pipeline.run, argv)


if __name__ == "__main__":
    sys.exit(main())
