"""Progress bars, shown on a terminal unless the log shows errors only."""

import logging
from typing import Any

from tqdm import tqdm

_LOG = logging.getLogger("cactus_tf")


def bar(*args: Any, **kwargs: Any) -> tqdm:
    """A tqdm bar that disappears when done; hidden outside a terminal or if the log shows no warnings."""
    hidden = None if _LOG.isEnabledFor(logging.WARNING) else True  # None: tqdm checks for a terminal
    return tqdm(*args, **{"leave": False, "disable": hidden, **kwargs})
