"""The settings: every number with its meaning, unit, symbol in the papers, range and source."""

import dataclasses
import math
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
    evaluation_only: bool = False,
) -> Any:
    """A dataclass field that documents itself and becomes a flag.

    Args:
      default: its value when unsaid; None where the data set or the learner decides.
      meaning: what it is, in a few words.
      low, high: the inclusive range of allowed numbers (of every number, for a list).
      unit: of the number.
      symbol: what the papers call it.
      source: where the default comes from.
      evaluation_only: whether nothing that is trained depends on it, so that it may change between two evaluations.
    """
    metadata = {"meaning": meaning, "low": low, "high": high, "unit": unit, "symbol": symbol, "source": source}
    return dataclasses.field(default=default, metadata={**metadata, "evaluation_only": evaluation_only})


# Fields of the sections below are None where nothing was said; `resolving` fills all but folders, image_size and
# embedder_steps, so their types leave None out.


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


def _what_is_trained(settings: Any) -> dict[str, Any]:
    evaluation_only = {field.name for field in dataclasses.fields(settings) if field.metadata.get("evaluation_only")}
    return {k: v for k, v in dataclasses.asdict(settings).items() if k not in _MAY_CHANGE | evaluation_only}


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
