"""The contract of each family: what a member declares in `INFO`, what it is built from, and what it must do."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np

from cactus_tf.config.schema import TrainingSettings
from cactus_tf.types import Array, Episode, Partitions, PiecewiseArray, TaskLoss, TaskUpdate, Trace

Cache = Callable[[str, Callable[[], np.ndarray | PiecewiseArray]], np.ndarray]
"""cache(name, make): the array stored under this name; made and stored first if it is missing."""

Share = Callable[[Sequence[str], Callable[[str], np.ndarray]], Callable[[str], np.ndarray] | None]
"""share(names, make): makes some of the named arrays and waits until other workers have made the others. Returns the
function from a name to its array; None if the other workers cannot help."""


def no_cache(name: str, make: Callable[[], np.ndarray | PiecewiseArray]) -> np.ndarray:
    """Stores nothing."""
    return np.asarray(make())


def ignore(report: Mapping[str, Any]) -> None:
    """Drops a report."""


def never(options: Any) -> bool:
    """False, whatever the options."""
    return False


# What a member declares: one constant, INFO, in its module.


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """What a data set is.

    Attributes:
      version: raise it when the same files give other arrays.
      takes: which of "image_size" and "eval_dir" it accepts.
      light_on_dark: whether its images show light ink on a dark background.
      files_key: (data_dir, eval_dir) -> what the user's folders hold, for a data set whose images are those files: one
        text, or one for the training files, "train", and others for the rest. None: every source gives the same images.
      train_files: (data_dir, eval_dir) -> names of the training files, as the prepared data hold them; for messages.
      gives_features: options -> whether rows are feature vectors instead of images.
      picture_decoder: (shape, options) -> function from a file's bytes to [height, width, channels] uint8, the way the
        data set prepares its own pictures. None: pictures are prepared as by `folder`.
      kind: (data_dir, eval_dir) -> "photographs" or "drawings", for a data set whose default settings depend on it.
    """

    version: int = 1
    takes: tuple[str, ...] = ()
    light_on_dark: bool = False
    files_key: Callable[[Any, Any], Any] | None = None
    train_files: Callable[[Any, Any], Sequence[str]] | None = None
    gives_features: Callable[[Any], bool] = never
    picture_decoder: Callable[[tuple[int, ...], Any], Callable[[bytes], np.ndarray]] | None = None
    kind: Callable[[Any, Any], str] | None = None


@dataclasses.dataclass(frozen=True)
class EmbedderInfo:
    """What an embedder is.

    Attributes:
      version: raise it when the same settings give other embeddings.
      trained: whether it has training steps.
      divided: whether the devices of a `tf.distribute` strategy share each training step, if it is built in its scope.
      seeded: whether its embeddings depend on the seed.
      steps: their default number, one for all data sets or by data set; for other data sets the embedder
        computes it from the number of images.
      metrics: {name: meaning} of the scalars that training logs.
      pictures: {name: meaning} of the pictures that its network makes.
      fingerprint: options -> what the user's files hold, for an embedder that reads any.
      takes_names: whether `fit` and `transform` take `names`, the files of the images ([n] bytes).
      takes_learner: whether it embeds by a trained learner, which its method `use` takes before `fit`; its options name
        the `run` and `algo`.
      norm: how its embeddings are compared by default, one of `schema.EMBEDDING_NORMS`.
      image_size: options -> the side in pixels of the images that it wants, for an embedder of one size.
      ready: options -> None; fetches and checks what it needs, before images are prepared.
      more: what `--help=NAME` prints below its settings.
    """

    version: int = 1
    trained: bool = False
    divided: bool = False
    seeded: bool = True
    steps: int | Mapping[str, int] | None = None
    metrics: Mapping[str, str] = dataclasses.field(default_factory=dict)
    pictures: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fingerprint: Callable[[Any], Any] | None = None
    takes_names: bool = False
    takes_learner: bool = False
    norm: str = "none"
    image_size: Callable[[Any], int] | None = None
    ready: Callable[[Any], None] | None = None
    more: Callable[[], str] | None = None

    def default_steps(self, dataset: str | None) -> int | None:
        """The default number of steps on a data set; None if the number of images decides, or it is not trained."""
        return self.steps.get(dataset or "") if isinstance(self.steps, Mapping) else self.steps


@dataclasses.dataclass(frozen=True)
class PartitionerInfo:
    """What a partitioner is.

    Attributes:
      version: raise it when the same settings give other partitions.
      uses_embeddings: whether it reads the embeddings of the training images.
      clusters_of_its_own: whether the number of usable clusters is known only once they are made.
      ignores_counts: options -> whether neither `--clusters` nor `--partitions` has an effect.
      ignores_clusters: whether `--clusters` has no effect.
      repeats_images: whether the images of a task's class are one image several times, so that they must be varied.
      fingerprint: options -> what the user's files hold, for a partitioner that reads any.
      one_by_one: whether it makes each partition alone, and only those that `PartitionContext.only` names, so that
        several workers can share the work; it caches number p as "partition-" and p in four digits.
    """

    version: int = 1
    uses_embeddings: bool = True
    clusters_of_its_own: bool = False
    ignores_counts: Callable[[Any], bool] = never
    ignores_clusters: bool = False
    repeats_images: bool = False
    fingerprint: Callable[[Any], Any] | None = None
    one_by_one: bool = False


@dataclasses.dataclass(frozen=True)
class AugmentationInfo:
    """What an augmentation is.

    Attributes:
      version: raise it when the same settings give other images.
    """

    version: int = 1


@dataclasses.dataclass(frozen=True)
class BackboneInfo:
    """What a backbone is.

    Attributes:
      consumes: what its rows are.
      filters: its default width; None takes the learner's.
      as_wide_as_input: whether its default width is that of its input instead.
      arguments: which of "pooled", "initializers", "head_stddev", "convolution", "rows" and "dtype" (all of
        "float32", "float64" and "mixed_bfloat16") its `build` accepts.
    """

    consumes: Literal["images", "embeddings"] = "images"
    filters: int | None = None
    as_wide_as_input: bool = False
    arguments: frozenset[str] = frozenset()


@dataclasses.dataclass(frozen=True)
class LearnerInfo:
    """What a learner is.

    Attributes:
      title: its name in tables.
      version: raise it when the same weights give other answers: earlier evaluations are then repeated.
      training: the default settings of its meta-training; None for one that is not meta-trained.
      network: which network it has, for one that is not meta-trained.
      source: where the numbers of `training` or `network` come from.
      fixed_head: whether it cannot answer with more classes than `--way`; larger default evaluation ways are left out.
      uses_embeddings: whether it reads embeddings whatever the settings.
      uses_clusters: whether it clusters the training embeddings itself, in `--clusters` clusters.
      features: whether each image has a feature vector of its own (`FeatureLearner`).
      exportable: whether it answers by TensorFlow operations alone.
      intra_op_threads: threads inside a TensorFlow kernel that its many small kernels want; None leaves them alone.
    """

    title: str
    version: int = 1
    training: TrainingSettings | None = None
    network: TrainingSettings | None = None
    source: str = ""
    fixed_head: bool = False
    uses_embeddings: bool = False
    uses_clusters: bool = False
    features: bool = False
    exportable: bool = False
    intra_op_threads: int | None = None


# What a member is built from.


@dataclasses.dataclass(frozen=True)
class DataContext:
    """What a data set may need besides its files.

    Attributes:
      cache: stores prepared arrays.
      folder: stores unfinished preparation, which resumes from there; None means a temporary folder.
      workers: threads that decode images; None means one per core.
      image_size: side in pixels that images are resized to; None means the data set's default.
      eval_dir: folder of labeled images to evaluate on, for a data set that accepts one.
      options: the data set's own settings; None means their defaults.
      report: called with what the preparation found, such as the files it left out.
      mixed: whether training tasks come from true partitions as well, for a data set with `supervised` ones.
      share: divides the decoding of many files among several workers; None decodes all of them here.
    """

    cache: Cache = no_cache
    folder: Path | None = None
    workers: int | None = None
    image_size: int | None = None
    eval_dir: str | Path | None = None
    options: Any = None
    report: Callable[[Mapping[str, Any]], None] = ignore
    mixed: bool = False
    share: Share | None = None


@dataclasses.dataclass(frozen=True)
class EmbedderContext:
    """What any embedder may be built from; None means its default.

    Attributes:
      dataset: name of the data set, for settings that a paper chose per data set.
      steps: number of training steps; schedules are scaled to fit.
      norm: how embeddings are compared, one of `schema.EMBEDDING_NORMS`.
      center: share of the mean training embedding that norm "centered" subtracts.
    """

    dataset: str | None = None
    steps: int | None = None
    norm: str | None = None
    center: float = 1.0


@dataclasses.dataclass(frozen=True)
class PartitionContext:
    """What any partitioner may need.

    Attributes:
      images: number n of images to partition.
      embeddings: [n, dim] float32, or None if there are none.
      labels: the partitions that the true labels make, or None; only the oracle reads them.
      names: [n] bytes, the file of each image, or None.
      way: N, classes of an episode.
      images_per_cluster: shot + query of an episode.
      seed: of this partitioner's own stream.
      cache: stores each partition as soon as it is made, so that a stopped run resumes.
      only: numbers of the partitions to make, where several workers share them; None for all. A partitioner whose
        `INFO.one_by_one` is false ignores it.
    """

    images: int
    embeddings: np.ndarray | None = None
    labels: Partitions | None = None
    names: np.ndarray | None = None
    way: int = 2
    images_per_cluster: int = 6
    seed: int = 0
    cache: Cache = no_cache
    only: Sequence[int] | None = None


@dataclasses.dataclass(frozen=True)
class LearnerContext:
    """What any learner may be built from.

    Attributes:
      image_shape: (height, width, channels).
      way: N of the training episodes; heads of a fixed size have this many outputs.
      seed: of this learner's own stream (initial weights).
      backbone, filters, norm: the network of a meta-learner; None means the learner's default.
      precision: "float32", or "mixed_bfloat16": convolutions, poolings and ReLUs in bfloat16; weights, norms and the
        result stay float32.
      on_embeddings: whether a meta-learner's network takes embeddings instead of images.
      embeddings: [n, dim] float32 of the training images, or None.
      embedder: the fitted embedder, or None.
      images: [n, h, w, c] uint8, the training images, or None.
      clusters: k, for a learner that clusters the training embeddings.
      restored: whether its weights are loaded afterwards, so that they need not start from the embeddings, which may
        then be one row of the same length.
    """

    image_shape: tuple[int, ...]
    way: int = 5
    seed: int = 0
    backbone: str | None = None
    filters: int | None = None
    norm: str | None = None
    precision: str = "float32"
    on_embeddings: bool = False
    embeddings: np.ndarray | None = None
    embedder: Embedder | None = None
    images: np.ndarray | None = None
    clusters: int = 500
    restored: bool = False


class Recipe(NamedTuple):
    """What a member was built from, so that it can be built again.

    Attributes:
      name: of the member.
      context: as its module's `build` got it.
      options: its own settings, or None.
    """

    name: str
    context: Any
    options: Any


@runtime_checkable
class BuiltByName(Protocol):
    """A member that `make` or `build` of its family made."""

    recipe: Recipe


# What a member must do.


@runtime_checkable
class Embedder(Protocol):
    """Maps images to vectors without ever seeing a label. It has a Keras model if it has a network."""

    def fit(
        self, images: np.ndarray, y: Any = None, *, seed: int = 0, folder: Path | None = None, callbacks: Sequence = ()
    ) -> Embedder:
        """Fits to [n, h, w, c] uint8 images and returns itself.

        `y` is what scikit-learn's pipelines pass to every step, perhaps labels: it is ignored.
        `folder` stores partial checkpoints, from which a stopped fit resumes; `callbacks` are Keras callbacks.
        """
        ...

    def transform(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32, in bounded memory; row i belongs to image i alone.

        Large sets come in parts of 65,536 images.
        """
        ...

    def save(self, folder: Path) -> None:
        """Writes what `load` needs."""
        ...

    def load(self, folder: Path) -> Embedder:
        """Restores what `save` wrote and returns itself."""
        ...


