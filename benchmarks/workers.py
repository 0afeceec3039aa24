"""Times MAML steps of one worker and of two, a core each, and models more workers. Requires Linux and two idle cores.

    python benchmarks/workers.py [--steps=100] [--rounds=3] [--out=RESULTS.json]

The paper's MAML on Omniglot's sizes: 8 tasks a step, 20-way 1-shot 5-query, 32 filters, 5 inner steps. Runs of one
worker with 8 and with 4 tasks, and of two workers with 8, alternate; medians over the rounds. Prints the efficiency of
two workers, the time of the messages of a step, and a model of up to 64 workers.

The model: a step of T tasks on W workers takes fixed + ceil(T / W) task + messages(W), where fixed and task come from
the runs of one worker, and messages(W) = 2 (W - 1) (latency + bytes / W / bandwidth), as in a ring.
"""

import argparse
import json
import math
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

TASKS, WARM_UP = 8, 10
RUNS = {"1 worker, 8 tasks": (1, TASKS), "1 worker, 4 tasks": (1, TASKS // 2), "2 workers, 8 tasks": (2, TASKS)}
NETWORKS = {"1 Gb/s, 0.1 ms": (125e6, 1e-4), "10 Gb/s, 0.02 ms": (1.25e9, 2e-5)}


def work(index: int, workers: int, tasks: int, steps: int) -> dict[str, float]:
    """Trains as one of the workers; milliseconds of a step and of its messages alone, and bytes of the gradient."""
    os.sched_setaffinity(0, {index})
    import cactus_tf as ct  # isort: skip  before TensorFlow
    import numpy as np
    import tensorflow as tf

    from cactus_tf.fewshot.training import meta_train
    from cactus_tf.types import AssignedPartitions
    from cactus_tf.utils import distribution

    tf.config.threading.set_intra_op_parallelism_threads(1)
    where = distribution.start("multiworker" if workers > 1 else "none", 300)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (22_000, 28, 28, 1), np.uint8)
    clusters = AssignedPartitions([rng.integers(0, 500, len(rows)) for _ in range(20)])
    episodes = ct.episodes(rows, clusters, way=20, shot=1, query=5, seed=0)
    with where.strategy.scope():
        learner = ct.learners.build("maml", image_shape=(28, 28, 1), way=20, filters=32)
    times = [time.perf_counter()]
    meta_train(
        learner, episodes, tasks_per_step=tasks, steps=steps, on_step=lambda *_: times.append(time.perf_counter())
    )
    gradient = [tf.zeros(v.shape) for v in learner.trainable_variables]

    @tf.function
    def reduced() -> list:
        context = tf.distribute.get_replica_context
        return where.strategy.run(lambda: context().all_reduce(tf.distribute.ReduceOp.MEAN, gradient))

    messages = []
    for _ in range(50 if workers > 1 else 0):
        began = time.perf_counter()
        reduced()
        messages.append(time.perf_counter() - began)
    return {
        "step_ms": 1000 * statistics.median(np.diff(times)[WARM_UP:]),
        "messages_ms": 1000 * statistics.median(messages[5:]) if messages else 0.0,
        "gradient_bytes": float(sum(4 * math.prod(g.shape) for g in gradient)),
    }


def measure(workers: int, tasks: int, steps: int) -> dict[str, float]:
    """What the first of the workers measures, each of which is a process."""
    ports = []
    for _ in range(workers):
        with socket.create_server(("127.0.0.1", 0)) as server:
            ports.append(server.getsockname()[1])
    processes = []
    for index in range(workers):
        config = {"cluster": {"worker": [f"127.0.0.1:{p}" for p in ports]}, "task": {"type": "worker", "index": index}}
        arguments = [f"--worker={index}", f"--workers={workers}", f"--tasks={tasks}", f"--steps={steps}"]
        environment = {**os.environ, "TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "3"}
        pipe = subprocess.PIPE if index == 0 else subprocess.DEVNULL
        command = [sys.executable, __file__, *arguments]
        processes.append(subprocess.Popen(command, stdout=pipe, stderr=subprocess.DEVNULL, env=environment, text=True))
    output, _ = processes[0].communicate()
    if any(process.wait() for process in processes):
        raise SystemExit(f"a worker of {workers} ended with an error")
    return json.loads(output.splitlines()[-1])


def model(task: float, fixed: float, size: float) -> list[list[str]]:
    """Speed-up of W workers, by tasks per step and network, from seconds per task, fixed seconds and bytes."""

    def step(tasks: int, workers: int, bandwidth: float, latency: float) -> float:
        messages = 2 * (workers - 1) * (latency + size / workers / bandwidth)
        return fixed + math.ceil(tasks / workers) * task + messages

    lines = []
    for tasks in (TASKS, 64):
        for name, network in NETWORKS.items():
            counts = [w for w in (1, 2, 4, 8, 16, 32, 64) if w <= tasks]
            speeds = {w: step(tasks, 1, *network) / step(tasks, w, *network) for w in counts}
            lines.append(
                [str(tasks), name, *(f"{speeds[w]:.1f}" if w in speeds else "" for w in (2, 4, 8, 16, 32, 64))]
            )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help=f"of a run; the first {WARM_UP} do not count")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    for name in ("--worker", "--workers", "--tasks"):
        parser.add_argument(name, type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker is not None:
        print(json.dumps(work(args.worker, args.workers, args.tasks, args.steps)), flush=True)
        return 0
    rounds = [{name: measure(*run, args.steps) for name, run in RUNS.items()} for _ in range(args.rounds)]
    median = {name: statistics.median(r[name]["step_ms"] for r in rounds) for name in RUNS}
    messages = statistics.median(r["2 workers, 8 tasks"]["messages_ms"] for r in rounds)
    size = rounds[0]["2 workers, 8 tasks"]["gradient_bytes"]
    one, half, two = median.values()
    for name, ms in median.items():
        print(f"{name}: {ms:.1f} ms per step")
    print(
        f"efficiency of two workers: {one / (2 * two):.2f}; messages of a step: {messages:.1f} ms, {size / 1000:.0f} kB"
    )
    task, fixed = (one - half) / (TASKS - TASKS // 2), 2 * half - one
    lines = model(task / 1000, max(0.0, fixed) / 1000, size)
    head = ["tasks per step", "network", *(f"{w} workers" for w in (2, 4, 8, 16, 32, 64))]
    print("\n".join(" | ".join(line) for line in [head, *lines]))
    if args.out:
        from cactus_tf.utils.machine import machine

        about = {"steps": args.steps, "rounds": args.rounds, "machine": machine(), "milliseconds": median}
        about |= {"messages": messages, "gradient_bytes": size, "head": head, "lines": lines}
        args.out.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
