"""Compares the time of the input pipeline with the training step that it feeds, in one process.

    python benchmarks/input_pipeline.py [--images=22000] [--repeats=200]

Times the ProtoNets step of the Omniglot setting (20-way, 1 shot, 15 queries, 64 filters, 28x28) and the pipeline
alone, over a memory map on disk with 100 k-means or random partitions of 500 clusters. Prints medians and percentages.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from cactus_tf import learners, partitioners
from cactus_tf.contracts import PartitionContext
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.training import adam, make_train_step
from cactus_tf.types import AssignedPartitions

# isort: split
# TensorFlow comes after cactus_tf, which chooses its faster kernels
import numpy as np
import tensorflow as tf


def milliseconds(call: Callable, repeats: int) -> float:
    """Median milliseconds of a call after a warm-up."""
    times = []
    for _ in range(repeats + 10):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times[10:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=22_000)
    parser.add_argument("--repeats", type=int, default=200)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, rng.integers(0, 256, (args.images, 28, 28, 1), np.uint8))
        images = np.load(path, mmap_mode="r")
        kinds = {
            "k-means": AssignedPartitions([rng.integers(0, 500, args.images) for _ in range(100)]),
            "random": partitioners.build("random", 500, 100)(PartitionContext(images=args.images)),
        }
        learner = learners.build("protonets", image_shape=(28, 28, 1), way=20, filters=64)
        train_step = make_train_step(learner, adam(1e-3), tf.Variable(0, dtype=tf.int64))
        streams = {name: Episodes(images, kind, way=20, shot=1, query=15) for name, kind in kinds.items()}
        batch = next(iter(streams["k-means"].dataset()))
        step = milliseconds(lambda: float(train_step(batch).scalars["loss"]), args.repeats // 4)
        print(f"training step: {step:.1f} ms")
        for name, stream in streams.items():
            batches = iter(stream.dataset())
            cost = milliseconds(lambda batches=batches: next(batches), args.repeats)
            print(f"input pipeline, {name} partitions: {cost:.2f} ms, {100 * cost / step:.1f}% of the step")


if __name__ == "__main__":
    main()
