"""Embed, cluster, meta-learn, evaluate: `python -m cactus_tf.main --help`."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence


def main(argv: list[str] | None = None) -> int:
    """Runs the pipeline for a command line; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    with silence(argv):
        from cactus_tf import cli, pipeline
    return cli.run(pipeline.run, argv)


@contextlib.contextmanager
def silence(argv: Sequence[str] = ()) -> Iterator[None]:
    """Keeps TensorFlow's start-up messages off the terminal, unless a command's arguments have --debug.

    They come from C++, below Python's sys.stderr.
    """
    if any(argument.startswith("--debug") for argument in argv):
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


if __name__ == "__main__":
    sys.exit(main())
