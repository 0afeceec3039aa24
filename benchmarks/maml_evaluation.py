"""Times the evaluation of MAML at the paper's settings: 5-way 5-shot, 50 steps.

    python benchmarks/maml_evaluation.py [--episodes=1000] [--way=5] [--shot=5] [--intra=1] [--inter=2]

Prints the seconds, including compilation, for 28x28 images and 32 filters.
"""

import argparse
import time

from cactus_tf import learners
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import adaptation_accuracies
from cactus_tf.types import AssignedPartitions

# isort: split
# TensorFlow comes after cactus_tf, which chooses its faster kernels
import numpy as np
import tensorflow as tf


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"episodes": 1000, "way": 5, "shot": 5, "intra": 1, "inter": 2}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(args.intra)
    tf.config.threading.set_inter_op_parallelism_threads(args.inter)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 256, (8460, 28, 28, 1), np.uint8)
    classes = AssignedPartitions([np.repeat(np.arange(423), 20)])
    learner = learners.build("maml", image_shape=(28, 28, 1), way=20)
    start = time.perf_counter()
    adaptation_accuracies(learner, Episodes(rows, classes, way=args.way, shot=args.shot, query=5), args.episodes)
    seconds = time.perf_counter() - start
    print(f"{args.episodes} episodes, {learner.eval_steps} steps each: {seconds:.1f} s")


if __name__ == "__main__":
    main()
