"""One partition beside scikit-learn's k-means with its default start, in turn in one process.

    python benchmarks/kmeans.py [--images=22000 --dim=256 --clusters=500 --repeats=5] [--embeddings=FILE.npy]

Without a file the data are clusters of unequal size in a space of which few directions matter, as embeddings are. Every
repeat rescales the columns by its own U(0, 1) numbers, as partitions after the first are. Prints seconds per partition
(median), their ratio, and the ratio of the mean inertias (ours to scikit-learn's).
"""

import argparse
import statistics
import time

import numpy as np
from sklearn.cluster import KMeans

from cactus_tf.partitioners.kmeans import cluster_means, fit


def embeddings(images: int, dim: int, clusters: int) -> np.ndarray:
    """[images, dim] float32 with a decaying spectrum and twice as many groups as clusters."""
    rng = np.random.default_rng(0)
    spectrum = 1 / np.sqrt(1 + np.arange(dim))
    centres = rng.normal(size=(2 * clusters, dim)) * spectrum
    sizes = rng.dirichlet(np.full(2 * clusters, 2.0))
    x = centres[rng.choice(2 * clusters, images, p=sizes)] + 0.6 * spectrum * rng.normal(size=(images, dim))
    return x.astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"images": 22_000, "dim": 256, "clusters": 500, "repeats": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--embeddings")
    args = parser.parse_args()
    z = np.load(args.embeddings) if args.embeddings else embeddings(args.images, args.dim, args.clusters)
    seconds: dict[str, list[float]] = {"ours": [], "scikit-learn": []}
    inertia: dict[str, list[float]] = {"ours": [], "scikit-learn": []}
    for repeat in range(args.repeats):
        x = z * np.random.default_rng(repeat).random(z.shape[1], dtype=np.float32)
        start = time.perf_counter()
        ours = fit(x, args.clusters, 1, repeat)
        seconds["ours"].append(time.perf_counter() - start)
        start = time.perf_counter()
        usual = KMeans(args.clusters, n_init=1, random_state=repeat).fit(x)
        seconds["scikit-learn"].append(time.perf_counter() - start)
        means = cluster_means(x, ours, x[: args.clusters])
        inertia["ours"].append(float(((x - means[ours]) ** 2).sum()))
        inertia["scikit-learn"].append(float(usual.inertia_))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    for name, median in medians.items():
        print(f"{name}: {median:.2f} s per partition")
    print(f"times as fast: {medians['scikit-learn'] / medians['ours']:.2f}")
    print(f"inertia ratio: {statistics.mean(inertia['ours']) / statistics.mean(inertia['scikit-learn']):.4f}")


if __name__ == "__main__":
    main()
