"""Prototypical networks: a query belongs to the class whose mean embedding is nearest. Snell et al. 2017."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import keras
import numpy as np
import tensorflow as tf

from cactus_tf import plugins
from cactus_tf.backbones import NormFactory, RunningBatchNorm
from cactus_tf.config.schema import TrainingSettings, option
from cactus_tf.contracts import BackboneInfo, LearnerContext, LearnerInfo
from cactus_tf.errors import InputError
from cactus_tf.fewshot.losses import (
    cosines,
    episode_labels,
    fraction_correct,
    hard_query_loss,
    labeled_prototypes,
    normalized_distances,
    prototypes,
    query_loss,
    redraws,
    semi_normalized_distances,
    squared_distances,
    unit_range,
)
from cactus_tf.learners._inputs import flat_rows, network_dtype, network_input, network_name, network_width
from cactus_tf.types import Array, Episode, TaskLoss
from cactus_tf.utils.seeds import derive

DEFAULTS = TrainingSettings(
    backbone="conv4", filters=64, norm="running", on_embeddings=False, query=15, tasks_per_step=1
)
"""Meta-training of CACTUs-ProtoNets on every data set."""
_SOURCE = "Hsu et al. 2019, table 6 (query, tasks_per_step) and scripts (network)"

INFO = LearnerInfo(title="ProtoNets", training=DEFAULTS, source=_SOURCE, features=True, exportable=True)

_CHUNK = 128  # images of one forward pass; the largest activation, 64 filters at 84x84, takes 231 MB


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of ProtoNets alone."""

    legacy_gain: bool = option(
        False,
        "initialize the gamma of batch norm uniformly in 0..1 instead of as 1",
        source="ours; Hsu et al. 2019, code: true, the default of PyTorch 0.4",
    )
    metric: str = option(
        "euclidean",
        "how near a query is to a class mean: euclidean (minus the squared distance) or cosine",
        source="Snell et al. 2017, section 2.4",
    )
    temperature: float | None = option(
        None, "factor of the logits; default: 1 (euclidean), 10 (cosine)", low=1e-6, source="ours"
    )
    feature_dropout: float = option(
        0.0, "share of the embeddings' numbers that a training task sets to zero", low=0, high=0.99, source="ours"
    )
    redraws: int = option(
        1,
        "tasks from the features of each training episode: in all but the first, other images are support",
        symbol="R",
        low=1,
        source="ours; Ye et al. 2022 (SES): 256",
    )
    normalize: str = option(
        "none",
        "what --protonets_metric=euclidean scales to length 1: none, support (the class means) or both (queries, too)",
        source="ours; Ye et al. 2022 (SNS): support, with temperature 0.5",
    )
    hard_negatives: int = option(
        0,
        "nearest wrong classes in the training loss of a query, beside its own; 0: all",
        symbol="M",
        low=0,
        source="ours; after Sohn 2016",
    )
    start: str = option(
        "identity",
        "what --backbone=linear starts as: identity (with --filters a random projection) or pca (the first --filters "
        "principal components of the training embeddings)",
        source="ours",
    )


def build(context: LearnerContext, options: Options | None = None) -> ProtoNets:
    """ProtoNets with an encoder of random weights.

    Raises:
      InputError: a norm that mixes images outside training, images that the backbone cannot take, an unknown metric or
        normalization, dropout of images, or more negatives than there are.
    """
    options = options or Options()
    consumes, shape = network_input(context)
    if options.feature_dropout and consumes == "images":
        raise InputError("--protonets_feature_dropout drops numbers of embeddings: add --on_embeddings or leave it out")
    if options.hard_negatives >= context.way:
        raise InputError(
            f"--protonets_hard_negatives={options.hard_negatives}: a query of a {context.way}-way task has "
            f"{context.way - 1} wrong classes: lower it or raise --way"
        )
    return ProtoNets(
        _encoder(context, shape, options),
        consumes,
        similarity(options),
        dropout=options.feature_dropout,
        redraws=options.redraws,
        hard_negatives=options.hard_negatives,
        seed=context.seed,
    )


Similarity = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
"""From queries [m, dim] and class means [way, dim] to logits [m, way]."""


def euclidean(query: tf.Tensor, means: tf.Tensor) -> tf.Tensor:
    """-|x - c_k|^2."""
    return -squared_distances(query, means)


