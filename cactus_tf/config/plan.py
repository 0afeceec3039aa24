"""What is unsaid is filled: from the data set's usual values, then the learner's, and from the size of the data."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

from cactus_tf.config.schema import (
    Config,
    EmbeddingSettings,
    EvaluationSettings,
    PartitionSettings,
    Said,
    TrainingSettings,
    check_ranges,
    network_only,
)
from cactus_tf.errors import InputError

_TRAINING = TrainingSettings(way=5, shot=1, steps=30_000, outer_lr=1e-3)


@dataclasses.dataclass(frozen=True)
class Usual:
    """The usual settings of a data set; the defaults here are those of a data set nobody published on."""

    embedder: str = "acai"
    embedder_steps: int | None = None
    partitioner: str = "kmeans"
    clusters: Any = 500  # None: as many as the number of images allows
    partitions: int = 100
    eval_ways: Any = (5,)  # None: five, or as many as there are labelled classes
    eval_shots: tuple[int, ...] = (1, 5)
    training: TrainingSettings = _TRAINING
    learners: Mapping[str, TrainingSettings] = dataclasses.field(default_factory=dict)


DEFAULTS = {
    # Ours, chosen without labels: about 40 images per cluster as the paper has on Omniglot; pixels because their
    # partitions agree better with each other than those of a short ACAI (docs/reproduction.md); way and shot as the
    # paper's on Omniglot; a length of a minute. What adapts needs longer, and takes the way of the paper's MNIST.
    "digits": Usual(
        embedder="pixels", clusters=25, partitions=100, eval_ways=(10,), eval_shots=(1, 5),
        training=TrainingSettings(way=20, shot=1, steps=500, outer_lr=1e-3),
        learners=dict.fromkeys(("maml", "anil", "meta_sgd", "reptile"), TrainingSettings(way=10, steps=2000)),
    ),
    # Hsu et al. 2019, tables 5 and 6; k and P from the authors' scripts.
    "omniglot": Usual(
        eval_ways=(5, 20), training=TrainingSettings(way=20, shot=1, steps=30_000, outer_lr=1e-3)
    ),
    # Way, shot, steps and rate of table 5 (MAML); table 6 has no column for MNIST.
    "mnist": Usual(
        clusters=10, eval_ways=(10,), eval_shots=(1, 5, 10),
        training=TrainingSettings(way=10, shot=1, steps=30_000, outer_lr=1e-3),
    ),
    "miniimagenet": Usual(
        embedder="deepcluster", partitions=50, eval_ways=(5,), eval_shots=(1, 5, 20, 50),
        training=TrainingSettings(way=5, shot=1, steps=60_000, outer_lr=1e-3),
    ),
    "celeba": Usual(
        embedder="deepcluster", partitions=50, eval_ways=(2,), eval_shots=(5,),
        training=TrainingSettings(way=2, shot=1, steps=60_000, outer_lr=1e-3),
    ),
    # The authors' scripts of 2018-11, which the paper does not have: imagenet_kmeans, whose clusters come in files.
    "imagenet": Usual(
        embedder="deepcluster", clusters=1000, partitions=1, eval_ways=(5,), eval_shots=(1, 5, 20, 50),
        training=TrainingSettings(way=5, shot=1, steps=120_000, outer_lr=1e-3),
    ),
    # Ours: nothing is known of the images, and somebody waits for the end.
    "folder": Usual(
        embedder="deepcluster", clusters=None, partitions=50, eval_ways=None, eval_shots=(1, 5),
        training=TrainingSettings(way=5, shot=1, query=5, steps=5_000, outer_lr=1e-3),
    ),
}  # fmt: skip
"""What each data set takes where a flag is unsaid. A learner's own usual values stand in its module, as DEFAULTS."""


