"""Prototypical networks: a query belongs to the class whose mean embedding is nearest. Snell et al. 2017."""

from __future__ import annotations

import dataclasses
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from cactus_tf import plugins
from cactus_tf.backbones import NormFactory, RunningBatchNorm
from cactus_tf.config.schema import TrainingSettings, option
from cactus_tf.contracts import LearnerContext, LearnerInfo
from cactus_tf.errors import InputError
from cactus_tf.fewshot.losses import (
    episode_labels,
    fraction_correct,
    labeled_prototypes,
    prototypes,
    query_loss,
    squared_distances,
    unit_range,
)
from cactus_tf.learners._inputs import flat_rows, network_input, network_name
from cactus_tf.types import Array, Episode, TaskLoss
from cactus_tf.utils.seeds import derive

DEFAULTS = TrainingSettings(
    backbone="conv4", filters=64, norm="running", on_embeddings=False, query=15, tasks_per_step=1
)
"""Meta-training of CACTUs-ProtoNets on every data set."""
_SOURCE = "Hsu et al. 2019, table 6 (query, tasks_per_step) and scripts (network)"

INFO = LearnerInfo(title="ProtoNets", training=DEFAULTS, source=_SOURCE, exportable=True)

_CHUNK = 128  # images of one forward pass; the largest activation, 64 filters at 84x84, takes 231 MB


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of ProtoNets alone."""

    legacy_gain: bool = option(
        False,
        "initialize the gamma of batch norm uniformly in 0..1 instead of as 1",
        source="ours; Hsu et al. 2019, code: true, the default of PyTorch 0.4",
    )


def build(context: LearnerContext, options: Options | None = None) -> ProtoNets:
    """ProtoNets with an encoder of random weights.

    Raises:
      InputError: a norm that mixes images outside training, or images that the backbone cannot take.
    """
    consumes, shape = network_input(context)
    return ProtoNets(_encoder(context, shape, options or Options()), consumes)


class ProtoNets:
    """A meta-learned encoder f; logits are -|f(x) - c_k|^2 to the class means c_k. Snell et al. 2017, eq. 2.

    Batch norm uses the statistics of the whole episode, support and queries together, in training and running averages
    afterwards, so an image's features depend on that image alone.

    Args:
      encoder: Keras model from [n, h, w, c] float32 in 0..1, or from embeddings, to [n, dim].
      consumes: which of them.
    """

    gradient_clip: float | None = None
    vectorized = False
    remedy = ""

    def __init__(self, encoder: keras.Model, consumes: Literal["images", "embeddings"] = "images"):
        self.encoder, self.consumes = encoder, consumes
        spec = tf.TensorSpec(encoder.input_shape, tf.float32)
        self._encode = tf.function(lambda images: encoder(images, training=False), input_signature=[spec])

    @property
    def trainable_variables(self) -> list:
        """Kernels, biases, gammas and betas."""
        return self.encoder.trainable_variables

    @property
    def variables(self) -> list:
        """The trained variables and the running averages."""
        return self.encoder.variables

    def training_loss(self, episode: Episode) -> TaskLoss:
        """Mean cross-entropy of the queries, and their accuracy; updates the running averages.

        Args:
          episode: support [way, shot, h, w, c] and query [way, query, h, w, c], uint8 in 0..255 or float32 in 0..1.
        """
        way, shot = episode.support.shape[:2]
        images = tf.concat([flat_rows(episode.support), flat_rows(episode.query)], axis=0)
        features = self.encoder(unit_range(images), training=True)
        support, query = features[: way * shot], features[way * shot :]
        logits = -squared_distances(query, prototypes(tf.reshape(support, (way, shot, -1))))
        labels = episode_labels(way, episode.query.shape[1])
        return TaskLoss(query_loss(logits, labels), {"accuracy": fraction_correct(logits, labels)})

    def features(self, images: Array) -> tf.Tensor:
        """[n, h, w, c] uint8 or float32 -> [n, dim] float32, in chunks, so that n may be any number."""
        none = tf.zeros((0, self.encoder.output_shape[-1]))  # TensorFlow cannot convolve an empty batch
        chunks = [self.encode(images[i : i + _CHUNK]) for i in range(0, len(images), _CHUNK)]
        return tf.concat([none, *chunks], axis=0)

    def encode(self, images: Array) -> tf.Tensor:
        """As `features`, in one batch."""
        return self._encode(unit_range(images))

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> tf.Tensor:
        """Logits [m, way] of the queries; -infinity for a class without a support image."""
        return self.classify_features(self.features(support), support_labels, self.features(query), way)

    def classify_features(self, support: Array, support_labels: Array, query: Array, way: int) -> tf.Tensor:
        """As `classify`, on features."""
        support, query = tf.convert_to_tensor(support), tf.convert_to_tensor(query)
        logits = -squared_distances(query, labeled_prototypes(support, support_labels, way))
        present = tf.reduce_any(tf.one_hot(support_labels, way, True, False, dtype=tf.bool), axis=0)
        return tf.where(present, logits, -np.inf)

    def classify_in_graph(self, support: Array, support_labels: Array, query: Array, way: Array) -> tf.Tensor:
        """As `classify`, in a graph."""
        return self.classify_features(self.encode(support), support_labels, self.encode(query), way)


def _encoder(context: LearnerContext, shape: tuple[int, ...], options: Options) -> keras.Model:
    norm = context.norm or "running"
    if norm == "batch":
        raise InputError(
            "norm batch mixes the images that are classified together, but ProtoNets embed each image alone: "
            "choose running or none"
        )
    backbone = plugins.load("backbones", network_name(context, DEFAULTS))
    return backbone.build(
        shape,
        None,
        filters=context.filters or DEFAULTS.filters,
        norm=_legacy_norm(context.seed) if options.legacy_gain else norm,
        seed=context.seed,
    )


def _legacy_norm(seed: int) -> NormFactory:
    """A function from a layer's name to a batch norm whose gamma starts uniform in 0..1."""

    def make(name: str) -> keras.layers.Layer:
        gamma = keras.initializers.RandomUniform(0.0, 1.0, derive(seed, f"{name} gain") % 2**32)
        return RunningBatchNorm(gamma_initializer=gamma, name=name)

    return make
