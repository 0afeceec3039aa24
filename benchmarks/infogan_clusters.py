"""How well InfoGAN's categories are the digits of MNIST; labels only measure.

    python benchmarks/infogan_clusters.py [--data_dir=FOLDER] [--seeds=0,1,2] [--steps=5000] [--folder=FOLDER]

Fits the embedder on the training images with the paper's settings, takes the most probable category of each test image,
gives every category the digit that makes most answers right (each digit once: Hungarian matching) and prints the
fraction of test images that are then right, per seed, the best and the median. Which seed is best only the labels tell.

With `--folder` a fit that was stopped goes on from its last checkpoint, and one that was finished is not repeated.
"""

import argparse
import os
import statistics
import time
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from cactus_tf import datasets, embedders
from cactus_tf.types import Splits


def matched_accuracy(clusters: np.ndarray, labels: np.ndarray) -> float:
    """The fraction that is right when each cluster stands for one label, no two for the same, in the best such way.

    Args:
      clusters, labels: [n] from 0.
    """
    together = np.zeros((clusters.max() + 1, labels.max() + 1), int)
    np.add.at(together, (clusters, labels), 1)
    return float(together[linear_sum_assignment(together, maximize=True)].sum() / len(labels))


def measure(data: Splits, seed: int, steps: int, folder: Path | None) -> float:
    """Fits with one seed and returns the accuracy on the test images."""
    start = time.monotonic()
    embedder = embedders.build("infogan", steps=steps)
    embedder.fit(data.train.images, seed=seed, folder=folder and folder / f"seed-{seed}")
    categories = embedder.transform(data.test.images)[:, :10].argmax(axis=1)
    accuracy = matched_accuracy(categories, data.test.partitions[0].assignments(len(categories)))
    minutes, used = (time.monotonic() - start) / 60, len(np.unique(categories))
    print(f"seed {seed}: {accuracy:.4f}, {used} categories in use, {minutes:.1f} min", flush=True)
    return accuracy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", help="folder with the four files of MNIST; unsaid $CACTUS_DATA_DIR/mnist")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help="keeps checkpoints")
    args = parser.parse_args()
    if not args.data_dir and "CACTUS_DATA_DIR" not in os.environ:
        parser.error("say --data_dir=FOLDER, or set CACTUS_DATA_DIR")
    data = datasets.load("mnist", args.data_dir or Path(os.environ["CACTUS_DATA_DIR"]) / "mnist")
    results = [measure(data, int(seed), args.steps, args.folder) for seed in args.seeds.split(",")]
    print(f"best {max(results):.4f}, median {statistics.median(results):.4f} of {len(results)}")


if __name__ == "__main__":
    main()
