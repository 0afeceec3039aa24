"""The default settings of each data set, with their sources.

A learner's own defaults, the same on every data set, are in its module (`INFO.training`), and so are an embedder's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from cactus_tf.config.schema import EmbeddingSettings, EvaluationSettings, PartitionSettings, TrainingSettings


@dataclasses.dataclass(frozen=True)
class Preset:
    """The default settings of a data set; the defaults here are those of one without published settings.

    Attributes:
      source: where the numbers come from.
      embedder, partitioner: by name.
      clusters: k, clusters of a partition; None: 40 images per cluster, at most 500 clusters.
      partitions: P, number of partitions.
      eval_ways: N of the evaluation tasks; None: five, or as many as there are labeled classes.
      eval_shots: K of the evaluation tasks.
      way: N of meta-training.
      shot: K of meta-training.
      query: Q of meta-training; None takes the learner's.
      steps: outer steps; the papers have no symbol for them.
      outer_lr: beta, learning rate of the outer loop.
      learners: what differs for single learners.
      embedder_steps: length of an embedder's training where it differs from the embedder's own default.
      options: settings of members that differ from the member's own defaults, by member.
    """

    source: str
    embedder: str = "acai"
    partitioner: str = "kmeans"
    clusters: int | None = 500
    partitions: int = 100
    eval_ways: tuple[int, ...] | None = (5,)
    eval_shots: tuple[int, ...] = (1, 5)
    way: int = 5
    shot: int = 1
    query: int | None = None
    steps: int = 30_000
    outer_lr: float = 1e-3
    learners: Mapping[str, TrainingSettings] = dataclasses.field(default_factory=dict)
    embedder_steps: Mapping[str, int] = dataclasses.field(default_factory=dict)
    options: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)

    @property
    def embedding(self) -> EmbeddingSettings:
        """As a settings section."""
        return EmbeddingSettings(self.embedder)

    @property
    def partition(self) -> PartitionSettings:
        """As a settings section."""
        return PartitionSettings(self.partitioner, self.clusters, self.partitions)  # type: ignore[arg-type]

    @property
    def evaluation(self) -> EvaluationSettings:
        """As a settings section."""
        return EvaluationSettings(self.eval_ways, self.eval_shots)  # type: ignore[arg-type]

    def training(self, learner: str) -> TrainingSettings:
        """The training settings of one learner; fields that its module decides are None."""
        own = self.learners.get(learner, TrainingSettings())
        return TrainingSettings(
            way=own.way or self.way,
            shot=own.shot or self.shot,
            query=own.query or self.query,  # type: ignore[arg-type]
            steps=own.steps or self.steps,
            outer_lr=own.outer_lr or self.outer_lr,
        )


_ADAPTING_ON_DIGITS = TrainingSettings(way=10, steps=2000)  # longer, and the way of the paper's MNIST

PRESETS = {
    "digits": Preset(
        "ours, chosen without labels: about 40 images per cluster, way and shot as on Omniglot, a length of a minute;"
        " pixels, because their partitions agree better with each other than those of a short ACAI"
        " (docs/reproduction.md)",
        embedder="pixels", clusters=25, partitions=100, eval_ways=(10,), way=20, query=5, steps=500,
        learners=dict.fromkeys(("maml", "anil", "meta_sgd", "reptile"), _ADAPTING_ON_DIGITS),
    ),
    "omniglot": Preset(
        "Hsu et al. 2019, tables 5 and 6; k and P: scripts",
        clusters=500, partitions=100, eval_ways=(5, 20), way=20, steps=30_000,
    ),
    "mnist": Preset(
        "Hsu et al. 2019, table 5 (MAML), for ProtoNets too, as table 6 has no column for MNIST; k and P: scripts",
        clusters=10, partitions=100, eval_ways=(10,), eval_shots=(1, 5, 10), way=10, steps=30_000,
    ),
    "miniimagenet": Preset(
        "Hsu et al. 2019, tables 5 and 6; k and P: scripts",
        embedder="deepcluster", clusters=500, partitions=50, eval_shots=(1, 5, 20, 50), steps=60_000,
    ),
    "celeba": Preset(
        "Hsu et al. 2019, tables 5 and 6; k and P: scripts",
        embedder="deepcluster", clusters=500, partitions=50, eval_ways=(2,), eval_shots=(5,), way=2, steps=60_000,
    ),
    "imagenet": Preset(
        "Hsu et al. 2019, scripts of November 2018 that the paper does not describe: imagenet_kmeans; k and P:"
        " imagenet_resnet_kmeans",
        embedder="deepcluster", clusters=1000, partitions=1, eval_shots=(1, 5, 20, 50), steps=120_000,
    ),
    "folder": Preset(
        "ours: nothing is known about the images, and a run should end in minutes",
        embedder="deepcluster", clusters=None, partitions=50, eval_ways=None, query=5, steps=1_000,
        embedder_steps={"deepcluster": 600},
        options={"deepcluster": {"network": "conv4"}},
    ),
}  # fmt: skip
"""By data set."""

PHOTOGRAPHS: Mapping[str, str] = {
    "embedder": "pretrained",
    "algo": "protonets,nearest_neighbours,logistic_regression",
    "partitions": "5",
    "on_embeddings": "true",
    "backbone": "linear",
    "protonets_metric": "cosine",
    "protonets_feature_dropout": "0.3",
    "way": "20",
    "shot": "1",
    "query": "4",
    "steps": "1000",
    "outer_lr": "0.0001",
}
"""The flags of a folder of photographs, instead of its preset; ours, as in flags/folder_pretrained_protonets.txt."""

_ROUNDS: Mapping[str, str] = {
    "algo": "protonets",
    "rounds": "3",
    "first_partitioner": "instances",
    "partitioner": "kmeans",
    "partitions": "3",
    "way": "60",
    "shot": "1",
    "query": "4",
}
RECIPES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "paper": {},
    "rounds": {
        "": {**_ROUNDS, "augmentation": "photo", "round_steps": "4000,6000", "steps": "10000"},
        "omniglot": {
            **_ROUNDS, "augmentation": "affine", "rotate_classes": "true", "rounds": "4", "partitioner": "neighbors",
            "partitions": "1", "round_steps": "3000,4000,4500", "steps": "5500", "outer_schedule": "cosine",
            "outer_warmup": "100",
        },
        "folder": {
            **_ROUNDS, "augmentation": "photo", "rounds": "2", "way": "20", "round_steps": "2000", "steps": "2500",
        },
        "mnist": {**_ROUNDS, "augmentation": "affine", "round_steps": "2000", "steps": "4000"},
        "digits": {
            **_ROUNDS, "algo": "protonets,nearest_neighbours", "augmentation": "affine",
            "way": "20", "round_steps": "100", "steps": "300",
        },
    },
}  # fmt: skip
"""The values of `--recipe`: flags by data set, "" for all others; ours, as in flags/omniglot_rounds.txt."""

UNPUBLISHED = Preset("Hsu et al. 2019, the settings of most data sets")


def preset(dataset: str) -> Preset:
    """The default settings of a data set."""
    return PRESETS.get(dataset, UNPUBLISHED)


def default_clusters(images: int, way: int) -> int:
    """k if the preset leaves it open: 40 images per cluster, as on Omniglot (44), at most the paper's 500."""
    return max(way, min(500, images // 40))


def default_round_clusters(images: int, drawn: int) -> int:
    """k of each round after the first: on average, a cluster has three times the images that a task draws from it.

    Args:
      images: number of training images.
      drawn: shot + query of the training episodes.
    """
    return images // (3 * drawn)


def default_eval_way(classes: int, way: int) -> int:
    """N of evaluation if the preset leaves it open: five, or as many as there are classes, or as in training."""
    return max(2, min(5, way, classes))
