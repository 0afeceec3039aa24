"""The plan of a run: what each stage needs, with the key of what it makes. `build_plan` makes one from settings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from cactus_tf.config.schema import RunSettings, Settings, TrainingSettings
from cactus_tf.contracts import Embedder, EmbedderContext, LearnerContext, LearnerInfo
from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.types import Partitions, Task
from cactus_tf.utils import seeds


@dataclasses.dataclass(frozen=True)
class DataPlan:
    """What to prepare.

    Attributes:
      dataset, data_dir, eval_dir, image_size: as the flags.
      options: the data set's own settings, or None.
      features: whether rows are feature vectors instead of images.
      mixed: whether training tasks come from true partitions as well.
      key: what the prepared arrays depend on.
      train_key: what the training images depend on; other images to evaluate on do not change it.
    """

    dataset: str
    data_dir: str | None
    eval_dir: str | None
    image_size: int | None
    options: Any
    features: bool
    mixed: bool
    key: Mapping[str, Any]
    train_key: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class EmbeddingPlan:
    """How to embed.

    Attributes:
      embedder: by name; "features" if the rows are feature vectors, which need no embedder.
      options: its own settings, or None.
      context: what it is built from.
      seed: of its training.
      splits: to embed.
      key: what the fitted embedder depends on.
      embeddings_key: what the embeddings depend on.
      norm_key: what their normalization depends on; empty if they are used as they are.
    """

    embedder: str
    options: Any
    context: EmbedderContext
    seed: int
    splits: tuple[str, ...]
    key: Mapping[str, Any]
    embeddings_key: Mapping[str, Any]
    norm_key: Mapping[str, Any]

    @property
    def used_key(self) -> Mapping[str, Any]:
        """What the embeddings that learners and partitioners get depend on."""
        return {**self.embeddings_key, **self.norm_key}


@dataclasses.dataclass(frozen=True)
class PartitionPlan:
    """How to partition the training images.

    Attributes:
      partitioner: by name.
      options: its own settings, or None.
      clusters, partitions: k and P; k is None until the number of images is known.
      supervised_fraction: share of the training tasks made from true labels.
      way: N, the largest of the learners'; a partition needs as many usable clusters.
      images_per_cluster: shot + query of the smallest task.
      seed: of the partitioner.
      key: what the partitions depend on.
    """

    partitioner: str
    options: Any
    clusters: int | None
    partitions: int
    supervised_fraction: float
    way: int
    images_per_cluster: int
    seed: int
    key: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class LearnerPlan:
    """How to build, meta-train and evaluate one learner.

    Attributes:
      name, info: of the learner.
      options: its own settings, or None.
      training: how it is meta-trained; None if it is not.
      augmentation: the own settings of the augmentation of its training episodes, or None.
      network: which network it has; all None if it has none.
      way: outputs of a head of fixed size.
      seed: of its initial weights.
      episodes_seed: of its training episodes.
      clusters: k, for a learner that clusters the training embeddings itself.
      embeddings: whether it reads embeddings.
      tasks: the (way, shot) to evaluate; empty until the number of classes is known.
      skipped_ways: default evaluation ways that its head is too small for.
      reported: the settings that affect its result: `options` of its rows in results.json.
    """

    name: str
    info: LearnerInfo
    options: Any
    training: TrainingSettings | None
    augmentation: Any
    network: TrainingSettings
    way: int
    seed: int
    episodes_seed: int
    clusters: int | None
    embeddings: bool
    tasks: tuple[Task, ...]
    skipped_ways: tuple[int, ...]
    reported: Mapping[str, Any]

    def training_tasks(self, rows: np.ndarray, partitions: Partitions) -> Episodes:
        """The episodes that the learner is meta-trained on.

        Raises:
          InputError: the partitions do not allow them.
        """
        training = self.training
        assert training is not None
        try:
            return Episodes(
                rows,
                partitions,
                way=training.way,
                shot=training.shot,
                query=training.query,
                seed=self.episodes_seed,
            )
        except InputError as error:
            raise InputError(f"--way, --shot, --query, --clusters: {error}") from error

    def context(
        self,
        image_shape: tuple[int, ...],
        embedder: Embedder | None = None,
        embeddings: np.ndarray | None = None,
        images: np.ndarray | None = None,
        restored: bool = False,
    ) -> LearnerContext:
        """What the learner is built from.

        Args:
          image_shape: (height, width, channels), or (dim,) of features.
          embedder: the fitted one, or None.
          embeddings: [n, dim] float32 of the training images; of a learner that neither clusters them nor starts from
            them, only dim is read.
          images: [n, h, w, c] uint8, the training images, for a learner that is trained on their clusters.
          restored: whether its weights are loaded afterwards.
        """
        return LearnerContext(
            image_shape=image_shape,
            way=self.way,
            seed=self.seed,
            backbone=self.network.backbone,
            filters=self.network.filters,
            norm=self.network.norm,
            precision=self.network.precision,
            on_embeddings=bool(self.network.on_embeddings),
            embeddings=embeddings,
            embedder=embedder,
            images=images,
            clusters=self.clusters,  # type: ignore[arg-type]
            restored=restored,
        )


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """The evaluation tasks.

    Attributes:
      split: to evaluate on.
      ways: N; None until the number of classes is known.
      shots, query: K and Q.
      episodes: of each way and shot.
      seed: that the episodes' seed derives from.
      columns: dataset, split, embedder, ... of every row of results.json.
    """

    split: str
    ways: tuple[int, ...] | None
    shots: tuple[int, ...]
    query: int
    episodes: int
    seed: int
    columns: Mapping[str, Any]

    def tasks(self, rows: np.ndarray, partitions: Partitions, way: int, shot: int, split: str = "") -> Episodes:
        """The episodes with true labels: the same for every learner.

        Args:
          rows: [n, ...] images, embeddings or features of the split.
          partitions: that its true labels make.
          way, shot: N and K.
          split: which one; by default the one to evaluate on.

        Raises:
          InputError: there are too few classes of shot + query images.
        """
        split = split or self.split
        seed = seeds.derive(self.seed, f"evaluation episodes of {split}")
        try:
            return Episodes(rows, partitions, way=way, shot=shot, query=self.query, seed=seed)
        except InputError as error:
            needed = shot + self.query
            large = max(int(np.count_nonzero(partition.sizes >= needed)) for partition in partitions)
            raise InputError(
                f"--eval_ways={way} --eval_shots={shot}: {large} classes of {split} have {needed} images or more "
                f"(shot {shot} + query {self.query}): lower --eval_ways, --eval_shots or --eval_query, or add images"
            ) from error


@dataclasses.dataclass(frozen=True)
class RunPlan:
    """A whole run.

    Attributes:
      data: what to prepare.
      embedding: how to embed; None if nothing reads embeddings.
      partition: how to partition; None if no learner learns from tasks.
      learners: in the order of --algo.
      evaluation: the tasks to evaluate on.
      run: stage, folders, seed, messages.
      name: of the default run folder.
      identity: the settings that may not change within a run folder, and what the files hold that are read.
      record: all settings, as config.json and results.json hold them.
      sections: the settings by section and name, without those that do not apply, to show.
      settings: that the plan was made from.
    """

    data: DataPlan
    embedding: EmbeddingPlan | None
    partition: PartitionPlan | None
    learners: tuple[LearnerPlan, ...]
    evaluation: EvaluationPlan
    run: RunSettings
    name: str
    identity: Mapping[str, Any]
    record: Mapping[str, Any]
    sections: Mapping[str, Mapping[str, Any]]
    settings: Settings

    @property
    def meta_learners(self) -> tuple[LearnerPlan, ...]:
        """The learners that are meta-trained."""
        return tuple(learner for learner in self.learners if learner.training)
