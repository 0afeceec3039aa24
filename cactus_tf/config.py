"""The settings: every number with its meaning, unit, symbol in the papers, range and source."""

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from cactus_tf.errors import InputError


def option(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = "",
    symbol: str = "",
    source: str = "",
    judging: bool = False,
) -> Any:
    """A dataclass field that documents itself and becomes a flag.

    Args:
      default: its value when unsaid; None where the data set or the learner decides.
      meaning: what it is, in a few words.
      low, high: the inclusive range of allowed numbers (of every number, for a list).
      unit: of the number.
      symbol: what the papers call it.
      source: where the default comes from.
      judging: whether nothing that is trained depends on it, so that it may change between two judgements of a run.
    """
    metadata = {"meaning": meaning, "low": low, "high": high, "unit": unit, "symbol": symbol, "source": source}
    return dataclasses.field(default=default, metadata={**metadata, "judging": judging})


# Fields of the sections below are None where nothing was said; `resolve` and `sized` fill all but folders, image_size
# and embedder_steps, so their types leave None out.


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """What to learn from."""

    dataset: str = option("digits", "data set by name")
    data_dir: str | None = option(None, "folder with the official files; unsaid, tensorflow-datasets downloads")
    eval_dir: str | None = option(None, "of --dataset=folder: a folder of test images with a sub-folder per class")
    image_size: int | None = option(
        None, "side that images are resized to; unsaid, that of the data set", unit="pixels", low=8
    )


@dataclasses.dataclass(frozen=True)
class EmbeddingSettings:
    """How images become vectors, without labels."""

    embedder: str = option(None, "embedder by name")
    embedder_steps: int | None = option(None, "training steps of the embedder; schedules are scaled to fit", low=1)


@dataclasses.dataclass(frozen=True)
class PartitionSettings:
    """How the images are divided into pseudo-classes."""

    partitioner: str = option(None, "partitioner by name; labels is the oracle")
    clusters: int = option(None, "clusters of a partition", symbol="k", low=2)
    partitions: int = option(None, "number of partitions", symbol="P", low=1)
    supervised_fraction: float = option(
        0.0,
        "probability that a training task has true labels: those of the train split, on ImageNet of miniImageNet's 64 "
        "training classes",
        low=0,
        high=1,
    )


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """Meta-training of one learner; what is unsaid is the learner's or the data set's usual."""

    backbone: str = option(None, "network by name")
    filters: int = option(None, "channels of each convolution, units of each layer on embeddings", symbol="F", low=1)
    norm: str = option(None, "normaliser by name: running for ProtoNets; batch, layer or none for those that adapt")
    on_embeddings: bool = option(None, "learn on embeddings in place of images, with the mlp network")
    way: int = option(None, "classes of a training episode", symbol="N", low=2)
    shot: int = option(None, "support images per class of a training episode", symbol="K", low=1)
    query: int = option(None, "query images per class of a training episode", symbol="Q", low=1)
    steps: int = option(None, "outer steps", low=0)
    tasks_per_step: int = option(None, "episodes of one outer step", symbol="B", low=1)
    outer_lr: float = option(None, "rate of Adam in the outer loop", symbol="beta", low=0)


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """Tasks with true labels on which the learners are judged."""

    eval_ways: tuple[int, ...] = option(None, "classes of an evaluation episode; a list", symbol="N", low=2)
    eval_shots: tuple[int, ...] = option(None, "support images per class; every way with every shot", symbol="K", low=1)
    eval_query: int = option(5, "query images per class", symbol="Q", low=1, source="Hsu et al. 2019, section 4")
    eval_episodes: int = option(1000, "episodes of each way and shot", low=1, source="Hsu et al. 2019, section 4")
    eval_split: str = option("test", "split to judge on: test, val or train")


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """What to do, where, and how loudly."""

    algo: tuple[str, ...] = option(
        ("protonets", "nearest_neighbours"), "learners by name; they share all but their training"
    )
    stage: str = option("all", "how far to go: all, or up to prepare, embed, partition, train, evaluate, report")
    workdir: str | None = option(None, "folder of this run; unsaid runs/DATASET-EMBEDDER-PARTITIONER-ALGO-KEY")
    artifacts_dir: str = option("artifacts", "folder that runs share for prepared data, embedders and partitions")
    seed: int = option(0, "every random stream derives from it", low=0)
    tensorboard_graph: bool = option(False, "log the graph of the training step for TensorBoard")
    profile_steps: int = option(0, "outer steps to profile for TensorBoard, after the first", low=0)
    quiet: bool = option(False, "print errors only")
    debug: bool = option(False, "show tracebacks and TensorFlow's own messages")


