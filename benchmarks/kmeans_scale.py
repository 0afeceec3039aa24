"""K-means of many images into many clusters: what mini-batches lose, and how time grows.

    python benchmarks/kmeans_scale.py [--quality=20000,100000] [--times=10000,100000] [--dim=64] [--seeds=3]

Data are clusters of unequal size in a space of which few directions matter, as embeddings are, in a memory map; k is a
hundredth of the images. The first table has both methods on the same data, one start each: inertia is that of the means
of the clusters, its ratio is of the means over the seeds, and time is that of all cores together, since an exact
k-means has one and mini-batches have all. The second one has one partition as a run makes it, the method chosen by size
(an exact one is then the best of ten). `--times=10000,100000,1000000` takes minutes more.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cactus_tf import partitioners
from cactus_tf.partitioners import kmeans
from cactus_tf.partitioners.kmeans import minibatch as _minibatch
from cactus_tf.partitioners.kmeans.start import cluster_means

PIECE = 50_000  # images


def write_embeddings(path: Path, images: int, dim: int) -> np.ndarray:
    """[images, dim] float32 memory map: twice as many groups as clusters, a decaying spectrum."""
    rng = np.random.default_rng(0)
    groups = 2 * (images // 100)
    spectrum = (1 / np.sqrt(1 + np.arange(dim))).astype(np.float32)
    centres = rng.normal(size=(groups, dim)).astype(np.float32) * spectrum
    shares = rng.dirichlet(np.full(groups, 2.0))
    x = np.lib.format.open_memmap(path, "w+", np.float32, (images, dim))
    for piece in np.split(x, range(PIECE, images, PIECE)):
        noise = rng.standard_normal(piece.shape, np.float32)
        piece[:] = centres[rng.choice(groups, len(piece), p=shares)] + 0.6 * spectrum * noise
    x.flush()
    return np.load(path, mmap_mode="r")


def inertia(x: np.ndarray, assignments: np.ndarray, clusters: int) -> float:
    """Sum of squared distances to the means of the clusters."""
    means = cluster_means(np.asarray(x), assignments, np.asarray(x[:clusters]))
    starts = range(0, len(x), PIECE)
    return sum(
        float(((x[i : i + PIECE] - means[assignments[i : i + PIECE]]) ** 2).sum(dtype=np.float64)) for i in starts
    )


def timed(call: Callable):
    """(what it returns, seconds, seconds of all cores together)."""
    start, used = time.perf_counter(), time.process_time()
    return call(), time.perf_counter() - start, time.process_time() - used


def compare(x: np.ndarray, seeds: int) -> str:
    """A row of the first table."""
    k = len(x) // 100
    methods = {
        "exact": lambda seed: kmeans.fit(x, k, 1, seed),
        "minibatch": lambda seed: _minibatch.fit(_minibatch.Rescaled(x), k, seed),
    }
    runs = {name: [timed(lambda s=seed, m=method: m(s)) for seed in range(seeds)] for name, method in methods.items()}
    seconds = [statistics.median(used for _, _, used in found) for found in runs.values()]
    exact, minibatch = ([inertia(x, labels, k) for labels, *_ in found] for found in runs.values())
    ratio, spread = statistics.mean(minibatch) / statistics.mean(exact), max(exact) / min(exact)
    return f"| {len(x):,} | {k:,} | {seconds[0]:.1f} | {seconds[1]:.1f} | {ratio:.4f} | {spread:.4f} |"


def as_in_a_run(x: np.ndarray) -> str:
    """A row of the second table."""
    k = len(x) // 100
    _, seconds, used = timed(lambda: partitioners.build("kmeans", k, 1)(x, seed=0))
    method = "exact" if kmeans.is_exact("auto", k, *x.shape) else "minibatch"
    return f"| {len(x):,} | {k:,} | {method} | {seconds:.1f} | {used:.1f} | {1e6 * used / len(x):.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quality", default="20000,100000")
    parser.add_argument("--times", default="10000,100000")
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    tables = {
        "| images | clusters | exact, core s | minibatch, core s | inertia ratio | largest / least exact inertia |": (
            args.quality,
            lambda x: compare(x, args.seeds),
        ),
        "| images | clusters | method | s | core s | core us per image |": (args.times, as_in_a_run),
    }
    for head, (sizes, row) in tables.items():
        print(head, "|---" * (head.count("|") - 1) + "|", sep="\n")
        for images in (int(size) for size in sizes.split(",") if size):
            with tempfile.TemporaryDirectory() as folder:
                print(row(write_embeddings(Path(folder) / "x.npy", images, args.dim)), flush=True)


if __name__ == "__main__":
    main()
