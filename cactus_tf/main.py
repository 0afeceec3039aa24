"""Embed, cluster, meta-learn, evaluate: `python -m cactus_tf.main --help`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from cactus_tf.config.commands import guarded, loading, run_process, start_logging

if TYPE_CHECKING:
    from cactus_tf.config.plan import RunPlan
    from cactus_tf.config.schema import Settings

log = logging.getLogger("cactus_tf.main")  # by its name: as a command, this module is __main__


def main(argv: list[str] | None = None) -> int:
    """Runs the pipeline for a command line; returns the exit code."""
    return run(_pipeline, sys.argv[1:] if argv is None else argv)


def run(command: Callable[[RunPlan], Any], argv: Sequence[str]) -> int:
    """Runs a command on the plan of a command line; returns its exit code, see `guarded`."""
    checked: list[Settings] = []

    def act(words: Sequence[str]) -> None:
        with loading(words):
            from cactus_tf.config import by_content
        words, choice = by_content.completed(words)
        checked.extend(_check(words))
        with loading(words):
            from cactus_tf.config import build_plan, flags
        settings = flags.parse(words)
        start_logging(settings.run.quiet, settings.run.debug)
        if choice:
            log.info("%s", choice)
        command(build_plan.make(settings))

    return guarded(
        act,
        argv,
        lambda topic: _help(topic, argv),
        debug=lambda: any(settings.run.debug for settings in checked),
        stopped="stopped; everything finished so far is saved: rerun the command to resume",
        places="--workdir or --artifacts_dir",
        terminated=130,
    )


def _check(argv: Sequence[str]) -> list[Settings]:
    """The settings, read without the members, so that a wrong flag is an error before TensorFlow loads.

    An empty list if a default depends on a function of a member; the members themselves check these settings later.
    """
    with loading(argv):
        from cactus_tf.config import flags
        from cactus_tf.config.declared import DECLARED
    try:
        return [flags.parse(argv, DECLARED)]
    except NotImplementedError:
        return []


def _help(topic: str, argv: Sequence[str]) -> str:
    with loading(()):
        from cactus_tf.config import flags
        from cactus_tf.config.help import help_text
    flags.use_plugins(argv)
    return help_text(topic)


def _pipeline(plan: RunPlan) -> None:
    with loading(["--debug"] if plan.run.debug else []):
        from cactus_tf import pipeline
    pipeline.run(plan)


def command() -> NoReturn:
    """The command `cactus-tf`."""
    run_process(main)


if __name__ == "__main__":
    command()
