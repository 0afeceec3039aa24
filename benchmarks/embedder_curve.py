"""Measures the quality of an embedder over its training. Labels are used to measure, never to choose.

    python benchmarks/embedder_curve.py --embedder=acai --steps=32000 --dataset=omniglot --data_dir=DATA --folder=FOLDER

During one fit, at steps 250, 500, 1000, ... and at the end, prints and appends to FOLDER/curve.csv: the seconds of
training so far, the accuracy of nearest neighbors on test episodes of the data set's evaluation ways and shots, and
the purity and normalized mutual information of one k-means partition of the training images with their true classes.
--at=0,100 adds steps; step 0 is the untrained network. Rerun the command to resume. If the learning rate decays
(bigan), a point shows that step of a training of length --steps, which differs from a training that ends there.
"""

import argparse
import csv
import functools
import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cactus_tf import datasets, embedders, learners, partitioners
from cactus_tf.config.presets import Preset, preset
from cactus_tf.embedders._base.image_arrays import in_chunks
from cactus_tf.fewshot import evaluation
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.types import Splits
from cactus_tf.utils import files, sealed
from cactus_tf.utils.machine import machine

# isort: split
# TensorFlow comes after cactus_tf, which chooses its faster kernels
import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix
from threadpoolctl import threadpool_limits

Rows = Sequence[Mapping[str, Any]]
"""By measured step: the columns of curve.csv."""

FIRST, TICK = 250, 50  # the first milestone; steps between records of the time


def milestones(steps: int) -> set[int]:
    """250, 500, 1000, ... and the end."""
    return {*(FIRST * 2**i for i in range(20) if FIRST * 2**i <= steps), steps}


def purity(clusters: np.ndarray, classes: np.ndarray) -> float:
    """Fraction of the images that belong to the commonest class of their cluster."""
    return contingency_matrix(classes, clusters).max(axis=0).sum() / len(classes)


class Quality:
    """Measures embeddings of a data set.

    Args:
      data: splits with labels.
      defaults: evaluation ways and shots, and number of clusters.
      episodes: number of episodes of each way and shot.
    """

    def __init__(self, data: Splits, defaults: Preset, episodes: int):
        self._data, self._defaults, self._episodes = data, defaults, episodes
        self._classes = data.train.partitions[0].assignments(len(data.train.images))

    def __call__(self, transform) -> dict[str, float]:
        """Accuracies in %, purity and mutual information for a function from images to embeddings."""
        scores = self._neighbors(transform(self._data.test.images))
        partitioner = partitioners.build("kmeans", clusters=self._defaults.clusters, partitions=1)
        (partition,) = partitioner(transform(self._data.train.images), seed=0)
        clusters = partition.assignments(len(self._classes))
        scores["purity"] = purity(clusters, self._classes)
        scores["nmi"] = normalized_mutual_info_score(self._classes, clusters)
        return scores

    def _neighbors(self, rows: np.ndarray) -> dict[str, float]:
        learner = learners.build("nearest_neighbours", image_shape=self._data.image_shape, way=5)
        scores = {}
        for way in self._defaults.eval_ways:
            for shot in self._defaults.eval_shots:
                tasks = Episodes(rows, self._data.test.partitions, way=way, shot=shot, query=5, seed=1)
                scores[f"nn {way}-way {shot}-shot"] = 100 * evaluation.evaluate(learner, tasks, self._episodes).mean
        return scores


class Curve(keras.callbacks.Callback):
    """Measures at the milestones; its clock excludes the time of measuring."""

    def __init__(self, path: Path, at: set[int], quality: Quality, images: np.ndarray, store: Callable[[Rows], None]):
        super().__init__()
        self._store = store
        self._path, self._at, self._quality, self._images = path, at, quality, images
        self.rows = list(csv.DictReader(path.open())) if path.exists() else []
        self._clock = path.with_name("seconds.json")
        self._ticks = {int(k): v for k, v in files.read_json(self._clock).items()} if self._clock.exists() else {}
        self._spent, self._since, self._first = 0.0, time.perf_counter(), True

    def on_train_begin(self, logs=None):
        self._since = time.perf_counter()

    def on_train_batch_begin(self, batch, logs=None):
        if self._first:  # the fit resumes at its checkpoint; later rows are measured again
            self._first, self._since = False, time.perf_counter()
            self.rows = [row for row in self.rows if int(row["step"]) <= batch]
            self._spent = max((s for step, s in self._ticks.items() if step <= batch), default=0.0)
        if batch == 0 and 0 in self._at:
            self.measure(0)

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 in self._at:
            self.measure(batch + 1)
        elif (batch + 1) % TICK == 0:
            self.tick(batch + 1)

    def tick(self, step: int) -> None:
        """Records the seconds of training up to this step."""
        self._spent += time.perf_counter() - self._since
        self._since = time.perf_counter()
        self._ticks[step] = self._spent
        files.write_json(self._clock, self._ticks)

    def measure(self, step: int) -> None:
        """Adds a row for the step if there is none."""
        self.tick(step)
        if not any(int(row["step"]) == step for row in self.rows):
            self.model.finish(self._images)
            encode = tf.function(self.model.encode, reduce_retracing=True)
            transform = functools.partial(in_chunks, lambda part: encode(part).numpy())
            row = {"step": step, "seconds": round(self._spent, 1), **self._quality(transform)}
            self.rows.append(row)
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, list(row))
            writer.writeheader()
            writer.writerows(self.rows)
            files.write_atomic(self._path, lambda file: file.write(text.getvalue().encode()))
            print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()), flush=True)
        self._store(self.rows)
        self._since = time.perf_counter()


def table(embedder: str, rows: Rows) -> dict[str, list]:
    """Head and lines: accuracies in %, purity and mutual information at each step."""
    scores = [column for column in rows[0] if column.startswith("nn ")]
    head = ["embedder", "step", *(column.removeprefix("nn ") for column in scores), "purity", "mutual information"]
    lines = [
        [
            *(embedder, f"{int(row['step']):,}"),
            *(f"{float(row[column]):.2f}" for column in scores),
            *(f"{float(row[column]):.3f}" for column in ("purity", "nmi")),
        ]
        for row in rows
    ]
    return {"head": head, "lines": lines}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="acai")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data_dir")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--at", default="", help="additional steps to measure at, comma-separated")
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints and curve.csv are saved")
    parser.add_argument("--out", type=Path, help="a JSON file of the curve so far, without the seconds")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    data = datasets.load(args.dataset, data_dir=args.data_dir)
    at = milestones(args.steps) | {int(step) for step in args.at.split(",") if step}
    quality = Quality(data, preset(args.dataset), args.episodes)
    about = {"embedder": args.embedder, "dataset": args.dataset, "seed": args.seed, "episodes": args.episodes}

    def store(rows: Rows) -> None:
        if args.out:
            sealed.write(args.out, {**about, "machine": machine(), **table(args.embedder, rows)})

    curve = Curve(args.folder / "curve.csv", at, quality, data.train.images, store)
    embedder = embedders.build(args.embedder, dataset=args.dataset, steps=args.steps)
    with threadpool_limits(1):
        embedder.fit(data.train.images, seed=args.seed, folder=args.folder, callbacks=[curve])
    if not curve.rows:
        parser.error(f"--folder={args.folder} has a finished fit without curve.csv: name another folder")
    store(curve.rows)  # of a fit that had ended before, too


if __name__ == "__main__":
    main()
