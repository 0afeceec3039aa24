"""A network that predicts the cluster of an image, and cluster matching on its predictions.

This is the authors' `cluster_fit_color` on MNIST, which their command line does not offer. It is not in the paper's
tables. Network and clusters are held in memory; another run trains them again, from the same seed.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.config.schema import option
from cactus_tf.contracts import LearnerContext, LearnerInfo
from cactus_tf.errors import InputError
from cactus_tf.fewshot.losses import unit_range
from cactus_tf.learners._clusters import TrainingClusters, votes
from cactus_tf.types import Array
from cactus_tf.utils.keras_defaults import keras_defaults
from cactus_tf.utils.seeds import derive

INFO = LearnerInfo(title="cluster network", uses_embeddings=True, uses_clusters=True)

_LAYERS, _FILTERS, _BATCH = 4, 32, 500
_NO_VOTE = 1e-6  # below any fraction of votes; its logarithm is finite


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of the network that predicts clusters; their number is --clusters."""

    epochs: int = option(
        25, "passes over the training images, in batches of 500", low=1, source="Hsu et al. 2019, code"
    )
    starts: int = option(
        20,
        "k-means starts on the training embeddings; the best is used",
        low=1,
        source="ours; Hsu et al. 2019, code: 1000",
    )


def build(context: LearnerContext, options: Options | None = None) -> ClusterNetwork:
    """The learner; the training images and embeddings are needed at the first answer or `prepare`."""
    options = options or Options()
    return ClusterNetwork(context, TrainingClusters("cluster_network", context, options.starts), options.epochs)


class ClusterNetwork:
    """A query takes the majority label of the support images for which the network predicts the same cluster.

    Ties go to the smallest label; a query without a support image in its cluster gets label 0.

    Args:
      context: holds the training images and the seed.
      clusters: of their embeddings.
      epochs: of training.

    Attributes:
      unanswered: tasks in which no query has a support image in its cluster, so that all get label 0.
    """

    consumes: Literal["images", "embeddings"] = "images"

    def __init__(self, context: LearnerContext, clusters: TrainingClusters, epochs: int):
        self._context, self._clusters, self._epochs, self.unanswered = context, clusters, epochs, 0

    def prepare(self) -> None:
        """Trains the network, unless that has been done."""
        _ = self.network

    @functools.cached_property
    def network(self) -> keras.Model:
        """From [n, h, w, c] float32 in 0..1 to [n, k] logits, trained on the clusters by Adam."""
        images = self._context.images
        if images is None:
            raise InputError("cluster_network learns from the training images, but the context has none")
        model = _network(images.shape[1:], self._context.clusters, self._context.seed)
        batches = _batches(images, self._clusters.assignments, derive(self._context.seed, "order of images"))
        model.fit(batches, epochs=self._epochs, shuffle=False, verbose=0)  # `batches` shuffles
        return model

    def features(self, images: Array) -> np.ndarray:
        """[n, h, w, c] -> [n, 1] float32: the predicted cluster."""
        chunks = [images[i : i + _BATCH] for i in range(0, len(images), _BATCH)]
        predicted = [self.network(unit_range(chunk), training=False).numpy().argmax(1) for chunk in chunks]
        return np.concatenate(predicted).astype(np.float32)[:, None]

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> np.ndarray:
        """Logarithms [m, way] float32 of the fractions of votes, log 1e-6 for none."""
        return self.classify_features(self.features(support), support_labels, self.features(query), way)

    def classify_features(self, support: Array, support_labels: Array, query: Array, way: int) -> np.ndarray:
        """As `classify`, on predicted clusters."""
        of_support, of_query = (np.asarray(x)[:, 0].astype(int) for x in (support, query))
        counts = votes(of_support, np.asarray(support_labels), self._context.clusters, way)[of_query]
        self.unanswered += not counts.any()
        fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        return np.log(np.maximum(fractions, _NO_VOTE)).astype(np.float32)


@keras_defaults()
def _network(image_shape: tuple[int, ...], clusters: int, seed: int) -> keras.Model:
    def start(name: str) -> keras.initializers.Initializer:
        return keras.initializers.GlorotUniform(derive(seed, f"cluster_network {name}") % 2**32)

    layers = [
        keras.layers.Conv2D(_FILTERS, 3, 2, "same", activation="relu", kernel_initializer=start(f"conv{i}"))
        for i in range(_LAYERS)
    ]
    head = keras.layers.Dense(clusters, kernel_initializer=start("head"))
    model = keras.Sequential([keras.Input(image_shape), *layers, keras.layers.Flatten(), head])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return model


def _batches(images: np.ndarray, clusters: np.ndarray, seed: int) -> tf.data.Dataset:
    """Batches (images in 0..1, clusters), reshuffled every epoch; images are read batch by batch."""

    def read(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return images[numbers], clusters[numbers].astype(np.int32)

    def load(numbers: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        x, y = tf.numpy_function(read, [numbers], [tf.as_dtype(images.dtype), tf.int32])
        return unit_range(tf.ensure_shape(x, (None, *images.shape[1:]))), tf.ensure_shape(y, (None,))

    order = tf.data.Dataset.range(len(images)).shuffle(len(images), seed=seed, reshuffle_each_iteration=True)
    return order.batch(_BATCH).map(load).prefetch(2)
