"""A server of commands, and an unbroken run on the pixels of the digits."""

import pytest
from faults import kills
from faults.commands import PIXELS, Server


@pytest.fixture(scope="session")
def server():
    """Starts commands with faults."""
    started = Server()
    yield started
    started.close()


@pytest.fixture(scope="session")
def unbroken(server, tmp_path_factory):
    """The place of a run that nothing happened to."""
    place = tmp_path_factory.mktemp("unbroken")
    code, _, error = server.run(place, PIXELS)
    assert code == 0, error
    return place


@pytest.fixture(scope="session")
def expected(unbroken):
    """What it left."""
    return kills.state(unbroken)
