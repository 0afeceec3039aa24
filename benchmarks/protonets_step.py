"""One ProtoNets training step beside the same step in PyTorch. Needs torch and, for the quiet check, Linux.

    python benchmarks/protonets_step.py [--intra=2] [--inter=2] [--blocks=8] [--minutes=10]

The paper's Omniglot setting: 20-way, 1 shot, 15 queries, 64 filters, 28x28, from uint8 images to updated weights. Ours
and PyTorch's steps take turns in blocks, with pauses in which idle threads stop spinning. A block during which other
processes took more than 5% of a core is thrown away: contention slows PyTorch's two spinning threads several times
more than it slows ours, which would flatter the ratio. Prints medians over quiet blocks, and how many there were.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable

WAY, SHOT, QUERY, FILTERS, SIZE = 20, 1, 15, 64, 28
STEPS_PER_BLOCK, PAUSE_SECONDS, QUIET = 6, 0.3, 0.05


def our_step(intra: int, inter: int) -> Callable[[], float]:
    """A function that takes one step as `meta_train` does."""
    import numpy as np
    import tensorflow as tf

    from cactus_tf import learners
    from cactus_tf.training import adam, make_train_step
    from cactus_tf.types import Episode

    tf.config.threading.set_intra_op_parallelism_threads(intra)
    tf.config.threading.set_inter_op_parallelism_threads(inter)
    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 256, (1, WAY, n, SIZE, SIZE, 1), np.uint8) for n in (SHOT, QUERY)]
    batch = Episode(*map(tf.constant, parts), *tf.zeros((2, 1), tf.int64))
    learner = learners.build("protonets", image_shape=(SIZE, SIZE, 1), way=WAY, filters=FILTERS)
    step = make_train_step(learner, adam(1e-3), tf.Variable(0, dtype=tf.int64))
    return lambda: float(step(batch)["loss"])


def peer_step() -> Callable[[], None]:
    import torch_peers

    return torch_peers.protonets_step(way=WAY, shot=SHOT, query=QUERY, filters=FILTERS, size=SIZE)


def busy_seconds() -> float:
    """CPU seconds that all processes of the machine have used."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, *rest = map(int, file.readline().split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(end: float) -> None:
    """Returns when other processes have rested for a second, or at the time `end`."""
    while time.monotonic() < end:
        others = busy_seconds() - time.process_time()
        time.sleep(1)
        if busy_seconds() - time.process_time() - others < QUIET:
            return


def block(step: Callable) -> tuple[list[float], float]:
    """Seconds of each step of a block, and how many cores other processes used meanwhile."""
    time.sleep(PAUSE_SECONDS)
    step()
    others, start, times = busy_seconds() - time.process_time(), time.perf_counter(), []
    for _ in range(STEPS_PER_BLOCK):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return times, (busy_seconds() - time.process_time() - others) / (time.perf_counter() - start)


def measure(steps: dict[str, Callable], blocks: int, minutes: float) -> dict[str, list[float]]:
    """Seconds of the steps in rounds in which every block was quiet."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    end, rounds, quiet = time.monotonic() + 60 * minutes, 0, 0
    while quiet < blocks and time.monotonic() < end:
        wait_for_quiet(end)
        results = {name: block(step) for name, step in steps.items()}
        rounds += 1
        if max(others for _, others in results.values()) < QUIET:
            quiet += 1
            for name, (seconds, _) in results.items():
                times[name] += seconds
    print(f"{quiet} quiet of {rounds} rounds")
    return times


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("intra", 2), ("inter", 2), ("blocks", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    ours, start = our_step(args.intra, args.inter), time.perf_counter()
    for _ in range(3):
        ours()
    print(f"first three steps, with compilation: {time.perf_counter() - start:.1f} s")
    times = measure({"cactus_tf": ours, "torch": peer_step()}, args.blocks, args.minutes)
    if not times["torch"]:
        print("the machine was never quiet, so there is no figure")
        return 1
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    for name, median in medians.items():
        print(f"{name}: {1000 * median:.1f} ms per step (median of {len(times[name])})")
    print(f"{medians['torch'] / medians['cactus_tf']:.2f} times as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())
