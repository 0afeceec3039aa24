"""Times an embedder: one training step at its default settings, and embedding.

    python benchmarks/embedder_step.py [--embedder=acai] [--size=28] [--intra=2] [--inter=2] [--steps=150]

Prints the median milliseconds per step of Keras' `fit` at the default batch size, with input pipeline and callbacks,
the quartiles, the CPU time, and the seconds per 1000 images embedded. Images of 28 pixels are gray, others have color.
The median leaves out the work between epochs (`deepcluster`). The settings are those of Omniglot.
"""

import argparse
import statistics
import time

from cactus_tf import embedders

# isort: split
# TensorFlow comes after cactus_tf, which chooses its faster kernels
import keras
import numpy as np
import tensorflow as tf


class Stopwatch(keras.callbacks.Callback):
    """Records wall time and CPU time at the end of every step."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append((time.perf_counter(), time.process_time()))

    def milliseconds(self, warm_up: int = 10) -> np.ndarray:
        """[2, steps]: wall and CPU milliseconds of each step after the warm-up."""
        return 1000 * np.diff(self.ends, axis=0)[warm_up:].T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="acai")
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--intra", type=int, default=2, help="threads inside an operation")
    parser.add_argument("--inter", type=int, default=2, help="operations at the same time")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--images", type=int, default=22_000, help="images to embed")
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.intra)
    tf.config.threading.set_inter_op_parallelism_threads(args.inter)
    shape = (args.images, args.size, args.size, 1 if args.size == 28 else 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    watch = Stopwatch()
    embedder = embedders.build(args.embedder, dataset="omniglot", steps=args.steps).fit(images, callbacks=[watch])
    wall, cpu = watch.milliseconds()
    low, median, high = statistics.quantiles(wall, n=4)
    print(f"intra {args.intra}, inter {args.inter}: {median:.1f} ms per step, quartiles {low:.1f} and {high:.1f}")
    print(f"{statistics.median(cpu):.1f} ms of CPU time per step, which depends less on other programs")
    embedder.transform(images[:256])
    start = time.perf_counter()
    embedder.transform(images)
    seconds = time.perf_counter() - start
    print(f"{seconds:.1f} s for {len(images)} images, {1000 * seconds / len(images):.2f} s per 1000")


if __name__ == "__main__":
    main()
