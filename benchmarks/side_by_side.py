"""Times steps of several programs in alternation, in one process, while the machine is otherwise idle."""

import os
import statistics
import time
from collections.abc import Callable

import cactus_tf  # noqa: F401  turns oneDNN on before the steps load TensorFlow

STEPS_PER_BLOCK, PAUSE_SECONDS, QUIET = 6, 0.3, 0.05


def busy_seconds() -> float:
    """CPU seconds used by all processes of the machine."""
    with open("/proc/stat") as file:
        user, nice, system, _, _, *rest = map(int, file.readline().split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def wait_for_quiet(end: float) -> None:
    """Waits until other processes have been idle for a second, at most until the time `end`."""
    while time.monotonic() < end:
        others = busy_seconds() - time.process_time()
        time.sleep(1)
        if busy_seconds() - time.process_time() - others < QUIET:
            return


def block(step: Callable) -> tuple[list[float], float]:
    """Seconds of each step of a block, and the number of cores used by other processes meanwhile."""
    time.sleep(PAUSE_SECONDS)
    step()
    others, start, times = busy_seconds() - time.process_time(), time.perf_counter(), []
    for _ in range(STEPS_PER_BLOCK):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return times, (busy_seconds() - time.process_time() - others) / (time.perf_counter() - start)


def measure(steps: dict[str, Callable], blocks: int, minutes: float) -> dict[str, list[float]]:
    """Seconds of the steps in rounds without other load.

    A round in which other processes used more than 5% of a core is discarded: contention slows PyTorch's two spinning
    threads several times more than ours and would inflate the ratio.
    """
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


def report(times: dict[str, list[float]]) -> int:
    """Prints medians and the speed of the first relative to the last; returns the exit code."""
    if not all(times.values()):
        print("no result: the machine was never idle")
        return 1
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    for name, median in medians.items():
        print(f"{name}: {1000 * median:.1f} ms per step (median of {len(times[name])})")
    first, *_, last = medians
    print(f"{medians[last] / medians[first]:.2f} times as fast")
    return 0
