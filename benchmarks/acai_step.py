"""Speed of ACAI: one training step at the paper's settings, and embedding.

    python benchmarks/acai_step.py [--intra=2] [--inter=2] [--steps=150] [--images=22000]

Prints the median milliseconds per step of Keras' `fit` at batch 64 on 28x28 images (padded to 32x32), input pipeline and
callbacks included, and the seconds per 1000 images embedded.
"""

import argparse
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

from cactus_tf import embedders


class Stopwatch(keras.callbacks.Callback):
    """Takes the time between the ends of successive steps."""

    def __init__(self):
        super().__init__()
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append(time.perf_counter())

    def milliseconds(self, warm_up: int = 10) -> list[float]:
        return [1000 * seconds for seconds in np.diff(self.ends)[warm_up:]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--intra", type=int, default=2, help="threads inside an operation")
    parser.add_argument("--inter", type=int, default=2, help="operations at the same time")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--images", type=int, default=22_000, help="images to embed")
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.intra)
    tf.config.threading.set_inter_op_parallelism_threads(args.inter)
    images = np.random.default_rng(0).integers(0, 256, (args.images, 28, 28, 1), np.uint8)
    watch = Stopwatch()
    embedder = embedders.build("acai", steps=args.steps).fit(images, callbacks=[watch])
    times = watch.milliseconds()
    quartiles = statistics.quantiles(times, n=4)
    print(f"intra {args.intra} inter {args.inter}: {quartiles[1]:.1f} ms per step, quartiles {quartiles[0]:.1f} to {quartiles[2]:.1f}")
    embedder.transform(images[:256])
    start = time.perf_counter()
    embedder.transform(images)
    seconds = time.perf_counter() - start
    print(f"{seconds:.1f} s for {len(images)} images, {1000 * seconds / len(images):.2f} s per 1000")


if __name__ == "__main__":
    main()