def network_only(training: TrainingSettings) -> TrainingSettings:
    """Of settings of training what says which network; all else unsaid."""
    fields = ("backbone", "filters", "norm", "on_embeddings")
    return TrainingSettings(**{field: getattr(training, field) for field in fields})


class Said(NamedTuple):
    """The sections as the user said them; None where unsaid."""

    data: DataSettings = DataSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    partition: PartitionSettings = PartitionSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    run: RunSettings = RunSettings()


STAGES = ("prepare", "embed", "partition", "train", "evaluate", "report")
EVAL_SPLITS = ("test", "val", "train")


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
    training: TrainingSettings = TrainingSettings(way=5, shot=1, steps=30_000, outer_lr=1e-3)
    learners: Mapping[str, TrainingSettings] = dataclasses.field(default_factory=dict)


USUAL = {
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
"""What each data set takes where a flag is unsaid. A learner's own usual values stand in its module, as USUAL."""


@dataclasses.dataclass(frozen=True)
class Config:
    """The resolved configuration: nothing is left to a default.

    Attributes:
      learners: the training settings of each learner that is meta-trained, by name.
      networks: of each learner that has a network and is not meta-trained, what says which network, by name.
      options: each chosen member's own settings, by member name; only members that have any.
    """

    data: DataSettings
    embedding: EmbeddingSettings
    partition: PartitionSettings
    learners: dict[str, TrainingSettings]
    networks: dict[str, TrainingSettings]
    evaluation: EvaluationSettings
    run: RunSettings
    options: dict[str, Any]


def usual_steps(steps: int | Mapping[str, int], dataset: str | None) -> int | None:
    """The usual length of an embedder on a data set, from its module's STEPS: one for all, or one by data set.

    None where only the number of images can tell.
    """
    return steps.get(dataset or "") if isinstance(steps, Mapping) else steps


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


def merge(*layers: Any) -> Any:
    """One settings object from several of its type: of each field the first value that is not None."""
    first = layers[0]
    names = [field.name for field in dataclasses.fields(first)]
    values = {n: next((v for v in (getattr(layer, n) for layer in layers) if v is not None), None) for n in names}
    return type(first)(**values)


def check_ranges(settings: Any, prefix: str = "--") -> None:
    """Holds every number of a settings object to the range that its field declares.

    Raises:
      InputError: names the flag, its value and the range.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                _check_range(f"{prefix}{field.name}", number, field.metadata.get("low"), field.metadata.get("high"))


def _check_range(flag: str, number: float, low: float | None, high: float | None) -> None:
    rules = [f"at least {low}" for _ in [0] if low is not None] + [f"at most {high}" for _ in [0] if high is not None]
    rules = [*rules, *(["finite"] if not math.isfinite(number) else [])]
    if not math.isfinite(number) or (low is not None and number < low) or (high is not None and number > high):
        raise InputError(f"{flag}={number}: it must be {' and '.join(rules)}")


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
      learner_usual: the USUAL of each chosen learner that is meta-trained, by name.
      embedder_steps: the usual length of the chosen embedder, None where it has none.
      fixed_heads: the learners that cannot answer with more classes than they were trained with.
      usual_networks: the NETWORK of each chosen learner that has one and is not meta-trained, by name.
      trained: whether the embedder has a length; by default whether it has a usual one.

    Raises:
      InputError: a number is out of its range, or two settings contradict each other.
    """
    usual = USUAL.get(said.data.dataset, Usual())
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


def _what_is_trained(settings: Any) -> dict[str, Any]:
    judging = {field.name for field in dataclasses.fields(settings) if field.metadata.get("judging")}
    return {k: v for k, v in dataclasses.asdict(settings).items() if k not in _MAY_CHANGE | judging}


_MAY_CHANGE = {"steps", "data_dir", "eval_dir", "dir"}  # lengths, and where the same files lie


def identity(config: Config) -> dict[str, Any]:
    """What a workdir belongs to: all that changes the numbers, but no length, evaluation, stage or display setting."""
    sections = {
        "data": config.data,
        "embedding": config.embedding,
        "partition": config.partition,
        **{f"learners.{name}": settings for name, settings in config.learners.items()},
        **{f"networks.{name}": settings for name, settings in config.networks.items()},
        **{f"options.{name}": settings for name, settings in config.options.items()},
    }
    kept = {section: _what_is_trained(settings) for section, settings in sections.items()}
    return {**kept, "algo": list(config.run.algo), "seed": config.run.seed}
