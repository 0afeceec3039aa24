"""Partitions by k-means compared with scikit-learn's default k-means, in one process.

    python benchmarks/kmeans.py [--images=22000 --dim=256 --clusters=500 --partitions=6] [--embeddings=FILE.npy]

Without a file the data are clusters of unequal size with a decaying spectrum, like real embeddings. Ours run as in a
training run, one per core; scikit-learn's run one after the other with all threads, on the same rescaled data. Prints
seconds per partition, their ratio, and the ratio of the mean inertias.

On 2 idle cores (AMD EPYC): ACAI codes of Omniglot after 2,000 steps 4.27 times as fast at an inertia ratio of 1.0021
(3.48 times with Lloyd's algorithm instead of Elkan's); the default data 3.13 times at 1.0081.

Starts of k-means on a busy machine, one thread each, inertia and core seconds relative to `coarse_start`:

| start | digits pixels, 1,000 x 784, k = 25 | 20,000 x 64, k = 500 | default data, 22,000 x 256, k = 500 |
|---|---|---|---|
| coarse_start | 1, 0.11 s | 1, 2.7 s | 1, 5.8 s |
| random | 1.017, 0.3 times | 1.033, 0.3 times | 1.044, 1.0 times |
| k-means++ | 1.003, 1.1 times | 1.001, 1.5 times | 0.994, 2.5 times |
| k-means++ on 16 images per cluster | | | 1.001, 1.3 times |
"""

import argparse
import statistics
import time

import numpy as np
from sklearn.cluster import KMeans

from cactus_tf import partitioners
from cactus_tf.partitioners.kmeans.start import cluster_means
from cactus_tf.utils.seeds import counter_rng


def embeddings(images: int, dim: int, clusters: int) -> np.ndarray:
    """[images, dim] float32 with a decaying spectrum and twice as many groups as clusters."""
    rng = np.random.default_rng(0)
    spectrum = 1 / np.sqrt(1 + np.arange(dim))
    centers = rng.normal(size=(2 * clusters, dim)) * spectrum
    sizes = rng.dirichlet(np.full(2 * clusters, 2.0))
    x = centers[rng.choice(2 * clusters, images, p=sizes)] + 0.6 * spectrum * rng.normal(size=(images, dim))
    return x.astype(np.float32)


def scaled(z: np.ndarray, seed: int, p: int) -> np.ndarray:
    """The embeddings that partition p of this seed clusters."""
    return z if p == 0 else z * counter_rng(seed, p).random(z.shape[1], dtype=np.float32)


def inertia(x: np.ndarray, assignments: np.ndarray, clusters: int) -> float:
    """Sum of squared distances to the cluster means."""
    means = cluster_means(x, assignments, x[:clusters])
    return float(((x - means[assignments]) ** 2).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"images": 22_000, "dim": 256, "clusters": 500, "partitions": 6}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--embeddings")
    args = parser.parse_args()
    z = np.load(args.embeddings) if args.embeddings else embeddings(args.images, args.dim, args.clusters)
    start = time.perf_counter()
    partitions = partitioners.build("kmeans", args.clusters, args.partitions)(z, seed=0)
    ours = (time.perf_counter() - start) / args.partitions
    own_inertia, other_inertia, seconds = [], [], []
    for p in range(args.partitions):
        x = scaled(z, 0, p)
        start = time.perf_counter()
        other_inertia.append(float(KMeans(args.clusters, n_init=1, random_state=p).fit(x).inertia_))
        seconds.append(time.perf_counter() - start)
        own_inertia.append(inertia(x, partitions[p].assignments(len(x)), args.clusters))
    print(f"ours: {ours:.2f} s per partition")
    print(f"scikit-learn: {statistics.median(seconds):.2f} s per partition (median)")
    print(f"times as fast: {statistics.median(seconds) / ours:.2f}")
    print(f"inertia ratio: {statistics.mean(own_inertia) / statistics.mean(other_inertia):.4f}")


if __name__ == "__main__":
    main()
