"""A run that is killed at any moment, as often as you like, ends as if it had not been.

CACTUS_KILLS is the number of kills; docs/robustness.md reports a campaign of more, which `kills.py` makes.
"""

import os
import signal

import pytest
from faults import kills

pytestmark = pytest.mark.slow


def test_a_killed_run_ends_as_if_it_had_not_been(server, tmp_path):
    number = int(os.environ.get("CACTUS_KILLS", "12"))
    happened, lives = kills.campaign(server, tmp_path, number, 0, print)
    assert [kill for kill in happened if kill["code"] != -signal.SIGKILL] == []
    assert len(happened) == number
    assert lives == [[] for _ in lives]
