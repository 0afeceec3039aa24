"""The devices and machines of a training: TensorFlow's strategies for them, and workers that wait for each other."""

from __future__ import annotations

import contextlib
import dataclasses
import faulthandler
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import tensorflow as tf

from cactus_tf.errors import InputError, RunError

log = logging.getLogger(__name__)

_EXAMPLE = """TF_CONFIG='{"cluster": {"worker": ["HOST:PORT", "HOST:PORT"]}, "task": {"type": "worker", "index": 0}}'"""
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)
_ASK = 0.5  # seconds between two attempts to reach a worker
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

    @contextlib.contextmanager
    def chief_first(self) -> Iterator[None]:
        """Runs its block in the chief, and then in the other workers, which find what the chief has written.

        Raises:
          WorkerLostError: another worker ended.
        """
        if not self.workers.is_chief:
            self._all_are_here()
        yield
        if self.workers.is_chief:
            self._all_are_here()

    def _all_are_here(self) -> None:
        if len(self.workers.addresses) == 1:
            return

        def one() -> tf.Tensor:
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.constant(1.0))

        with explained_losses():
            tf.function(lambda: self.strategy.run(one), autograph=False)()


ALONE = Distribution(tf.distribute.get_strategy())
"""One machine, and nothing divided."""


class WorkerLostError(RunError):
    """Another worker does not answer any more."""


@contextlib.contextmanager
def explained_losses(save: Callable[[], str] = lambda: "nothing is trained yet") -> Iterator[None]:
    """Explains, in its block, that another worker does not answer any more.

    Args:
      save: saves the work, and says what is saved.

    Raises:
      WorkerLostError: with its address, if it is known.
    """
    try:
        yield
    except _LOST as error:
        saved = save()
        lost = []
        if os.environ.get("TF_CONFIG"):
            lost = [a for a in from_environment(os.environ).others if _why_unreachable(a)]
        which = f"the worker at {', '.join(lost)}" if lost else "another worker"
        raise WorkerLostError(
            f"{which} does not answer any more; {saved}: rerun the command on every worker to resume"
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
    with _ended_after(seconds), _own_signals():
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    role = "chief" if workers.is_chief else "not the chief: it writes nothing"
    log.info("worker %d of %d, %s", workers.index, len(workers.addresses), role)
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
        raise InputError(f"TF_CONFIG is not as TensorFlow wants it: it needs the form {_EXAMPLE}") from error
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
    missing = dict(zip(workers.others, [""] * len(workers.others), strict=True))
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
                    f"no worker at {named} after {seconds:g} s: start the command there, or mend TF_CONFIG; "
                    "--worker_timeout waits longer"
                )
            if missing and now - reminded > _REMIND:
                reminded = now
                log.info(
                    "waiting for the worker at %s, at most %.0f s more", ", ".join(missing), seconds - (now - began)
                )
            if missing:
                time.sleep(_ASK)
        time.sleep(2 * _ASK)  # the others ask in this interval


@contextlib.contextmanager
def _reachable(address: str) -> Iterator[None]:
    """Accepts connections at an address in its block."""
    port = int(address.rpartition(":")[2])
    try:
        server = socket.create_server(("", port), backlog=128)
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
    server.settimeout(_ASK)
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
def _ended_after(seconds: float) -> Iterator[None]:
    """Ends the process if its block takes longer: TensorFlow waits in it without an end, and holds Python's lock."""
    log.info("joining the other workers; gives up after %.0f s", seconds)
    with open(os.devnull, "w") as nowhere:
        faulthandler.dump_traceback_later(seconds, exit=True, file=nowhere)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """Keeps SIGTERM as it was: in its block, TensorFlow takes it and only notes it."""
    main = threading.current_thread() is threading.main_thread()
    before: Any = signal.getsignal(signal.SIGTERM) if main else None
    yield
    if before is not None:
        signal.signal(signal.SIGTERM, before)
