"""What a command does to itself before it begins, so that a fault comes at a chosen moment.

Faults by name, each with the stage in which it comes ("rounds/train" is the training of an earlier round):
  kill: {"stage": S, "operation": N} ends the process with SIGKILL at the N-th file operation of the stage, or at its
    end; {"stage": S} and {"save": N} only report, and the one who started the command kills it.
  refuse: {"stage": S, "operations": [...], "error": NAME, "first": N} makes file operations fail from the N-th on.
  fill: {"stage": S, "left": BYTES} fills the disk of the command's folder when the stage begins.
  no_locks, clock: {"seconds": S}, memory: {"bytes": N}: for the whole command; patience: {"seconds": S} with the shards
    of other workers.
"""

import contextlib
import errno
import fcntl
import os
import resource
import signal
import sys
import time

import tensorflow as tf

from cactus_tf.embedders._base import fit_callbacks
from cactus_tf.fewshot import training
from cactus_tf.runs import shards
from cactus_tf.utils import progress

EVERY = 2
"""Steps between checkpoints."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "shutil.rmtree", "os.fsync"}


class Stages(list):
    """The stages of the run; calls begun(path) and ended(path)."""

    def __init__(self, begun, ended):
        super().__init__()
        self._begun, self._ended = begun, ended

    @property
    def path(self):
        return "/".join(self)

    def append(self, name):
        super().append(name)
        self._begun(self.path)

    def pop(self):
        self._ended(self.path)
        return super().pop()


class Injector:
    """Counts the file operations below a folder in each stage, reports what happens, and lets the faults come."""

    def __init__(self, place, faults):
        self._place, self._faults, self._count = place, faults, {}
        self._events = os.open(os.path.join(place, "events"), os.O_WRONLY) if "report" in faults else None
        self._saves, self._inside = 0, False
        progress.stages = self.stages = Stages(self._begun, self._ended)

    def report(self, *words):
        if self._events is not None:
            os.write(self._events, " ".join(map(str, words)).encode() + b"\n")

    def _begun(self, path):
        self._count.setdefault(path, 0)
        self.report("begun", path)
        fill = self._faults.get("fill")
        if fill and path == fill["stage"]:
            fill_disk(self._place, fill["left"])

    def _ended(self, path):
        kill = self._faults.get("kill", {})
        self.report("ended", path, self._count[path])
        if kill.get("stage") == path and "operation" in kill:
            self.kill("the end")

    def kill(self, what):
        self.report("killed", what.replace(" ", "_"))
        os.kill(os.getpid(), signal.SIGKILL)

    def save(self, save, *args, **kwargs):
        """In place of CheckpointManager.save."""
        self._saves += 1
        self.report("saving", self._saves)
        path = save(*args, **kwargs)
        self.report("saved", self._saves)
        return path

    def operation(self, event, path):
        """An operation on a file or folder is about to happen."""
        path, stage = os.fsdecode(path), self.stages.path
        if self._inside or not os.path.abspath(path).startswith(self._place + os.sep) or not stage:
            return
        self._count[stage] += 1
        kill, refuse = self._faults.get("kill", {}), self._faults.get("refuse", {})
        if kill.get("stage") == stage and kill.get("operation") == self._count[stage]:
            self.kill(event)
        chosen = refuse.get("stage") in (stage, "any") and event in refuse.get("operations", [event])
        if chosen and self._count[stage] >= refuse["first"] and not _allowed(refuse, path):
            number = getattr(errno, refuse["error"])
            raise OSError(number, os.strerror(number), path)

    def hook(self, event, args):
        """Python's audit hook."""
        if event in OPERATIONS:
            self.operation(event, args[1] if event == "os.rename" else args[0])
        elif event == "open" and args[0] is not None and not isinstance(args[0], int) and args[2] & WRITING:
            self.operation(event, args[0])


def _allowed(refuse, path):
    """File systems without renaming over refuse it only where there is a file."""
    return refuse.get("over", False) and not os.path.exists(path)


def fill_disk(place, left):
    """Fills the file system of a folder up to so many bytes."""
    path = os.path.join(place, "ballast")
    with open(path, "wb", 0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(path, max(os.path.getsize(path) - left, 0))


def refuse_locks(*_):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def prepare(place, faults):
    """Makes checkpoints frequent and arranges the faults."""
    training.meta_train.__kwdefaults__["checkpoint_every"] = EVERY
    fit_callbacks.SAVE_STEPS = EVERY
    injector, save, fsync = Injector(place, faults), tf.train.CheckpointManager.save, os.fsync

    def counted_fsync(descriptor):
        injector.operation("os.fsync", os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    tf.train.CheckpointManager.save = lambda self, *args, **kwargs: injector.save(save, self, *args, **kwargs)
    os.fsync = counted_fsync
    sys.addaudithook(injector.hook)
    if "no_locks" in faults:
        fcntl.flock = refuse_locks
    if "clock" in faults:
        now = time.time
        time.time = lambda: now() + faults["clock"]["seconds"]
    if "patience" in faults:
        shards._PATIENCE = faults["patience"]["seconds"]
    if "memory" in faults:
        resource.setrlimit(resource.RLIMIT_AS, (faults["memory"]["bytes"],) * 2)
