"""Times one ProtoNets training step and the same step in PyTorch. Requires torch and Linux (to detect other load).

    python benchmarks/protonets_step.py [--intra=2] [--inter=2] [--blocks=8] [--minutes=10]

The paper's Omniglot setting: 20-way, 1 shot, 15 queries, 64 filters, 28x28, from uint8 images to updated weights.
Blocks of our steps and of PyTorch's alternate, with pauses in which idle threads stop spinning; blocks during other
load on the machine are discarded. Prints medians over the remaining blocks, and their number.
"""

import argparse
import sys
import time
from collections.abc import Callable

from side_by_side import measure, report

WAY, SHOT, QUERY, FILTERS, SIZE = 20, 1, 15, 64, 28


def use_threads(intra: int, inter: int) -> None:
    """Threads inside a kernel, and kernels at a time; before TensorFlow does anything."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(intra)
    tf.config.threading.set_inter_op_parallelism_threads(inter)


def our_step(way: int = WAY, query: int = QUERY, augmentation: str | None = None) -> Callable[[], float]:
    """A function that takes one step, as in `meta_train`.

    Args:
      way, query: N and Q of its tasks, of one support image.
      augmentation: of all images, with classes turned; None for plain images.
    """
    import numpy as np
    import tensorflow as tf

    from cactus_tf import augmentations, learners
    from cactus_tf.fewshot.augmenting import EpisodeAugmentation
    from cactus_tf.fewshot.training import adam, make_train_step
    from cactus_tf.types import Episode

    rng = np.random.default_rng(0)
    parts = [rng.integers(0, 256, (1, way, n, SIZE, SIZE, 1), np.uint8) for n in (SHOT, query)]
    batch = Episode(*map(tf.constant, parts), *tf.zeros((2, 1), tf.int64))
    learner = learners.build("protonets", image_shape=(SIZE, SIZE, 1), way=way, filters=FILTERS)
    augment = EpisodeAugmentation(augmentations.build(augmentation), rotate_classes=True) if augmentation else None
    step = make_train_step(learner, adam(1e-3), tf.Variable(0, dtype=tf.int64), augment=augment)
    return lambda: float(step(batch).scalars["loss"])


def peer_step() -> Callable[[], None]:
    import torch_peers

    return torch_peers.protonets_step(way=WAY, shot=SHOT, query=QUERY, filters=FILTERS, size=SIZE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("intra", 2), ("inter", 2), ("blocks", 8)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--minutes", type=float, default=10)
    args = parser.parse_args()
    use_threads(args.intra, args.inter)
    ours, start = our_step(), time.perf_counter()
    for _ in range(3):
        ours()
    print(f"first three steps, including compilation: {time.perf_counter() - start:.1f} s")
    times = measure({"cactus_tf": ours, "torch": peer_step()}, args.blocks, args.minutes)
    return report(times)


if __name__ == "__main__":
    sys.exit(main())
