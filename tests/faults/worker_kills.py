"""Kills one of two workers at random moments, starts both again, and compares with an unbroken run of two.

    python tests/faults/worker_kills.py --kills=24 --seed=0 --out=docs/results/faults_workers.json

The workers are processes of one machine. The chief kills itself before a file operation of a stage; either is killed at
a time drawn uniformly over a stage of the chief, or while the chief writes a checkpoint. The other worker then has to
end by itself.
"""

import argparse
import functools
import json
import signal
import socket
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # for the command line
from faults import kills
from faults.commands import WORKERS, Server

from cactus_tf.utils.machine import machine

STAGES = {"prepare": 2, "embed": 2, "partition": 2, "train": 4, "evaluate": 1, "report": 1}
"""Kills per stage of a life."""
KINDS = {"prepare": ("operation", "time"), "train": ("time", "checkpoint", "operation")}
HEAD = ["stage", "kills", "of the chief", "of the other worker", "before a file operation", "at a random time",
        "while a checkpoint is written", "with a half-made file left"]  # fmt: skip
PATIENCE = 2
"""Seconds that a worker waits for another one's shards, instead of ten minutes."""


class Pair:
    """Two workers in one folder; the second is not watched."""

    def __init__(self, server, place):
        self._server, self._place, self.commands = server, place, []

    def start(self, **faults):
        """Starts both, and returns the chief; the faults are the chief's."""
        ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        addresses = [f"127.0.0.1:{port.getsockname()[1]}" for port in ports]
        for port in ports:
            port.close()
        self.commands = [self._start(i, addresses, faults if i == 0 else {}) for i in range(2)]
        return self.commands[0]

    def _start(self, index, addresses, faults):
        task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        environment, output = {"TF_CONFIG": json.dumps(task)}, f"{self._place}.{index}"
        faults = {**faults, "patience": {"seconds": PATIENCE}}
        return self._server.start(self._place, WORKERS, output=output, environment=environment, **faults)

    def run(self):
        """Exit code, output and errors of each, after a run to which nothing happens."""
        self.start()
        return [command.wait() for command in self.commands]


class Whole:
    """An unbroken run of two workers: its state, and what happens in the stages of the chief."""

    def __init__(self, server, place):
        pair = Pair(server, place)
        events, chief = kills.watched(functools.partial(pair.start, report=True), place)
        assert (chief[0], pair.commands[1].wait()[0]) == (0, 0), chief
        self.state = kills.state(place)
        kills.measure(self, events)


def kill_once(server, whole, place, stage, kind, victim, rng):
    """Starts both workers and kills one in a stage of the chief; returns what happened."""
    pair = Pair(server, place)
    faults, moment = kills.chosen(whole, kind, stage, rng)
    start = functools.partial(pair.start, report=True, **faults)
    _, chief = kills.watched(start, place, moment, lambda: pair.commands[victim])
    codes, errors = zip(*((code, error) for code, _, error in (chief, pair.commands[1].wait())), strict=True)
    return {"stage": stage, "kind": kind, "victim": victim, "code": codes[victim], "other_code": codes[1 - victim],
            "other_error": errors[1 - victim].strip().split("\n")[-1],
            "half_made": [path.name for path in kills.half_made(place)]}  # fmt: skip


def plan(rng):
    """[(stage, kind, victim)] of a life, in the order of the stages."""
    chosen = []
    for stage, number in STAGES.items():
        kinds = KINDS.get(stage, ("operation", "time"))
        for i in rng.permutation(number):
            kind = kinds[i % len(kinds)]
            chosen.append((stage, kind, 0 if kind == "operation" else int(rng.integers(2))))
    return chosen


def campaign(server, place, number, seed, show):
    """So many kills; returns those that happened, and [what is wrong] for every life."""
    rng, happened, lives = np.random.default_rng(seed), [], []
    (place / "whole").mkdir()
    whole = Whole(server, place / "whole")
    while len(happened) < number:
        own = place / str(len(lives))
        own.mkdir()
        wanted = plan(rng)
        keep = np.sort(rng.permutation(len(wanted))[: number - len(happened)])
        happened += [kill_once(server, whole, own, *wanted[i], rng) for i in keep]
        lives.append(differences(whole, own, *Pair(server, own).run()))
        show(f"{len(keep)} kills, {'; '.join(lives[-1]) or 'equal'}", happened, lives)
    return happened, lives


def differences(whole, place, chief, other):
    """What is wrong with a life after the last commands; workers may wait for each other's locks."""
    wrong = [one for one in kills.differences(whole, place, *chief) if one != "waited for a lock"]
    return wrong + ([f"worker: exit code {other[0]}: {other[2]}"] if other[0] else [])


def unexpected(happened):
    """Kills whose victim was not killed, or after which the other worker did not end by itself, with one line."""
    fine = {1: "no longer responds", 0: ""}  # 0: it had finished
    return [
        kill for kill in happened
        if kill["code"] != -signal.SIGKILL or fine.get(kill["other_code"], "\n") not in kill["other_error"]
    ]  # fmt: skip


def counts(name, chosen):
    """A line of the table."""
    victims, kinds = Counter(kill["victim"] for kill in chosen), Counter(kill["kind"] for kill in chosen)
    half = sum(bool(kill["half_made"]) for kill in chosen)
    numbers = [len(chosen), victims[0], victims[1], kinds["operation"], kinds["time"], kinds["checkpoint"], half]
    return [name, *map(str, numbers)]


def report(happened, lives, **about):
    """What is stored of a campaign."""
    lines = [counts(stage, [kill for kill in happened if kill["stage"] == stage]) for stage in STAGES]
    table = {"head": HEAD, "lines": [*lines, counts("all", happened)]}
    return {"machine": machine(), **about, "lives": lives, **table, "kills": happened}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    def show(line, happened, lives):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        if args.out:
            args.out.write_text(json.dumps(report(happened, lives, seed=args.seed), indent=1) + "\n")

    server = Server()
    happened, lives = campaign(server, Path(tempfile.mkdtemp()), args.kills, args.seed, show)
    server.close()
    wrong, unequal = unexpected(happened), sum(map(bool, lives))
    sys.stdout.write(f"{len(happened)} kills in {len(lives)} lives; {unequal} ended otherwise; unexpected: {wrong}\n")
    return int(unequal > 0 or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
