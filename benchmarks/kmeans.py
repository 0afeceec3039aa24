"""Partitions beside scikit-learn's k-means with its default start, in turn in one process.

    python benchmarks/kmeans.py [--images=22000 --dim=256 --clusters=500 --partitions=6] [--embeddings=FILE.npy]

Without a file the data are clusters of unequal size in a space of which few directions matter, as embeddings are. Ours
are made as a run makes them, as many at once as there are cores; scikit-learn's one after the other with all threads,
on the same rescaled data. Prints seconds per partition, their ratio, and the ratio of the mean inertias.

On 2 cores (AMD EPYC), otherwise idle: ACAI codes of Omniglot after 2,000 steps 4.27 times as fast at an inertia ratio
of 1.0021 (with Lloyd's form instead of Elkan's 3.48 times); the default data 3.13 times at 1.0081.
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
    centres = rng.normal(size=(2 * clusters, dim)) * spectrum
    sizes = rng.dirichlet(np.full(2 * clusters, 2.0))
    x = centres[rng.choice(2 * clusters, images, p=sizes)] + 0.6 * spectrum * rng.normal(size=(images, dim))
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
    own, usual, seconds = [], [], []
    for p in range(args.partitions):
        x = scaled(z, 0, p)
        start = time.perf_counter()
        usual.append(float(KMeans(args.clusters, n_init=1, random_state=p).fit(x).inertia_))
        seconds.append(time.perf_counter() - start)
        own.append(inertia(x, partitions[p].assignments(len(x)), args.clusters))
    print(f"ours: {ours:.2f} s per partition")
    print(f"scikit-learn: {statistics.median(seconds):.2f} s per partition (median)")
    print(f"times as fast: {statistics.median(seconds) / ours:.2f}")
    print(f"inertia ratio: {statistics.mean(own) / statistics.mean(usual):.4f}")


if __name__ == "__main__":
    main()
