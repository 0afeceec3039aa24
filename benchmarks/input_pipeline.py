"""Cost of the input pipeline next to the training step that it feeds.

    python benchmarks/input_pipeline.py [--images=22000]

Prints milliseconds per ProtoNets episode of the Omniglot setting (20-way, 1 shot, 15 queries, 28x28) and per MAML batch
(8 tasks, 20-way, 1 shot, 5 queries), over a memory map on disk with 100 partitions of 500 clusters. Compare with the
step times of protonets_step.py.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from cactus_tf.sampling import Episodes
from cactus_tf.types import AssignedPartitions


def milliseconds(episodes: Episodes, tasks: int, repeats: int) -> float:
    """Median milliseconds per element of the tf.data pipeline, drained as fast as it goes."""
    batches, times = iter(episodes.dataset(tasks)), []
    for _ in range(repeats + 20):
        start = time.perf_counter()
        next(batches)
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[20:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=22_000)
    parser.add_argument("--repeats", type=int, default=300)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, rng.integers(0, 256, (args.images, 28, 28, 1), np.uint8))
        images = np.load(path, mmap_mode="r")
        partitions = AssignedPartitions([rng.integers(0, 500, args.images) for _ in range(100)])
        for name, query, tasks in (("protonets", 15, 1), ("maml", 5, 8)):
            episodes = Episodes(images, partitions, way=20, shot=1, query=query)
            print(f"{name}: {milliseconds(episodes, tasks, args.repeats):.2f} ms per step")


if __name__ == "__main__":
    main()
