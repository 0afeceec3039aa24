"""The devices and machines of a training: TensorFlow's strategies for them, and workers that wait for each other."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import functools
import hashlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from cactus_tf.errors import InputError, RunError

log = logging.getLogger(__name__)

_EXAMPLE = """TF_CONFIG='{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'"""
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)
_POLL = 0.5  # seconds between two attempts to reach a worker
_REMIND = 30.0  # seconds between two lines about workers that are missing


@dataclasses.dataclass(frozen=True)
class Workers:
    """The workers of a run, as TF_CONFIG lists them.

    Attributes:
      addresses: HOST:PORT of each; the first one is the chief, which writes the run's files.
      index: of this process.
    """

    addresses: tuple[str, ...]
    index: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run's files."""
        return self.index == 0

    @property
    def others(self) -> list[str]:
        """The addresses of the other workers."""
        return [address for i, address in enumerate(self.addresses) if i != self.index]


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Where a run trains.

    Attributes:
      strategy: of TensorFlow; a learner that is built in its scope is trained by all its replicas.
      workers: of the run; one if it is not distributed over machines.
    """

    strategy: tf.distribute.Strategy
    workers: Workers = Workers(("localhost",), 0)

    @property
    def own_devices(self) -> tf.distribute.Strategy:
        """The strategy if it is one of this process alone, else TensorFlow's default, of one device."""
        spans = isinstance(self.strategy, tf.distribute.MultiWorkerMirroredStrategy)
        return tf.distribute.get_strategy() if spans else self.strategy

    @contextlib.contextmanager
    def chief_first(self) -> Iterator[None]:
        """Runs its block in the chief, and then in the other workers, which find what the chief has written.

        Raises:
          WorkerLostError: another worker ended.
        """
        if not self.workers.is_chief:
            self.barrier()
        yield
        if self.workers.is_chief:
            self.barrier()

    def barrier(self) -> None:
        """Waits until every worker has called it.

        Raises:
          WorkerLostError: another worker ended.
        """
        self.of_all(0)

    def check_same_command(self, command: Mapping[str, Any]) -> None:
        """Checks that all workers were given the same command.

        Args:
          command: what must be the same, as JSON values.

        Raises:
          RunError: it is not; names the worker.
        """
        other = self.differing(json.dumps(command, sort_keys=True, default=str).encode())
        if other is not None:
            raise RunError(
                f"the worker at {other} has another command, version, number of devices or other files than the "
                f"chief at {self.workers.addresses[0]}: start the same command on all machines, and copy files with "
                "their times (cp -p)"
            )

    def differing(self, content: bytes) -> str | None:
        """The address of the first worker that calls it with another content than the chief; None if all agree.

        Raises:
          WorkerLostError: another worker ended.
        """
        of_all = self.of_all(int.from_bytes(hashlib.blake2b(content, digest_size=7).digest(), "little"))
        differing = (self.workers.addresses[i] for i, one in enumerate(of_all) if one != of_all[0])
        return next(differing, None)

    def of_all(self, number: int) -> list[int]:
        """The numbers that the workers call it with, in their order.

        Raises:
          WorkerLostError: another worker ended.
        """
        if not self.workers.others:
            return [number]
        with naming_lost_workers(self.workers):
            values = _gathering(self.strategy)(tf.constant([number], tf.int64))
        local = self.strategy.experimental_local_results(values)
        return local[0].numpy().tolist()[:: len(local)]


ALONE = Distribution(tf.distribute.get_strategy())
"""One machine, and nothing divided."""


@functools.cache
def _gathering(strategy: tf.distribute.Strategy) -> Callable:
    """The compiled function from a tensor [1] of each replica to [replicas] of all."""

    def gathered(number: tf.Tensor) -> tf.Tensor:
        here = tf.identity(number)  # on the device of the replica
        return tf.distribute.get_replica_context().all_gather(here, axis=0)

    return tf.function(lambda number: strategy.run(gathered, (number,)), autograph=False)


class WorkerLostError(RunError):
    """Another worker no longer responds."""


@contextlib.contextmanager
def naming_lost_workers(workers: Workers, save: Callable[[], str] = lambda: "nothing is lost") -> Iterator[None]:
    """Turns, in its block, TensorFlow's errors about a worker that ended into one line.

    Args:
      workers: of the run; with one, errors stay as they are.
      save: saves the work, and says what is saved.

    Raises:
      WorkerLostError: with the address, if it is known.
    """
    try:
        yield
    except _LOST as error:
        if not workers.others:
            raise
        lost = [address for address in workers.others if _why_unreachable(address)]
        which = f"the worker at {' or '.join(lost)}" if lost else "another worker"
        raise WorkerLostError(
            f"{which} no longer responds; {save()}: rerun the command on every worker to resume"
        ) from error


def start(kind: str, seconds: float) -> Distribution:
    """Starts what `--distribute` asks for; for several machines, before TensorFlow computes anything.

    Args:
      kind: "none", "mirrored" (all GPUs of this machine; its CPU if there is none) or "multiworker" (the machines of
        TF_CONFIG).
      seconds: to wait for the other workers.

    Raises:
      InputError: TF_CONFIG is missing or wrong, or this worker's port is in use.
      RunError: another worker was not there in time.
    """
    if kind == "none":
        return ALONE
    if kind == "mirrored":
        devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        if len(devices) == 1:
            log.warning("--distribute=mirrored: there is one device, so nothing is divided")
        return Distribution(tf.distribute.MirroredStrategy([device.name for device in devices]))
    workers = from_environment(os.environ)
    if len(workers.addresses) > 1:
        meet(workers, seconds)
    with _ended_after(seconds, workers.addresses[0]), _own_signals(), naming_lost_workers(workers):
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    role = "the chief, which writes the run" if workers.is_chief else f"for the chief at {workers.addresses[0]}"
    log.info("worker %d of %d, %s", workers.index + 1, len(workers.addresses), role)
    return Distribution(strategy, workers)


