"""Kills commands at random moments until they finish, and compares what they leave with an unbroken run.

    python tests/faults/kills.py --kills=200 --seed=0 --out=docs/results/faults.json

A life is one run from the first command to its end. In each of its stages it is killed (SIGKILL to the process group)
and started again. The moments are of three kinds: just before a file operation of the stage, at a time drawn uniformly
over the stage, and during the writing of a checkpoint. TensorFlow gets one thread.
"""

import argparse
import csv
import functools
import hashlib
import json
import os
import re
import select
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))  # for the command line
from faults.commands import ACAI, PIXELS, ROUNDS, Server

from cactus_tf.utils import checkpoints
from cactus_tf.utils.machine import machine

RUNS = {"acai": ACAI, "rounds": ROUNDS, "pixels": [*PIXELS, "--stage=evaluate"]}
ORDER = ("acai", "rounds", "pixels", "pixels", "pixels")
KILLS = {
    "acai": {"prepare": 2, "embed": 3, "partition": 1, "train": 4, "evaluate": 2, "report": 1},
    "rounds": {"prepare": 1, "rounds/partition": 1, "rounds/train": 3, "embed": 1, "partition": 1, "train": 3,
               "evaluate": 1, "report": 1},
    "pixels": {"prepare": 3, "embed": 3, "partition": 3, "train": 8, "evaluate": 4},
}  # fmt: skip
"""Kills per stage of a life."""
HEAD = ["run: stage", "kills", "before a file operation", "at a random time", "while a checkpoint is written",
        "with a half-made file left"]  # fmt: skip
SAVING = {"acai": ("embed", "train"), "rounds": ("rounds/train", "train"), "pixels": ("train",)}
"""Stages that write checkpoints."""


class Whole:
    """An unbroken run: its state, and what happens in its stages."""

    def __init__(self, server, name, place):
        self.name = name
        events, codes = watched(functools.partial(server.start, place, RUNS[name], report=True), place)
        assert codes[0] == 0, codes
        self.state = state(place)
        measure(self, events)


def measure(whole, events):
    """Notes the file operations and seconds of the stages, and the seconds of a checkpoint, of a run's events."""
    whole.operations = {e[1]: int(e[2]) for _, e in events if e[0] == "ended"}
    whole.seconds = {e[1]: t - began(events, e[1]) for t, e in events if e[0] == "ended"}
    starts = [t for t, e in events if e[0] == "saving"]
    whole.saving = float(np.median([t - s for s, t in zip(starts, at(events, "saved"), strict=True)]))


def began(events, stage):
    return next(t for t, e in events if e[:2] == ["begun", stage])


def at(events, what):
    return [t for t, e in events if e[0] == what]


def watched(start, place, moment=lambda event: None, victim=None):
    """Runs a command and reads its events; `moment` gives the seconds after an event at which it is killed.

    Args:
      start: starts it, with faults.
      place: its folder.
      moment: from an event to seconds, or None.
      victim: () -> the command that is killed, if it is another one.

    Returns:
      [(time, words)] of its events, and (exit code, standard output, standard error).
    """
    fifo = place / "events"
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    command = start()
    events, rest, due = [], b"", float("inf")
    while True:
        left = min(max(due - time.monotonic(), 0), 60)
        if not select.select([reader], [], [], left)[0]:
            if time.monotonic() < due:
                continue
            (victim() if victim else command).kill()
            due = float("inf")
            continue
        read = os.read(reader, 4096)
        if not read:  # its end
            break
        *lines, rest = (rest + read).split(b"\n")
        for line in lines:
            events.append((time.monotonic(), line.decode().split()))
            delay = moment(events[-1][1])
            due = due if delay is None else min(time.monotonic() + delay, due)
    os.close(reader)
    return events, command.wait()


def state(place):
    """What a finished run left: rows of results, numbers of checkpoints, and the content of other files."""
    content = {}
    rows = json.loads((place / "run" / "results.json").read_text())["rows"]
    content["results.json"] = [{name: v for name, v in row.items() if "seconds" not in name} for row in rows]
    for folder in sorted(place.glob("run/**/checkpoints")):
        content[str(folder.relative_to(place))] = checkpoints.newest_digest(folder)
    content["files"] = sorted({str(path.relative_to(place)) for path in place.rglob("*") if lasting(path)})
    for path in sorted([*place.glob("run/**/*.csv"), *place.glob("artifacts/**/*.csv")]):
        with open(path, newline="") as file:
            content[str(path.relative_to(place))] = list(csv.reader(file))
    for path in sorted([*place.glob("run/**/*.npy"), *place.glob("artifacts/**/*.np[yz]")]):
        content[str(path.relative_to(place))] = hashlib.sha256(path.read_bytes()).hexdigest()
    return content


def lasting(path):
    """Whether a file is there whenever it was written: not the events of each command, nor the pipe of these tests."""
    return "events" not in path.parts and path.name != "events"


def half_made(place):
    """Temporary files and unfinished checkpoints that a killed command left."""
    temporary = [path for path in place.rglob("*") if re.search(r"\.tmp$|tempstate|_temp$|\.probe", path.name)]
    data = {path.name.split(".")[0] for path in place.rglob("step-*.data-*")}
    return temporary + [Path(name) for name in data if not list(place.rglob(f"{name}.index"))]