@runtime_checkable
class TrainedNetwork(Embedder, Protocol):
    """An embedder around a network that was trained step by step."""

    @property
    def curve(self) -> list[dict[str, float]]:
        """The learning curve: {"step": finished steps, scalar: value, ...} in the order of steps."""
        ...

    def pictures(self, images: Array) -> Mapping[str, Array]:
        """[rows, columns, h, w, c] in 0..1 by name, one for each name in its module's `INFO.pictures`."""
        ...


@runtime_checkable
class LearnedEmbedder(Embedder, Protocol):
    """An embedder whose embeddings are the features of a trained learner."""

    def use(self, learner: Learner) -> LearnedEmbedder:
        """Takes the learner and returns itself."""
        ...


class Partitioner(Protocol):
    """Partitions an image set into clusters, P times."""

    def __call__(self, context: PartitionContext) -> Partitions:
        """The partitions, a pure function of the context."""
        ...


Augmentation = Callable[[Array, Array], Array]
"""Varies images [n, h, w, c] float32 in 0..1 by a seed [2] of integers; row i is a function of image i, seed and i."""


@runtime_checkable
class Learner(Protocol):
    """Answers: given labeled support images, what are the labels of the query images?

    `consumes` says what its inputs are: "images" (uint8 0..255, or float32 0..1) or "embeddings" (float32).
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
    """A learner that answers after steps of adaptation and can show every step.

    `classify` is the last query logits of `trace`, which may be called from several threads at once.

    Attributes:
      transductive: whether queries share their batch statistics.
      remedy: what to change if adaptation diverges, for an error message.
    """

    transductive: bool
    remedy: str

    def trace(self, support: Array, support_labels: Array, query: Array, way: int, steps: int | None = None) -> Trace:
        """Logits before adaptation and after each of its steps; by default as many as in evaluation."""
        ...


@runtime_checkable
class ClusterLearner(Learner, Protocol):
    """A learner that clusters the training embeddings before its first answer."""

    def prepare(self) -> None:
        """Clusters them, if that has not been done; counts as training time."""
        ...


@runtime_checkable
class AbstainingLearner(Learner, Protocol):
    """A learner that falls back on a default where it has no answer of its own.

    Attributes:
      unanswered: number of such tasks so far; a column of the results.
    """

    unanswered: int


@runtime_checkable
class LeakingLearner(Learner, Protocol):
    """A learner that can use the labels of the queries, for figures that were published that way.

    Attributes:
      leak: whether evaluation calls `classify_leaking`, and marks the rows.
    """

    leak: bool

    def classify_leaking(
        self, support: Array, support_labels: Array, query: Array, query_labels: Array, way: int
    ) -> Array:
        """As `classify`, with the labels [m] of the queries."""
        ...


Answer = Callable[[Array], Array]
"""From queries [m, ...] to logits [m, way]."""


@runtime_checkable
class PreparedLearner(Learner, Protocol):
    """A learner that can process a support set once, for any number of queries that come later."""

    def answerer(self, support: Array, support_labels: Array, way: int, transductive: bool = False) -> Answer:
        """The function from queries [m, ...] to logits [m, way]; arguments as of `classify`.

        Unless it is transductive, the answer to a query depends on it and the support set alone.
        """
        ...


@runtime_checkable
class GraphEncoder(Protocol):
    """Maps images to vectors by TensorFlow operations alone, so that it can be exported."""

    def encode(self, images: Array) -> Array:
        """[n, ...] tensor, n unknown -> [n, dim] float32 tensor, row by row."""
        ...


@runtime_checkable
class GraphLearner(Learner, Protocol):
    """A learner that answers by TensorFlow operations alone, so that it can be exported."""

    def classify_in_graph(self, support: Array, support_labels: Array, query: Array, way: Array) -> Array:
        """As `classify`, but each query is answered alone, and all are tensors of unknown sizes.

        Args:
          support: [n, ...].
          support_labels: [n] int32.
          query: [m, ...].
          way: scalar int32.

        Returns:
          [m, way] logits. A task that the learner cannot answer raises a TensorFlow error when it runs.
        """
        ...


@runtime_checkable
class MetaLearner(Learner, Protocol):
    """A learner that is meta-trained.

    Attributes:
      gradient_clip: bound of each element of the mean outer gradient; None for no bound.
      vectorized: whether the tasks of a step share every kernel (`tf.vectorized_map`), for a GPU.
      remedy: what to change if training diverges, for an error message; "" for nothing special.
    """

    gradient_clip: float | None
    vectorized: bool
    remedy: str

    @property
    def trainable_variables(self) -> list:
        """What the outer loop trains."""
        ...

    @property
    def variables(self) -> list:
        """All that a checkpoint must hold, trained or not."""
        ...

    def training_loss(self, episode: Episode) -> TaskLoss:
        """The loss of one episode's tensors (images uint8), differentiable in `trainable_variables`."""
        ...


@runtime_checkable
class UpdatingLearner(MetaLearner, Protocol):
    """A meta-learner whose outer loop follows a direction of its own instead of the gradient of `training_loss`."""

    def update(self, episode: Episode) -> TaskUpdate:
        """Loss, metrics and a direction for every trained variable (Reptile)."""
        ...


@runtime_checkable
class AveragingLearner(MetaLearner, Protocol):
    """A meta-learner whose `training_loss` moves running averages, such as those of batch norm."""

    @property
    def running_averages(self) -> list[tuple[Any, float]]:
        """Each variable v with its a, where a task of statistics s moves v by a (s - v); needed by `--distribute`."""
        ...


@runtime_checkable
class AdaptingMetaLearner(MetaLearner, AdaptingLearner, Protocol):
    """A meta-learner that adapts in training, too.

    Attributes:
      inner_steps: U, steps of adaptation in training.
    """

    inner_steps: int