def semi_normalized(query: tf.Tensor, means: tf.Tensor) -> tf.Tensor:
    """-|x - c_k / |c_k||^2."""
    return -semi_normalized_distances(query, means)


def normalized(query: tf.Tensor, means: tf.Tensor) -> tf.Tensor:
    """-|x / |x| - c_k / |c_k||^2."""
    return -normalized_distances(query, means)


METRICS: dict[str, tuple[Similarity, float]] = {"euclidean": (euclidean, 1.0), "cosine": (cosines, 10.0)}
"""By the value of `--protonets_metric`, each with its default temperature."""


NORMALIZED: dict[str, Similarity] = {"none": euclidean, "support": semi_normalized, "both": normalized}
"""By the value of `--protonets_normalize`, with the metric euclidean."""


STARTS = ("identity", "pca")
"""The values of `--protonets_start`."""


def similarity(options: Options) -> Similarity:
    """The logits of the options.

    Raises:
      InputError: an unknown metric or normalization, or one that normalizes what the metric already does.
    """
    if options.metric not in METRICS:
        raise InputError(f"--protonets_metric={options.metric}: choose from {', '.join(METRICS)}")
    if options.normalize not in NORMALIZED:
        raise InputError(f"--protonets_normalize={options.normalize}: choose from {', '.join(NORMALIZED)}")
    metric, default = METRICS[options.metric]
    if options.normalize != "none":
        if options.metric != "euclidean":
            raise InputError(
                f"--protonets_normalize={options.normalize} is for --protonets_metric=euclidean; {options.metric} "
                "compares directions alone: drop one of them"
            )
        metric = NORMALIZED[options.normalize]
    factor = options.temperature or default
    return metric if factor == 1 else lambda query, means: factor * metric(query, means)


class ProtoNets:
    """A meta-learned encoder f; logits compare f(x) to the class means c_k: -|f(x) - c_k|^2. Snell et al. 2017, eq. 2.

    Batch norm uses the statistics of the whole episode, support and queries together, in training and running averages
    afterwards, so an image's features depend on that image alone.

    Args:
      encoder: Keras model from [n, h, w, c] float32 in 0..1, or from embeddings, to [n, dim].
      consumes: which of them.
      similarity: logits of features and class means.
      dropout: share of the numbers of embeddings that each training task sets to zero; the others grow to keep the sum.
      redraws: R, tasks from the features of each training episode.
      hard_negatives: M, wrong classes in the training loss of a query; 0 for all.
      seed: of dropout and redraws, together with the number of the task.
    """

    gradient_clip: float | None = None
    vectorized = False
    remedy = ""

    def __init__(
        self,
        encoder: keras.Model,
        consumes: Literal["images", "embeddings"] = "images",
        similarity: Similarity = euclidean,
        *,
        dropout: float = 0.0,
        redraws: int = 1,
        hard_negatives: int = 0,
        seed: int = 0,
    ):
        self.encoder, self.consumes, self._similarity = encoder, consumes, similarity
        self._dropout, self._redraws, self._hard_negatives = dropout, redraws, hard_negatives
        self._dropout_seed, self._redraws_seed = derive(seed, "feature dropout"), derive(seed, "redraws")
        spec = tf.TensorSpec(encoder.input_shape, tf.float32)
        self._encode = tf.function(lambda images: encoder(images, training=False), input_signature=[spec])
        features = tf.TensorSpec((None, encoder.output_shape[-1]), tf.float32)
        labels, way = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int32)
        self._compare = tf.function(self._logits, input_signature=[features, labels, features, way], autograph=False)

    @property
    def trainable_variables(self) -> list:
        """Kernels, biases, gammas and betas."""
        return self.encoder.trainable_variables

    @property
    def variables(self) -> list:
        """The trained variables and the running averages."""
        return self.encoder.variables

    @property
    def running_averages(self) -> list[tuple[keras.Variable, float]]:
        """The running averages of batch norm, each with the weight of the new statistics."""
        norms = [layer for layer in self.encoder.layers if isinstance(layer, RunningBatchNorm)]
        return [(v, norm.momentum) for norm in norms for v in (norm.running_mean, norm.running_variance)]

    def training_loss(self, episode: Episode) -> TaskLoss:
        """Mean cross-entropy of the queries, and their accuracy; updates the running averages.

        With redraws, both are means over the tasks that are drawn from the same features.

        Args:
          episode: support [way, shot, h, w, c] and query [way, query, h, w, c], uint8 in 0..255 or float32 in 0..1.
        """
        way, shot = episode.support.shape[:2]
        images = tf.concat([flat_rows(episode.support), flat_rows(episode.query)], axis=0)
        features = self.encoder(self._dropped(unit_range(images), episode.index), training=True)
        support, query = (tf.reshape(f, (way, -1, f.shape[-1])) for f in tf.split(features, [way * shot, -1]))
        if self._redraws == 1:
            return self._feature_loss(support, query)
        seed = tf.stack([self._redraws_seed, tf.cast(episode.index, tf.int64)])
        tasks = redraws(tf.concat([support, query], axis=1), self._redraws, seed)
        losses = tf.vectorized_map(
            lambda rows: self._feature_loss(rows[:, :shot], rows[:, shot:]), tasks, fallback_to_while_loop=False
        )
        return tf.nest.map_structure(tf.reduce_mean, losses)

    def _feature_loss(self, support: tf.Tensor, query: tf.Tensor) -> TaskLoss:
        """The loss of features [way, shot, dim] and [way, query, dim]."""
        way, per_class = query.shape[:2]
        logits, labels = self._similarity(flat_rows(query), prototypes(support)), episode_labels(way, per_class)
        hard = self._hard_negatives
        loss = hard_query_loss(logits, labels, hard) if hard else query_loss(logits, labels)
        return TaskLoss(loss, {"accuracy": fraction_correct(logits, labels)})

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
        return self._compare(support, tf.cast(support_labels, tf.int32), query, tf.cast(way, tf.int32))

    def classify_in_graph(self, support: Array, support_labels: Array, query: Array, way: Array) -> tf.Tensor:
        """As `classify`, in a graph."""
        return self.classify_features(self.encode(support), support_labels, self.encode(query), way)

    def _logits(self, support: tf.Tensor, support_labels: tf.Tensor, query: tf.Tensor, way: tf.Tensor) -> tf.Tensor:
        """Logits [m, way] from features [n, dim] with labels [n] and features [m, dim]."""
        logits = self._similarity(query, labeled_prototypes(support, support_labels, way))
        present = tf.reduce_any(tf.one_hot(support_labels, way, True, False, dtype=tf.bool), axis=0)
        return tf.where(present, logits, -np.inf)

    def _dropped(self, rows: tf.Tensor, task: Array) -> tf.Tensor:
        """The rows with dropout, a function of the task's number, so that a resumed training drops the same."""
        if not self._dropout:
            return rows
        return tf.nn.experimental.stateless_dropout(
            rows, self._dropout, seed=[self._dropout_seed, tf.cast(task, tf.int64)]
        )


