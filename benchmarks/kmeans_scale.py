"""K-means of many images into many clusters: exact and mini-batch, inertia and time.

    python benchmarks/kmeans_scale.py [--quality=20000,100000] [--times=10000,100000] [--dim=64] [--seeds=3]
    python benchmarks/kmeans_scale.py --quality= --times= --sampled=200000 [--samples=25,50]

Data are clusters of unequal size with a decaying spectrum, like real embeddings, in a memory map; k is a hundredth of
the images. The first table runs both methods once per seed on the same data: the inertia ratio is that of the means
over the seeds; time is summed over the cores, since exact k-means uses one and mini-batches use all. The second table
makes one partition as a training run does, with the method chosen by size (exact k-means is then the best of ten). The
third table compares mini-batches whose centers are computed from a sample with those of all images, over the seeds.
`--times=10000,100000,1000000` takes minutes more.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf import partitioners
from cactus_tf.partitioners import kmeans
from cactus_tf.partitioners._rescaled import Rescaled
from cactus_tf.partitioners.kmeans import minibatch
from cactus_tf.partitioners.kmeans.start import cluster_means

CHUNK = 50_000  # images


def write_embeddings(path: Path, images: int, dim: int) -> np.ndarray:
    """[images, dim] float32 memory map: twice as many groups as clusters, a decaying spectrum."""
    rng = np.random.default_rng(0)
    groups = 2 * (images // 100)
    spectrum = (1 / np.sqrt(1 + np.arange(dim))).astype(np.float32)
    centers = rng.normal(size=(groups, dim)).astype(np.float32) * spectrum
    shares = rng.dirichlet(np.full(groups, 2.0))
    x = np.lib.format.open_memmap(path, "w+", np.float32, (images, dim))
    for chunk in np.split(x, range(CHUNK, images, CHUNK)):
        noise = rng.standard_normal(chunk.shape, np.float32)
        chunk[:] = centers[rng.choice(groups, len(chunk), p=shares)] + 0.6 * spectrum * noise
    x.flush()
    return np.load(path, mmap_mode="r")


def inertia(x: np.ndarray, assignments: np.ndarray, clusters: int) -> float:
    """Sum of squared distances to the means of the clusters."""
    means = cluster_means(np.asarray(x), assignments, np.asarray(x[:clusters]))
    starts = range(0, len(x), CHUNK)
    return sum(
        float(((x[i : i + CHUNK] - means[assignments[i : i + CHUNK]]) ** 2).sum(dtype=np.float64)) for i in starts
    )


def timed(call: Callable[[], Any]) -> tuple[Any, float, float]:
    """(its result, wall-clock seconds, seconds summed over the cores)."""
    start, used = time.perf_counter(), time.process_time()
    return call(), time.perf_counter() - start, time.process_time() - used


def compare(x: np.ndarray, seeds: int) -> str:
    """A row of the first table."""
    k = len(x) // 100
    methods = {
        "exact": lambda seed: kmeans.fit(x, k, 1, seed),
        "minibatch": lambda seed: minibatch.fit(Rescaled(x), k, seed),
    }
    runs = {name: [timed(lambda s=seed, m=method: m(s)) for seed in range(seeds)] for name, method in methods.items()}
    seconds = [statistics.median(used for _, _, used in attempts) for attempts in runs.values()]
    exact, batches = ([inertia(x, labels, k) for labels, *_ in attempts] for attempts in runs.values())
    ratio, spread = statistics.mean(batches) / statistics.mean(exact), max(exact) / min(exact)
    return f"| {len(x):,} | {k:,} | {seconds[0]:.1f} | {seconds[1]:.1f} | {ratio:.4f} | {spread:.4f} |"


def in_a_run(x: np.ndarray) -> str:
    """A row of the second table."""
    k = len(x) // 100
    _, seconds, used = timed(lambda: partitioners.build("kmeans", k, 1)(x, seed=0))
    method = "exact" if kmeans.is_exact("auto", k, *x.shape) else "minibatch"
    return f"| {len(x):,} | {k:,} | {method} | {seconds:.1f} | {used:.1f} | {1e6 * used / len(x):.0f} |"


def compare_samples(x: np.ndarray, samples: list[int], seeds: int) -> str:
    """Rows of the third table; the first is of all images."""
    k, rows, first = len(x) // 100, [], 0.0
    for per_cluster in (None, *samples):
        images = kmeans.sample_size(per_cluster, k, len(x))
        runs = [timed(lambda s=seed, m=images: minibatch.fit(Rescaled(x), k, s, m)) for seed in range(seeds)]
        mean = statistics.mean(inertia(x, labels, k) for labels, *_ in runs)
        first = first or mean
        seconds, used = (statistics.median(run[i] for run in runs) for i in (1, 2))
        rows.append(
            f"| {len(x):,} | {k:,} | {per_cluster or 'all'} | {seconds:.1f} | {used:.1f} | {mean / first:.4f} |"
        )
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", default="20000,100000")
    parser.add_argument("--times", default="10000,100000")
    parser.add_argument("--sampled", default="")
    parser.add_argument("--samples", default="25,50")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    tables = {
        "| images | clusters | exact, core s | minibatch, core s | inertia ratio | max / min exact inertia |": (
            args.quality,
            lambda x: compare(x, args.seeds),
        ),
        "| images | clusters | method | s | core s | core us per image |": (args.times, in_a_run),
        "| images | clusters | sample per cluster | s | core s | inertia ratio |": (
            args.sampled,
            lambda x: compare_samples(x, [int(number) for number in args.samples.split(",")], args.seeds),
        ),
    }
    for head, (sizes, row) in tables.items():
        if not sizes:
            continue
        print(head, "|---" * (head.count("|") - 1) + "|", sep="\n")
        for images in (int(size) for size in sizes.split(",") if size):
            with tempfile.TemporaryDirectory() as folder:
                print(row(write_embeddings(Path(folder) / "x.npy", images, args.dim)), flush=True)


if __name__ == "__main__":
    main()