def resolve(
    said: Said,
    options: Mapping[str, Any],
    learner_usual: Mapping[str, TrainingSettings],
    embedder_steps: int | None = None,
    fixed_heads: Collection[str] = (),
    usual_networks: Mapping[str, TrainingSettings] | None = None,
    trained: bool | None = None,
) -> Config:
    """Fills what is unsaid: first from the data set's usual values, then from the learner's.

    Args:
      said: settings as the user said them.
      options: each chosen member's own settings, by member name.
      learner_usual: the DEFAULTS of each chosen learner that is meta-trained, by name.
      embedder_steps: the usual length of the chosen embedder, None where it has none.
      fixed_heads: the learners that cannot answer with more classes than they were trained with.
      usual_networks: the NETWORK of each chosen learner that has one and is not meta-trained, by name.
      trained: whether the embedder has a length; by default whether it has a usual one.

    Raises:
      InputError: a number is out of its range, or two settings contradict each other.
    """
    usual = DEFAULTS.get(said.data.dataset, Usual())
    embedding = merge(said.embedding, EmbeddingSettings(usual.embedder, usual.embedder_steps))
    trained = embedder_steps is not None if trained is None else trained
    embedding = dataclasses.replace(
        embedding, embedder_steps=(embedding.embedder_steps or embedder_steps) if trained else None
    )
    partition = merge(said.partition, PartitionSettings(usual.partitioner, usual.clusters, usual.partitions))
    evaluation = merge(said.evaluation, EvaluationSettings(usual.eval_ways, usual.eval_shots))
    learners = {
        name: merge(said.training, usual.learners.get(name, TrainingSettings()), usual.training, own)
        for name, own in learner_usual.items()
    }
    networks = {name: merge(network_only(said.training), own) for name, own in (usual_networks or {}).items()}
    for settings in (said.data, embedding, partition, evaluation, said.run, *learners.values(), *networks.values()):
        check_ranges(settings)
    for member, settings in options.items():
        check_ranges(settings, f"--{member}_")
    config = Config(said.data, embedding, partition, learners, networks, evaluation, said.run, dict(options))
    _check_way(config)
    _check_network(config)
    for name in fixed_heads:
        _check_head(name, config.learners[name].way, said.evaluation.eval_ways, evaluation.eval_ways)
    return config


def sized(config: Config, images: int, classes: int) -> Config:
    """The configuration with what only the data can tell, where it is unsaid.

    Args:
      config: its clusters or eval_ways may be None.
      images: for training; a cluster has 40 of them, as on Omniglot (44), but there are 500 at most, the paper's k.
      classes: to judge on, 0 where there are no labels.
    """
    partition, evaluation = config.partition, config.evaluation
    way = max((training.way for training in config.learners.values()), default=2)
    if partition.clusters is None:
        partition = dataclasses.replace(partition, clusters=max(way, min(500, images // 40)))
    if evaluation.eval_ways is None:
        evaluation = dataclasses.replace(evaluation, eval_ways=(max(2, min(5, way, classes)),))
    return dataclasses.replace(config, partition=partition, evaluation=evaluation)


def usual_steps(steps: int | Mapping[str, int], dataset: str | None) -> int | None:
    """The usual length of an embedder on a data set, from its module's STEPS: one for all, or one by data set.

    None where only the number of images can tell.
    """
    return steps.get(dataset or "") if isinstance(steps, Mapping) else steps


def merge(*layers: Any) -> Any:
    """One settings object from several of its type: of each field the first value that is not None."""
    first = layers[0]
    names = [field.name for field in dataclasses.fields(first)]
    values = {n: next((v for v in (getattr(layer, n) for layer in layers) if v is not None), None) for n in names}
    return type(first)(**values)


def _check_way(config: Config) -> None:
    if config.partition.partitioner in ("labels", "hyperplanes"):
        return  # labels and zones have their own number, which only the data know
    if config.partition.clusters is None:
        return
    for training in config.learners.values():
        if training.way > config.partition.clusters:
            raise InputError(
                f"--way={training.way} is more than --clusters={config.partition.clusters}: "
                "an episode needs a cluster for each of its classes; lower --way or raise --clusters"
            )


def _check_network(config: Config) -> None:
    for training in (*config.learners.values(), *config.networks.values()):
        if training.on_embeddings and training.backbone not in (None, "mlp"):
            raise InputError(
                f"--on_embeddings: {training.backbone} takes images; leave --backbone out or set --backbone=mlp"
            )


def _check_head(name: str, way: int, said: tuple[int, ...] | None, ways: tuple[int, ...] | None) -> None:
    """Holds the evaluation ways that were said, and one at least of the usual ones, to the outputs of a fixed head."""
    if ways is None:
        return
    above = [w for w in said or () if w > way] or ([] if any(w <= way for w in ways) else [min(ways)])
    if above:
        raise InputError(
            f"--eval_ways={above[0]} is more than --way={way}: the head of {name} is fixed in training and has --way "
            "outputs; lower --eval_ways or raise --way"
        )
