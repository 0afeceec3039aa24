"""Measures the error of MAML's meta-gradient with Keras' normalization layers; the losses do not show it.

    python benchmarks/keras_norm_error.py [--way=20] [--tasks=8]

The paper's Omniglot setting (1 shot, 5 queries, 32 filters, 5 inner steps, rate 0.05) at its initial weights, on tasks
from k-means of scikit-learn's digits, in float64. Compares the meta-gradient with Keras' layer to the one with ours,
which agrees with finite differences (tests/learners/test_second_order.py). Prints relative errors in norm.
"""

import argparse

from cactus_tf import backbones, datasets, partitioners
from cactus_tf.backbones import BatchStatisticsNorm, ImageStatisticsNorm
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.training import make_task_update
from cactus_tf.learners import maml
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.types import Episode

# isort: split
# TensorFlow comes after cactus_tf, which chooses its faster kernels
import keras
import numpy as np
import tensorflow as tf


class KerasBatchNorm(keras.layers.Layer):
    """Keras' BatchNormalization with the batch's own statistics and without gamma."""

    def __init__(self, name: str):
        super().__init__(name=name, dtype="float64")
        self.inner = keras.layers.BatchNormalization(scale=False, epsilon=1e-3, dtype="float64")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x, training=True)


class KerasLayerNorm(keras.layers.Layer):
    """Keras' LayerNormalization over all axes of an image, without gamma and beta, which start at 1 and 0."""

    def __init__(self, name: str):
        super().__init__(name=name, dtype="float64")
        axes = {"axis": [1, 2, 3], "center": False, "scale": False}
        self.inner = keras.layers.LayerNormalization(epsilon=1e-12, dtype="float64", **axes)

    def call(self, x):
        return self.inner(x)


def meta_gradient(norm, tasks, way: int, first_order: bool):
    """Losses, and the mean meta-gradient of the convolutions and the head."""
    model = backbones.build(
        "conv4",
        (28, 28, 1),
        way,
        filters=32,
        norm=norm,
        pooled=False,
        initializers="glorot",
        head_stddev=1.0,
        dtype="float64",
    )
    kernels = {id(layer.kernel) for layer in model.layers if hasattr(layer, "kernel")}
    network = AdaptedNetwork(model, rates=lambda _: 0.05, adapts=lambda layer: hasattr(layer, "kernel"))
    learner = maml.MAML(network, maml.Options(first_order=first_order), name="maml")
    update = make_task_update(learner)
    results = [update(task) for task in tasks]
    means = [np.mean(parts, axis=0) for parts in zip(*(r.gradients for r in results), strict=True)]
    chosen = [g for v, g in zip(learner.trainable_variables, means, strict=True) if id(v) in kernels]
    return np.array([r.loss for r in results]), chosen


def pseudo_tasks(way: int, number: int) -> list[Episode]:
    """Tasks as in the digits run, with float64 images in 0..1."""
    images = datasets.load("digits").train.images
    clusters = partitioners.build("kmeans", clusters=25, partitions=5)(images.reshape(len(images), -1) / 255.0, seed=0)
    episodes = Episodes(images / 255.0, clusters, way=way, shot=1, query=5)
    return [Episode(*map(tf.constant, episodes[i])) for i in range(number)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--way", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=8)
    args = parser.parse_args()
    tasks = pseudo_tasks(args.way, args.tasks)
    pairs = {
        "BatchNormalization": (KerasBatchNorm, lambda name: BatchStatisticsNorm(name=name, dtype="float64")),
        "LayerNormalization": (KerasLayerNorm, lambda name: ImageStatisticsNorm(name=name, dtype="float64")),
    }
    for name, (theirs, ours) in pairs.items():
        for first_order in (True, False):
            (loss, right), (same, wrong) = (meta_gradient(n, tasks, args.way, first_order) for n in (ours, theirs))
            error = [np.linalg.norm(w - r) / np.linalg.norm(r) for w, r in zip(wrong, right, strict=True)]
            whole = np.sqrt(sum(np.sum((w - r) ** 2) for w, r in zip(wrong, right, strict=True)))
            whole /= np.sqrt(sum(np.sum(r**2) for r in right))
            print(
                f"Keras {name}, {'first' if first_order else 'second'} order: losses differ by "
                f"{np.abs(same / loss - 1).max():.1e}, the meta-gradient by {whole:.2g} of its norm "
                f"({', '.join(f'{e:.2g}' for e in error)} for conv1..4 and head)"
            )


if __name__ == "__main__":
    main()
