"""The contract of each family: what a member may be built from, and what it must do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np

from cactus_tf.types import Array, Episode, Partitions, Rows, TaskLoss, Trace

Memo = Callable[[str, Callable[[], np.ndarray | Rows]], np.ndarray]
"""memo(name, make): the array kept under this name, made and kept first where there is none yet."""


def no_memo(name: str, make: Callable[[], np.ndarray | Rows]) -> np.ndarray:
    """Keeps nothing."""
    return np.asarray(make())


def tell_nobody(found: Mapping[str, Any]) -> None:
    """Keeps no notes."""


@dataclasses.dataclass(frozen=True)
class DataContext:
    """What a data set may need beside its files.

    Attributes:
      memo: keeps prepared arrays.
      folder: keeps what a stopped preparation has done; None means a temporary folder.
      workers: processes that decode images; None means as many as there are cores.
      image_size: pixels of a side that images are brought to; None means the usual of the data set.
      eval_dir: folder with labelled images to judge on, for a data set that takes one.
      options: the data set's own settings; None means its usual.
      found: is told what the preparation came across, such as the files it left out.
      mixed: whether training mixes true partitions with its own, for a data set with `supervised` ones.
    """

    memo: Memo = no_memo
    folder: Path | None = None
    workers: int | None = None
    image_size: int | None = None
    eval_dir: str | Path | None = None
    options: Any = None
    found: Callable[[Mapping[str, Any]], None] = tell_nobody
    mixed: bool = False


@dataclasses.dataclass(frozen=True)
class EmbedderContext:
    """What any embedder may be built from; None means its usual.

    Attributes:
      dataset: name of the data set, for settings that a paper chose per data set.
      steps: number of training steps; schedules are scaled to fit.
    """

    dataset: str | None = None
    steps: int | None = None


@dataclasses.dataclass(frozen=True)
class PartitionContext:
    """What any partitioner may need.

    Attributes:
      images: number n of images to divide.
      embeddings: [n, dim] float32, or None where there are none.
      labels: the partitions that the true labels make, or None; only the oracle reads them.
      names: [n] bytes, the file of each image, or None.
      way: N, classes of an episode.
      images_per_cluster: shot + query of an episode.
      seed: of this partitioner's own stream.
      memo: keeps each partition as soon as it is made, so that a stopped run goes on.
    """

    images: int
    embeddings: np.ndarray | None = None
    labels: Partitions | None = None
    names: np.ndarray | None = None
    way: int = 2
    images_per_cluster: int = 6
    seed: int = 0
    memo: Memo = no_memo


@dataclasses.dataclass(frozen=True)
class LearnerContext:
    """What any learner may be built from.

    Attributes:
      image_shape: (height, width, channels).
      way: N of the training episodes; heads of a fixed size have this many outputs.
      seed: of this learner's own stream (initial weights).
      backbone, filters, norm: the network of a meta-learner; None means the learner's usual.
      on_embeddings: whether a meta-learner's network takes embeddings in place of images.
      embeddings: [n, dim] float32 of the training images, or None.
      embedder: the fitted embedder, or None.
      images: [n, h, w, c] uint8, the training images, or None.
      clusters: k, for a learner that clusters the training embeddings.
    """

    image_shape: tuple[int, ...]
    way: int = 5
    seed: int = 0
    backbone: str | None = None
    filters: int | None = None
    norm: str | None = None
    on_embeddings: bool = False
    embeddings: np.ndarray | None = None
    embedder: Embedder | None = None
    images: np.ndarray | None = None
    clusters: int = 500


@runtime_checkable
class Embedder(Protocol):
    """Maps images to vectors without ever seeing a label. It has a Keras model where it has a network."""

    def fit(
        self, images: np.ndarray, y: Any = None, *, seed: int = 0, folder: Path | None = None, callbacks: Sequence = ()
    ) -> Embedder:
        """Learns from [n, h, w, c] uint8 images and returns itself.

        `y` is what scikit-learn's pipelines give to every step, labels perhaps: it is never looked at.
        `folder` keeps partial checkpoints, from which a stopped fit goes on; `callbacks` are Keras'.
        """
        ...

    def transform(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32, in bounded memory; row i belongs to image i."""
        ...

    def save(self, folder: Path) -> None:
        """Writes what `load` needs."""
        ...

    def load(self, folder: Path) -> Embedder:
        """Restores what `save` wrote and returns itself."""
        ...


