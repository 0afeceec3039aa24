"""A run that is killed at any moment, as often as you like, ends as if it had not been.

CACTUS_KILLS is the number of kills; docs/robustness.md reports campaigns of more, which `kills.py` and
`worker_kills.py` make.
"""

import os
import signal

import pytest
from faults import kills, worker_kills

pytestmark = pytest.mark.slow


def test_a_killed_run_ends_as_if_it_had_not_been(server, tmp_path):
    number = int(os.environ.get("CACTUS_KILLS", "12"))
    happened, lives = kills.campaign(server, tmp_path, number, 0, print)
    assert [kill for kill in happened if kill["code"] != -signal.SIGKILL] == []
    assert len(happened) == number
    assert lives == [[] for _ in lives]


def test_two_workers_of_which_one_is_killed_end_as_if_it_had_not_been(server, tmp_path):
    happened, lives = worker_kills.campaign(server, tmp_path, 2, 0, print)
    assert worker_kills.unexpected(happened) == []
    assert (len(happened), lives) == (2, [[]])