def chosen(whole, kind, stage, rng):
    """The fault of a command that kills itself, or none, and the moment at which it is killed from outside."""
    if kind == "operation":
        kill = {"stage": stage, "operation": int(rng.integers(1, whole.operations[stage] + 1))}
        return {"kill": kill}, lambda event: None
    if kind == "time":
        delay = float(rng.uniform(0, whole.seconds[stage]))
        return {}, lambda event: {("begun", stage): delay, ("ended", stage): 0}.get(tuple(event[:2]))
    delay, here = float(rng.uniform(0, 2 * whole.saving)), []

    def moment(event):
        here.extend([True] if event[:2] == ["begun", stage] else [])
        if here and event[0] == "saving" and rng.random() < 0.7:
            return delay
        return 0 if event[:2] == ["ended", stage] else None

    return {}, moment


def kill_once(server, whole, place, kind, stage, rng):
    """Starts the run of a life and kills it in a stage; returns what happened."""
    faults, moment = chosen(whole, kind, stage, rng)
    start = functools.partial(server.start, place, RUNS[whole.name], report=True, **faults)
    events, (code, _, error) = watched(start, place, moment)
    last = " ".join(events[-1][1][:2]) if events else "nothing"
    return {"stage": stage, "kind": kind, "code": code, "last": last, "error": error,
            "half_made": [re.sub(r"[0-9a-f]+\.tmp", "tmp", path.name) for path in half_made(place)]}  # fmt: skip


def live(server, whole, place, kills, rng):
    """A life: kills in the order of their stages, then a run to the end; returns the kills and what is wrong."""
    happened = [kill_once(server, whole, place, kind, stage, rng) for stage, kind in kills]
    return happened, differences(whole, place, *server.run(place, RUNS[whole.name]))


def differences(whole, place, code, out, error):
    """What is wrong with a life after its last command, which ended so."""
    if code:
        return [f"exit code {code}: {error}"]
    now, wrong = state(place), []
    wrong += [f"{name} differs" for name in {*now, *whole.state} if now.get(name) != whole.state.get(name)]
    wrong += sorted(map(str, set(now["files"]) ^ set(whole.state["files"])))
    wrong += ["waited for a lock"] if "waiting: another run" in out else []
    wrong += [f"{path.name} is left" for path in half_made(place)]
    return wrong


def plan(name, rng):
    """[(stage, kind)] of a life, in the order of the stages."""
    kills = []
    for stage, number in KILLS[name].items():
        kinds = ["operation", "time", *(["checkpoint"] if stage in SAVING[name] else [])]
        kills += [(stage, kinds[i]) for i in rng.permutation(np.arange(number) % len(kinds))]
    return kills


def campaign(server, place, number, seed, show, order=ORDER):
    """So many kills; returns those that happened, and [what is wrong] for every life.

    show(line, kills, lives) is called after each life.
    """
    rng, most = np.random.default_rng(seed), -(-number // 2)
    wholes, kills, lives = {}, [], []
    while len(kills) < number:
        name = order[len(lives) % len(order)]
        own = place / f"{len(lives)}-{name}"
        own.mkdir()
        if name not in wholes:
            (place / name).mkdir()
            wholes[name] = Whole(server, name, place / name)
        chosen = plan(name, rng)
        keep = np.sort(rng.permutation(len(chosen))[: min(most, number - len(kills))])
        happened, wrong = live(server, wholes[name], own, [chosen[i] for i in keep], rng)
        kills += [{**kill, "run": name} for kill in happened]
        lives.append(wrong)
        show(f"{name}: {len(happened)} kills, {'; '.join(wrong) or 'equal'}", kills, lives)
        if not wrong:
            shutil.rmtree(own)
    return kills, lives


def table(kills):
    """Kills by run, stage and kind, and all of them."""
    stages = [(run, stage) for run in KILLS for stage in KILLS[run]]
    lines = [counts(f"{run}: {stage}", [k for k in kills if (k["run"], k["stage"]) == (run, stage)])
             for run, stage in stages]  # fmt: skip
    return [line for line in lines if line[1] != "0"] + [counts("all", kills)]


def counts(name, kills):
    """A line of the table."""
    kinds = Counter(kill["kind"] for kill in kills)
    half = sum(bool(kill["half_made"]) for kill in kills)
    numbers = [len(kills), kinds["operation"], kinds["time"], kinds["checkpoint"], half]
    return [name, *map(str, numbers)]


def report(kills, lives, **about):
    """What is stored of a campaign."""
    return {"machine": machine(), **about, "lives": lives, "head": HEAD, "lines": table(kills), "kills": kills}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", default=",".join(ORDER), help="the run of each life, over and over")
    parser.add_argument("--merge", type=Path, nargs="*", default=[], help="results of other campaigns to add")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    merged = [json.loads(path.read_text()) for path in args.merge]
    earlier = {name: [item for one in merged for item in one[name]] for name in ("kills", "lives", "seeds")}
    seeds = [args.seed] if args.kills else []

    def show(line, kills, lives):
        sys.stdout.write(f"{line}\n")
        kills, lives, used = earlier["kills"] + kills, earlier["lives"] + lives, earlier["seeds"] + seeds
        if args.out:
            args.out.write_text(json.dumps(report(kills, lives, seeds=used), indent=1) + "\n")

    server = Server()
    order = args.runs.split(",")
    kills, lives = campaign(server, Path(tempfile.mkdtemp()), args.kills, args.seed, show, order)
    server.close()
    show("", kills, lives)
    kills, lives = earlier["kills"] + kills, earlier["lives"] + lives
    alive = [kill for kill in kills if kill["code"] != -signal.SIGKILL]
    unequal = sum(map(bool, lives))
    sys.stdout.write(
        f"{len(kills)} kills in {len(lives)} lives; {unequal} lives ended otherwise; not killed: {alive}\n"
    )
    return int(unequal > 0 or bool(alive))


if __name__ == "__main__":
    sys.exit(main())