def from_environment(environment: Mapping[str, str]) -> Workers:
    """The workers in TF_CONFIG.

    Raises:
      InputError: it is missing, damaged, or lists other tasks than a chief and workers.
    """
    text = environment.get("TF_CONFIG", "")
    if not text:
        raise InputError(f"--distribute=multiworker reads the workers from TF_CONFIG, which is not set: {_EXAMPLE}")
    try:
        config = json.loads(text)
        jobs: dict[str, list[str]] = {str(job): list(hosts) for job, hosts in config["cluster"].items()}
        kind, index = config["task"]["type"], config["task"]["index"]
        named = [(job, i, str(host)) for job in ("chief", "worker") for i, host in enumerate(jobs.get(job, []))]
        place = [(job, i) for job, i, _ in named].index((kind, index))
        ports = [int(host.rpartition(":")[2]) for _, _, host in named]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"TF_CONFIG is malformed; expected: {_EXAMPLE}") from error
    unknown = sorted(set(jobs) - {"chief", "worker"})
    if unknown or len(jobs.get("chief", [])) > 1:
        raise InputError(
            f"TF_CONFIG lists {unknown[0] if unknown else 'several chiefs'}; it may list a chief and workers"
        )
    if len({host for _, _, host in named}) < len(named) or not all(0 < port < 1 << 16 for port in ports):
        raise InputError("TF_CONFIG: every worker needs an address HOST:PORT of its own, with a port in 1..65535")
    return Workers(tuple(host for _, _, host in named), place)


def meet(workers: Workers, seconds: float) -> None:
    """Waits until every other worker has been reached, while this one can be reached.

    TensorFlow's own wait has no end and lets nobody interrupt it.

    Raises:
      InputError: this worker's port is in use.
      RunError: another worker was not there in time; says which.
    """
    missing = dict.fromkeys(workers.others, "")
    began = reminded = time.monotonic()
    with _reachable(workers.addresses[workers.index]):
        while missing:
            for address in list(missing):
                missing[address] = _why_unreachable(address)
                if not missing[address]:
                    del missing[address]
            now = time.monotonic()
            if missing and now - began > seconds:
                named = ", ".join(f"{address} ({why})" for address, why in missing.items())
                raise RunError(
                    f"no worker at {named} after {seconds:g} s: start the command there, or fix TF_CONFIG; "
                    "--worker_timeout waits longer"
                )
            if missing and now - reminded > _REMIND:
                reminded = now
                log.info(
                    "waiting for the worker at %s, at most %.0f s more", ", ".join(missing), seconds - (now - began)
                )
            if missing:
                time.sleep(_POLL)
        time.sleep(2 * _POLL)  # the others ask in this interval


@contextlib.contextmanager
def _reachable(address: str) -> Iterator[None]:
    """Accepts connections at an address in its block."""
    port = int(address.rpartition(":")[2])
    try:
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        server = socket.create_server(("", port), family=family, dualstack_ipv6=both, backlog=128)
    except OSError as error:
        raise InputError(
            f"TF_CONFIG: this worker's port {port} cannot be opened ({error.strerror}): choose another"
        ) from error
    over = threading.Event()

    def accept() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                server.accept()[0].close()

    thread = threading.Thread(target=accept, daemon=True)
    server.settimeout(_POLL)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        server.close()


def _why_unreachable(address: str) -> str:
    """Why nobody answers at an address; "" if somebody does."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
    except OSError as error:
        return error.strerror or str(error)
    return ""


@contextlib.contextmanager
def _ended_after(seconds: float, chief: str) -> Iterator[None]:
    """Ends the process if its block takes longer: TensorFlow waits in it without an end, and holds Python's lock."""
    log.info("joining the other workers; without them, this process ends with exit code 1 after %.0f s", seconds)
    line = (
        f"TensorFlow did not connect the workers after {seconds:g} s; the chief is at {chief}: start the command on "
        "every worker again, and open the ports between the machines; --worker_timeout waits longer"
    )
    with _last_words(line, time.monotonic() + seconds), open(os.devnull, "w", encoding="utf-8") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


_LAST_WORDS = """
import sys, time
line, due = sys.argv[1:]
if not sys.stdin.read(1) and time.monotonic() >= float(due):
    sys.stderr.write(line + "\\n")
"""


@contextlib.contextmanager
def _last_words(line: str, due: float) -> Iterator[None]:
    """Lets another process print a line if this one ends in the block, at a time of `time.monotonic` or later."""
    command = [sys.executable, "-I", "-S", "-c", _LAST_WORDS, line, str(due)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, text=True, start_new_session=True) as witness:
        try:
            yield
        finally:
            witness.communicate("over")


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps SIGTERM as it was: in its block, TensorFlow takes it and only notes it."""
    main = threading.current_thread() is threading.main_thread()
    before: Any = signal.getsignal(signal.SIGTERM) if main else None
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)
