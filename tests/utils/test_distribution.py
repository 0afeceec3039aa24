"""TF_CONFIG is read or refused; workers wait for each other, and say who is missing."""

import json
import socket
import threading

import pytest
import tensorflow as tf

from cactus_tf.errors import InputError, RunError
from cactus_tf.utils import distribution
from cactus_tf.utils.distribution import Workers, from_environment, meet, naming_lost_workers


def config(cluster, kind="worker", index=0):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def test_the_chief_comes_first():
    cluster = {"worker": ["b:2", "c:3"], "chief": ["a:1"]}
    assert from_environment(config(cluster, "worker", 1)) == Workers(("a:1", "b:2", "c:3"), 2)
    assert from_environment(config(cluster, "chief")).is_chief
    assert from_environment(config({"worker": ["a:1", "b:2"]})).is_chief
    assert from_environment(config({"worker": ["a:1", "b:2"]})).others == ["b:2"]


@pytest.mark.parametrize(
    "environment, message",
    [
        ({}, "TF_CONFIG, which is not set"),
        ({"TF_CONFIG": "{"}, "is malformed; expected: TF_CONFIG="),
        ({"TF_CONFIG": "[" * 100_000}, "is malformed; expected: TF_CONFIG="),
        ({"TF_CONFIG": "[]"}, "is malformed; expected: TF_CONFIG="),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "is malformed; expected: TF_CONFIG="),
        (config({"worker": ["a:1"]}, index=1), "is malformed; expected: TF_CONFIG="),
        (config({"worker": ["a"]}), "is malformed; expected: TF_CONFIG="),
        (config({"worker": ["a:1"], "ps": ["b:2"]}), "lists ps; it may list a chief and workers"),
        (config({"worker": ["a:1"], "chief": ["b:2", "c:2"]}), "several chiefs"),
        (config({"worker": ["a:1", "a:1"]}), "an address HOST:PORT of its own"),
        (config({"worker": ["a:70000"]}), "with a port in 1..65535"),
    ],
)
def test_a_wrong_list_of_workers_is_refused(environment, message):
    with pytest.raises(InputError, match=message):
        from_environment(environment)


def free_ports(number):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def test_workers_meet(monkeypatch):
    monkeypatch.setattr(distribution, "_POLL", 0.05)
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(3))
    threads = [threading.Thread(target=meet, args=(Workers(addresses, i), 60)) for i in (1, 2)]
    for thread in threads:
        thread.start()
    meet(Workers(addresses, 0), 60)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


def test_a_missing_worker_is_named(monkeypatch):
    monkeypatch.setattr(distribution, "_POLL", 0.05)
    addresses = tuple(f"127.0.0.1:{port}" for port in free_ports(2))
    with pytest.raises(RunError, match=rf"no worker at {addresses[0]} \(.+\) after 0.2 s: start the command there"):
        meet(Workers(addresses, 1), 0.2)


def test_a_port_in_use_is_named():
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InputError, match=f"this worker's port {port} cannot be opened"):
            meet(Workers((f"127.0.0.1:{port}", "127.0.0.1:9"), 0), 1)


def test_a_lost_worker_is_named_after_the_work_is_saved():
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    workers = Workers(tuple(addresses), 0)
    message = f"the worker at {addresses[1]} no longer responds; saved: rerun the command on every worker to resume"
    with pytest.raises(RunError, match=message), naming_lost_workers(workers, lambda: "saved"):
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted")


@pytest.mark.parametrize("workers", [Workers(("a:1", "b:1"), 0), distribution.ALONE.workers])
def test_other_errors_stay_as_they_are(workers):
    error = tf.errors.InvalidArgumentError if workers.others else tf.errors.UnavailableError
    with pytest.raises(error), naming_lost_workers(workers):
        raise error(None, None, "")


def test_alone_nothing_waits():
    assert distribution.start("none", 1) is distribution.ALONE
    assert distribution.ALONE.of_all(7) == [7]
    distribution.ALONE.check_same_command({"steps": 1})


class Gathering(distribution.Distribution):
    """Two workers, of which the other one called with 5."""

    def of_all(self, number):
        return [5, number]


def test_a_worker_with_another_command_is_named():
    two = Gathering(distribution.ALONE.strategy, Workers(("a:1", "b:2"), 1))
    with pytest.raises(RunError, match="the worker at b:2 has another command, version, number of devices or"):
        two.check_same_command({"steps": 1})