class Partitioner(Protocol):
    """Divides an image set into clusters, P times."""

    def __call__(self, context: PartitionContext) -> Partitions:
        """The partitions, a pure function of the context."""
        ...


@runtime_checkable
class Learner(Protocol):
    """Answers: given labelled support images, what are the labels of the query images?

    `consumes` says what its inputs are: "images" (uint8 0..255, or float32 0..1) or "embeddings" (float32).

    It may have `prepare()`, all that it does before its first answer, done then at the latest; `unanswered`, the number
    of tasks so far that it had no answer of its own for; and `leak`, True where evaluation is to tell it the queries'
    labels by `classify_leaking(support, support_labels, query, query_labels, way)`, for figures published that way.
    """

    consumes: Literal["images", "embeddings"]

    def classify(self, support: Array, support_labels: Array, query: Array, way: int) -> Array:
        """Logits of the queries.

        Args:
          support: [n, ...] in any order, any number per class.
          support_labels: [n] integers in 0..way-1.
          query: [m, ...].
          way: number of classes.

        Returns:
          [m, way] logits.
        """
        ...


@runtime_checkable
class FeatureLearner(Learner, Protocol):
    """A learner whose answer needs each image only through its own feature vector (no statistics across images).

    Evaluation computes the features of a split once instead of once per episode; `classify` is
    `classify_features` of the features, and a test holds it to that.
    """

    def features(self, images: Array) -> Array:
        """[n, ...] -> [n, dim] float32."""
        ...

    def classify_features(self, support: Array, support_labels: Array, query: Array, way: int) -> Array:
        """As `classify`, on features."""
        ...


@runtime_checkable
class AdaptingLearner(Learner, Protocol):
    """A learner that answers after steps of adaptation and can show the way there.

    `classify` is the last query logits of `trace`, which may be called from several threads at once. It may have
    `inner_steps`, the number of steps in training, and `remedy`, what to change where adaptation diverges.
    """

    def trace(self, support: Array, support_labels: Array, query: Array, way: int, steps: int | None = None) -> Trace:
        """Logits before adaptation and after each of its steps, as many as in evaluation unless said."""
        ...


Answer = Callable[[Array], Array]
"""From queries [m, ...] to logits [m, way]."""


@runtime_checkable
class PreparedLearner(Learner, Protocol):
    """A learner that can do its work with a support set once, for any number of queries that come later."""

    def answerer(self, support: Array, support_labels: Array, way: int, transductive: bool = False) -> Answer:
        """The function from queries [m, ...] to logits [m, way]; arguments as of `classify`.

        Unless it is to be transductive, the answer to a query depends on it and the support set alone.
        """
        ...


@runtime_checkable
class GraphEncoder(Protocol):
    """What maps images to vectors by TensorFlow operations alone, so that it can be exported."""

    def encode(self, images: Array) -> Array:
        """[n, ...] tensor, n not known before -> [n, dim] float32 tensor, row by row."""
        ...


@runtime_checkable
class GraphLearner(Learner, Protocol):
    """A learner that can answer by TensorFlow operations alone, so that it can be exported."""

    def classify_in_graph(self, support: Array, support_labels: Array, query: Array, way: Array) -> Array:
        """As `classify`, but each query is answered alone, and all are tensors of sizes that are not known before.

        Args:
          support: [n, ...].
          support_labels: [n] int32.
          query: [m, ...].
          way: scalar int32.

        Returns:
          [m, way] logits. A task that the learner cannot answer is an error of TensorFlow's when it is run.
        """
        ...


@runtime_checkable
class MetaLearner(Learner, Protocol):
    """A learner that is meta-trained. `variables` is all that a checkpoint must hold, trained or not.

    It may have `gradient_clip`, the bound of every element of the mean gradient; `update(episode) -> TaskUpdate`, where
    what the outer loop follows is not the gradient of `training_loss`; `vectorized`, whether the tasks of a step are to
    share every kernel; and `remedy`, what to change if it diverges.
    """

    @property
    def trainable_variables(self) -> list:
        """What the outer loop trains."""
        ...

    @property
    def variables(self) -> list:
        """All that a checkpoint must hold."""
        ...

    def training_loss(self, episode: Episode) -> TaskLoss:
        """The loss of one episode's tensors (images uint8), differentiable in `trainable_variables`."""
        ...
