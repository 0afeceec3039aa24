"""A clock that is set back, and commands that run at the same time."""

import os
import time

import pytest
from faults import kills
from faults.commands import PIXELS

pytestmark = pytest.mark.slow
YEAR = 365 * 86400


def test_a_clock_that_is_set_back_changes_nothing(server, tmp_path, expected):
    place = tmp_path / "place"
    place.mkdir()
    for stage in ("embed", "train"):
        code, *_ = server.run(place, PIXELS, clock={"seconds": YEAR}, kill={"stage": stage, "operation": 10_000})
        assert code == -9
        for path in place.rglob("*"):  # as written before the clock was set back
            os.utime(path, (time.time() + YEAR,) * 2)
    code, _, error = server.run(place, PIXELS, clock={"seconds": -YEAR})
    assert code == 0, error
    assert kills.state(place) == expected


def test_commands_at_the_same_time_share_artifacts_and_wait_for_a_run(server, tmp_path, expected):
    places = [tmp_path / name for name in ("one", "two", "three")]
    for place in places:
        place.mkdir()
    shared, same = places[0] / "artifacts", places[0] / "run"
    commands = [
        server.start(places[0], PIXELS),
        server.start(places[1], [*PIXELS, f"--artifacts_dir={shared}"]),
        server.start(places[2], [*PIXELS, f"--artifacts_dir={shared}", f"--workdir={same}"]),
    ]
    ended = [command.wait() for command in commands]
    assert [(code, error) for code, _, error in ended] == [(0, "")] * 3
    assert any(f"waiting: another process is using {folder}" in out for _, out, _ in ended for folder in (same, "run"))
    assert kills.state(places[0]) == expected
    rows = [kills.state(place)["results.json"] for place in places[:2]]
    assert rows[0] == rows[1]
