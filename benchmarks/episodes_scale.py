"""Time per episode as the number of images and of partitions grows.

    python benchmarks/episodes_scale.py [--images=22000,100000,1000000] [--partitions=1,100,2400] [--episodes=2000]

20-way 1-shot 5-query episodes of 28x28 images in a memory map, 500 clusters per partition. Partitions are random ones,
and ones stored as assignments, as those of k-means are; of a million images no more than 100 of the latter, since each
takes 4 MB once it is in use. Prints the median microseconds of the first 500 and of the last 500 episodes (by then most
partitions have been used), seconds until the first one, and the memory of partitions and sampler at the end.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from memory import resident

from cactus_tf import partitioners
from cactus_tf.contracts import PartitionContext
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.types import AssignedPartitions, Partitions

CLUSTERS = 500
LARGEST = 100_000_000  # images x partitions stored as assignments


def blank(path: Path, images: int) -> np.ndarray:
    """[images, 28, 28, 1] uint8 memory map of an empty file."""
    np.lib.format.open_memmap(path, "w+", np.uint8, (images, 28, 28, 1))
    return np.load(path, mmap_mode="r")


class Assignments:
    """[P, n] assignments in a memory map, as the artifacts of k-means are."""

    def __init__(self, path: Path, images: int, partitions: int):
        rng = np.random.default_rng(0)
        self._rows = np.lib.format.open_memmap(path, "w+", np.int32, (partitions, images))
        for row in self._rows:
            row[:] = rng.integers(CLUSTERS, size=images, dtype=np.int32)

    def __call__(self) -> Partitions:
        return AssignedPartitions(self._rows, CLUSTERS)


def random(images: int, partitions: int) -> Partitions:
    return partitioners.build("random", CLUSTERS, partitions)(PartitionContext(images=images))


def measure(images: np.ndarray, make: Callable[[], Partitions], episodes: int) -> str:
    """The measured cells of a row."""
    before, start = resident()["anonymous"], time.perf_counter()
    stream = Episodes(images, make(), way=20, shot=1, query=5)
    times = []
    for i in range(episodes):
        began = time.perf_counter()
        stream[i]
        times.append(time.perf_counter() - began)
    until = began - start - sum(times[:-1])
    first, last = (1e6 * statistics.median(part) for part in (times[:500], times[-500:]))
    return f"{until:.2f} | {first:.0f} | {last:.0f} | {(resident()['anonymous'] - before) / 1e6:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", default="22000,100000,1000000")
    parser.add_argument("--partitions", default="1,100,2400")
    parser.add_argument("--episodes", type=int, default=2000)
    args = parser.parse_args()
    print(
        "| images | partitions | kind | s until the first | first, us | last, us | MB |\n|---|---|---|---|---|---|---|"
    )
    for n in map(int, args.images.split(",")):
        for p in map(int, args.partitions.split(",")):
            with tempfile.TemporaryDirectory() as folder:
                images = blank(Path(folder) / "images.npy", n)
                kinds: dict[str, Callable[[], Partitions]] = {"random": lambda n=n, p=p: random(n, p)}
                if n * p <= LARGEST:
                    kinds["assigned"] = Assignments(Path(folder) / "assignments.npy", n, p)
                for kind, make in kinds.items():
                    print(f"| {n:,} | {p:,} | {kind} | {measure(images, make, args.episodes)}", flush=True)


if __name__ == "__main__":
    main()
