"""The memory that a process may use."""

from __future__ import annotations

import logging
import sys

from cactus_tf.errors import RunError
from cactus_tf.utils.threads import cores

log = logging.getLogger(__name__)

REMEDY = (
    "raise the limit or close other programs, or lower sizes such as --tasks_per_step, --way, --query and --filters"
)
_ANY, _PER_CORE = 2.7e9, 0.5e9
"""Bytes of addresses that TensorFlow and the other libraries take in the smallest run, and more for each core:
measured, 2.71 GB on one core and 3.13 GB on two."""


def check_limit() -> None:
    """Checks the limit of a process's memory (`ulimit -v`), as TensorFlow ends without a word where it is too low.

    Raises:
      RunError: it is lower than what TensorFlow takes to start.
    """
    allowed, needed = _limit(), _needed()
    if allowed is not None and allowed < needed:
        raise RunError(
            f"this process may use {allowed / 1e9:.1f} GB of memory (ulimit -v), and TensorFlow takes "
            f"{needed / 1e9:.1f} GB on {cores()} cores before any data: raise the limit, or use fewer cores (taskset)"
        )


def warn_of_limit() -> None:
    """Warns where little is left for data and training, as TensorFlow may end without a word when it is used up."""
    allowed, needed = _limit(), _needed()
    if allowed is not None and allowed < 2 * needed:
        log.warning(
            "this process may use %.1f GB of memory (ulimit -v), of which TensorFlow takes %.1f GB; if the command "
            "ends without a message, the rest was too little: %s",
            allowed / 1e9,
            needed / 1e9,
            REMEDY,
        )


def _needed() -> float:
    return _ANY + _PER_CORE * cores()


def _limit() -> int | None:
    """Bytes of addresses that this process may use; None without a limit."""
    if sys.platform == "win32":
        return None
    import resource

    soft = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if soft == resource.RLIM_INFINITY else soft
