"""Measures how well InfoGAN's categories match the digits of MNIST. Labels are used to measure only.

    python benchmarks/infogan_clusters.py [--data_dir=FOLDER] [--seeds=0,1,2] [--steps=5000] [--folder=FOLDER]
        [--out=FILE]

Fits the embedder on the training images with the paper's settings, takes the most probable category of each test
image, matches categories to digits one to one (Hungarian matching) and prints the accuracy on the test images for each
seed, the best and the median. The best seed is known from the labels only.

With `--folder`, rerun the command to resume a fit from its last checkpoint; finished fits are not repeated.
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
from cactus_tf.utils import sealed
from cactus_tf.utils.machine import machine

HEAD = ["seed", "test images named correctly, %", "categories in use"]


def matched_accuracy(clusters: np.ndarray, labels: np.ndarray) -> float:
    """The accuracy under the best one-to-one matching of clusters to labels.

    Args:
      clusters, labels: [n] integers from 0.
    """
    counts = np.zeros((clusters.max() + 1, labels.max() + 1), int)
    np.add.at(counts, (clusters, labels), 1)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(labels))


def measure(data: Splits, seed: int, steps: int, folder: Path | None) -> tuple[float, int]:
    """Fits with one seed; returns the accuracy on the test images and the number of categories in use."""
    start = time.monotonic()
    embedder = embedders.build("infogan", steps=steps)
    embedder.fit(data.train.images, seed=seed, folder=folder and folder / f"seed-{seed}")
    categories = embedder.transform(data.test.images)[:, :10].argmax(axis=1)
    accuracy = matched_accuracy(categories, data.test.partitions[0].assignments(len(categories)))
    minutes, used = (time.monotonic() - start) / 60, len(np.unique(categories))
    print(f"seed {seed}: {accuracy:.4f}, {used} categories in use, {minutes:.1f} min", flush=True)
    return accuracy, used


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", help="folder with the four files of MNIST; default: $CACTUS_DATA_DIR/mnist")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--folder", type=Path, help="where checkpoints are saved")
    parser.add_argument("--out", type=Path, help="a JSON file of all seeds")
    args = parser.parse_args()
    if not args.data_dir and "CACTUS_DATA_DIR" not in os.environ:
        parser.error("give --data_dir=FOLDER or set CACTUS_DATA_DIR")
    data = datasets.load("mnist", args.data_dir or Path(os.environ["CACTUS_DATA_DIR"]) / "mnist")
    seeds = args.seeds.split(",")
    results = [measure(data, int(seed), args.steps, args.folder) for seed in seeds]
    accuracies = [accuracy for accuracy, _ in results]
    print(f"best {max(accuracies):.4f}, median {statistics.median(accuracies):.4f} of {len(results)}")
    if args.out:
        lines = [
            [seed, f"{100 * accuracy:.2f}", str(used)] for seed, (accuracy, used) in zip(seeds, results, strict=True)
        ]
        sealed.write(args.out, {"steps": args.steps, "machine": machine(), "head": HEAD, "lines": lines})


if __name__ == "__main__":
    main()
