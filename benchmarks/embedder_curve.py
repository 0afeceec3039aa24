"""How good an embedder is after so many steps of its training; labels measure only, nothing is chosen by them.

    python benchmarks/embedder_curve.py --embedder=acai --steps=32000 --dataset=omniglot --data_dir=FOLDER --folder=KEPT

During one fit, at every power of two from 250 steps on and at the end, prints and adds to KEPT/curve.csv: the seconds
of training so far, the accuracy of nearest neighbours on test episodes of each way and shot that the data set is judged
at, and the purity and normalised mutual information of one k-means partition of the training images with their true
classes. Stopped, the same command goes on; lengths below 250 and the untrained network (step 0) can be asked for with
--at=0,100. An embedder whose rate decays (bigan) is at each point as far as a training of --steps is there, not as one
that ends there.
"""

import argparse
import csv
import functools
import io
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from threadpoolctl import threadpool_limits

from cactus_tf import datasets, embedders, learners, partitioners
from cactus_tf.config.presets import Preset, preset
from cactus_tf.embedders._base.image_arrays import in_chunks
from cactus_tf.fewshot import evaluation
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.types import Splits
from cactus_tf.utils import files

FIRST, TICK = 250, 50  # the first milestone; steps between notes of the time


def milestones(steps: int) -> set[int]:
    """250, 500, 1000, ... and the end."""
    return {*(FIRST * 2**i for i in range(20) if FIRST * 2**i <= steps), steps}


def purity(clusters: np.ndarray, classes: np.ndarray) -> float:
    """Fraction of the images that belong to the commonest class of their cluster."""
    return contingency_matrix(classes, clusters).max(axis=0).sum() / len(classes)


class Quality:
    """What embeddings of a data set are worth.

    Args:
      data: with labels, which are only measured against.
      defaults: ways, shots and clusters of the data set.
      episodes: of each way and shot.
    """

    def __init__(self, data: Splits, defaults: Preset, episodes: int):
        self._data, self._defaults, self._episodes = data, defaults, episodes
        self._classes = data.train.partitions[0].assignments(len(data.train.images))

    def __call__(self, transform) -> dict[str, float]:
        """Accuracies in %, purity and mutual information for a function from images to embeddings."""
        found = self._neighbours(transform(self._data.test.images))
        divide = partitioners.build("kmeans", clusters=self._defaults.clusters, partitions=1)
        (partition,) = divide(transform(self._data.train.images), seed=0)
        clusters = partition.assignments(len(self._classes))
        found["purity"] = purity(clusters, self._classes)
        found["nmi"] = normalized_mutual_info_score(self._classes, clusters)
        return found

    def _neighbours(self, rows: np.ndarray) -> dict[str, float]:
        learner = learners.build("nearest_neighbours", image_shape=self._data.image_shape, way=5)
        found = {}
        for way in self._defaults.eval_ways:
            for shot in self._defaults.eval_shots:
                tasks = Episodes(rows, self._data.test.partitions, way=way, shot=shot, query=5, seed=1)
                found[f"nn {way}-way {shot}-shot"] = 100 * evaluation.evaluate(learner, tasks, self._episodes).mean
        return found


class Curve(keras.callbacks.Callback):
    """Measures at the milestones, and keeps the seconds of training apart from those of measuring."""

    def __init__(self, path: Path, at: set[int], quality: Quality, images: np.ndarray):
        super().__init__()
        self._path, self._at, self._quality, self._images = path, at, quality, images
        self._rows = list(csv.DictReader(path.open())) if path.exists() else []
        self._clock = path.with_name("seconds.json")
        self._ticks = {int(k): v for k, v in files.read_json(self._clock).items()} if self._clock.exists() else {}
        self._spent, self._since, self._first = 0.0, time.perf_counter(), True

    def on_train_begin(self, logs=None):
        self._since = time.perf_counter()

    def on_train_batch_begin(self, batch, logs=None):
        if self._first:  # the fit goes on at the step of its checkpoint: what came after that is made again
            self._first, self._since = False, time.perf_counter()
            self._rows = [row for row in self._rows if int(row["step"]) <= batch]
            self._spent = max((s for step, s in self._ticks.items() if step <= batch), default=0.0)
        if batch == 0 and 0 in self._at:
            self.measure(0)

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 in self._at:
            self.measure(batch + 1)
        elif (batch + 1) % TICK == 0:
            self.tick(batch + 1)

    def tick(self, step: int) -> None:
        """Notes the seconds of training up to this step."""
        self._spent += time.perf_counter() - self._since
        self._since = time.perf_counter()
        self._ticks[step] = self._spent
        files.write_json(self._clock, self._ticks)

    def measure(self, step: int) -> None:
        """Adds a row, unless the step has one."""
        self.tick(step)
        if not any(int(row["step"]) == step for row in self._rows):
            self.model.finish(self._images)
            encode = tf.function(self.model.encode, reduce_retracing=True)
            transform = functools.partial(in_chunks, lambda part: encode(part).numpy())
            row = {"step": step, "seconds": round(self._spent, 1), **self._quality(transform)}
            self._rows.append(row)
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, list(row))
            writer.writeheader()
            writer.writerows(self._rows)
            files.write_atomic(self._path, lambda file: file.write(text.getvalue().encode()))
            print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
        self._since = time.perf_counter()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="acai")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data_dir")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--at", default="", help="further steps to measure at, comma-separated")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="keeps checkpoints and curve.csv")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    data = datasets.load(args.dataset, data_dir=args.data_dir)
    at = milestones(args.steps) | {int(step) for step in args.at.split(",") if step}
    quality = Quality(data, preset(args.dataset), args.episodes)
    curve = Curve(args.folder / "curve.csv", at, quality, data.train.images)
    embedder = embedders.build(args.embedder, dataset=args.dataset, steps=args.steps)
    with threadpool_limits(1):
        embedder.fit(data.train.images, seed=args.seed, folder=args.folder, callbacks=[curve])


if __name__ == "__main__":
    main()