def _encoder(context: LearnerContext, shape: tuple[int, ...], options: Options) -> keras.Model:
    norm = context.norm or "running"
    if norm == "batch":
        raise InputError(
            "norm batch mixes the images that are classified together, but ProtoNets embed each image alone: "
            "choose running or none"
        )
    name = network_name(context, DEFAULTS)
    backbone = plugins.load("backbones", name)
    return backbone.build(
        shape,
        None,
        filters=network_width(context, backbone.INFO, DEFAULTS),
        norm=_legacy_norm(context.seed) if options.legacy_gain else norm,
        seed=context.seed,
        **network_dtype(context, name, backbone.INFO),
        **_start(context, backbone.INFO, options.start),
    )


def _start(context: LearnerContext, backbone: BackboneInfo, start: str) -> dict[str, np.ndarray]:
    """The argument of the backbone that `--protonets_start` asks for.

    Raises:
      InputError: an unknown value, or a network that cannot start from embeddings.
    """
    if start not in STARTS:
        raise InputError(f"--protonets_start={start}: choose from {', '.join(STARTS)}")
    if start == "identity":
        return {}
    if "rows" not in backbone.arguments or context.embeddings is None:
        raise InputError(
            f"--protonets_start={start} is for a linear map of embeddings: add --on_embeddings --backbone=linear, or "
            "leave it out"
        )
    return {} if context.restored else {"rows": context.embeddings}


def _legacy_norm(seed: int) -> NormFactory:
    """A function from a layer's name to a batch norm whose gamma starts uniform in 0..1."""

    def make(name: str) -> keras.layers.Layer:
        gamma = keras.initializers.RandomUniform(0.0, 1.0, derive(seed, f"{name} gain") % 2**32)
        return RunningBatchNorm(gamma_initializer=gamma, name=name)

    return make
