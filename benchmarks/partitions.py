"""Partitions by the neighbor graph and by k-means of the same embeddings; true labels only measure.

    python benchmarks/partitions.py [--dataset=omniglot --data_dir=FOLDER | --embeddings=FILE.npy --labels=FILE.npy]
        [--clusters=500] [--pairs=2,5.5] [--seed=0] [--shot_query=6]

Without files, the embeddings are 64 whitened principal components of the pixels of a data set (default: digits).
Prints for each partition the number of clusters with shot + query images or more; the share of the images in them; of
those images, the share whose cluster's majority class is theirs; the mean of this purity over clusters, which tasks
see, as they draw clusters uniformly; the share of all images in the largest cluster; and the adjusted mutual
information with the labels, of the images in these clusters and of all images, where each other image is a cluster of
its own.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from sklearn.metrics import adjusted_mutual_info_score

import cactus_tf as ct
from cactus_tf.types import Partition

HEADER = ("method", "clusters", "coverage", "purity", "mean purity of clusters", "largest", "AMI inside", "AMI of all")


def pixels(dataset: str, data_dir: str | None) -> tuple[np.ndarray, np.ndarray]:
    """[n, 64] embeddings and [n] labels of the training images."""
    train = ct.datasets.load(dataset, data_dir).train
    assert train.partitions
    embedder = ct.embedders.build("pixels", dims=64, whiten=True).fit(train.images)
    return embedder.transform(train.images), train.partitions[0].assignments(len(train))


def measures(partition: Partition, labels: np.ndarray, least: int) -> list[float]:
    """The numbers of a row, of the clusters with at least so many images."""
    found = partition.assignments(len(labels))
    inside = np.isin(found, np.flatnonzero(partition.sizes >= least))
    counts = coo_array((np.ones(inside.sum()), (found[inside], labels[inside]))).toarray()
    sizes, majority = counts.sum(axis=1), counts.max(axis=1)
    used = sizes > 0
    alone = len(partition.sizes) + np.arange(len(labels))
    return [
        np.count_nonzero(used), inside.mean(), majority.sum() / sizes.sum(), (majority[used] / sizes[used]).mean(),
        sizes.max() / len(labels), adjusted_mutual_info_score(labels[inside], found[inside]),
        adjusted_mutual_info_score(labels, np.where(inside, found, alone)),
    ]  # fmt: skip


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data_dir")
    parser.add_argument("--embeddings", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--clusters", default="500")
    parser.add_argument("--pairs", default="2,5.5")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shot_query", type=int, default=6)
    args = parser.parse_args()
    z, labels = (
        (np.load(args.embeddings), np.load(args.labels)) if args.embeddings else pixels(args.dataset, args.data_dir)
    )
    methods = {f"k-means, k = {k}": ct.partitioners.build("kmeans", int(k), 1) for k in args.clusters.split(",")}
    for pairs in args.pairs.split(","):
        methods[f"neighbors, pairs = {pairs}"] = ct.partitioners.build("neighbors", partitions=1, pairs=float(pairs))
    print(f"| {' | '.join(HEADER)} | seconds |\n|{'---|' * (len(HEADER) + 1)}")
    for name, divide in methods.items():
        began = time.monotonic()
        partition = divide(z, seed=args.seed)[0]
        clusters, *shares = measures(partition, labels, args.shot_query)
        numbers = " | ".join(f"{share:.3f}" for share in shares)
        print(f"| {name} | {clusters} | {numbers} | {time.monotonic() - began:.1f} |", flush=True)


if __name__ == "__main__":
    main()
