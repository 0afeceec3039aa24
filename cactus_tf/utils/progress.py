"""Progress bars: on a terminal, unless only errors are wanted."""

import logging
from typing import Any

from tqdm import tqdm

_LOG = logging.getLogger("cactus_tf")


def bar(*args: Any, **kwargs: Any) -> tqdm:
    """A tqdm bar that goes away when it is done; hidden off a terminal and where the log shows no warnings."""
    hidden = None if _LOG.isEnabledFor(logging.WARNING) else True  # None: tqdm asks the terminal
    return tqdm(*args, **{"leave": False, "disable": hidden, **kwargs})
