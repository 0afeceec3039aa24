"""How well partitions of one embedding agree with each other, which needs no labels: what chose our defaults on digits.

    python benchmarks/agreement.py [RUN ...] [--clusters=25] [--partitions=8]

Embeds the training images of scikit-learn's digits by `pixels` and by the features of the ProtoNets of each run, makes
k-means partitions of copies with rescaled columns, and prints the mean adjusted mutual information of every two of
them: 1 for the same clusters, 0 for chance.
"""

import argparse
import itertools
import sys

import numpy as np

from cactus_tf import datasets, embedders, partitioners
from cactus_tf.pipeline.rounds import agreement
from cactus_tf.runs import restoring


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--clusters", type=int, default=25)
    parser.add_argument("--partitions", type=int, default=8)
    args = parser.parse_args()
    images = datasets.load("digits").train.images
    embeddings = {"pixels": embedders.build("pixels", "digits").fit(images).transform(images)}
    for run in args.runs:
        embeddings[run] = np.asarray(restoring.restore(run, "protonets").learner.features(images))
    for name, rows in embeddings.items():
        partitions = partitioners.build("kmeans", args.clusters, args.partitions)(rows, seed=0)
        assigned = [partition.assignments(len(rows)) for partition in partitions]
        print(f"{name}: {np.mean([agreement(*pair) for pair in itertools.combinations(assigned, 2)]):.3f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
