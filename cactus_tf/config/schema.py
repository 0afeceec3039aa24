"""The settings: every number with its meaning, unit, symbol in the papers, range and source."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, NamedTuple

from cactus_tf.errors import InputError
from cactus_tf.utils.text import shortened

_BEYOND = 2**63  # no setting is as large; whole numbers above it fit no array


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
    path: bool = False,
    repeats: bool = False,
) -> Any:
    """A dataclass field that documents itself and becomes a flag.

    Args:
      default: its value unless given; None if the data set or the learner decides.
      meaning: one short sentence, which `--help` prints.
      low, high: the inclusive range of allowed numbers (of every number in a list).
      unit: of the number.
      symbol: its name in the papers.
      source: where the default comes from.
      evaluation_only: whether training does not depend on it, so that it may change from one evaluation to the next.
      path: whether it is a path, in which ~ is the home folder.
      repeats: whether a list keeps what is in it twice.
    """
    metadata = {"meaning": meaning, "low": low, "high": high, "unit": unit, "symbol": symbol, "source": source}
    return dataclasses.field(
        default=default, metadata={**metadata, "evaluation_only": evaluation_only, "path": path, "repeats": repeats}
    )


# A field of the sections below is None until it is given; `config.resolve` fills in all but folders, image_size,
# embedder_steps, embedding_norm and embedding_center, so the types leave None out.


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """Data"""

    dataset: str = option("digits", "data set")
    data_dir: str | None = option(
        None, "folder with the data set's files; default: download, where possible", path=True
    )
    eval_dir: str | None = option(None, "folder of test images, a subfolder per class (--dataset=folder)", path=True)
    image_size: int | None = option(
        None, "side of the resized images; default: 84, or 28 for small gray images", unit="pixels", low=8
    )


@dataclasses.dataclass(frozen=True)
class EmbeddingSettings:
    """Embedding: how images become vectors, without labels"""

    embedder: str = option(None, "embedder")
    embedder_steps: int | None = option(None, "training steps of the embedder; schedules are scaled to fit", low=1)
    embedding_norm: str | None = option(
        None,
        "what learners and partitioners compare: none (embeddings as they are), unit (scaled to length 1), centered "
        "(minus the mean training embedding, then unit); default: centered (pretrained), none (others)",
        source="ours",
    )
    embedding_center: float | None = option(
        None, "share of the mean that centered subtracts; default: 1", low=0, high=1, source="ours"
    )


@dataclasses.dataclass(frozen=True)
class PartitionSettings:
    """Partitions: how embeddings become pseudo-classes"""

    partitioner: str = option(None, "partitioner; labels is the oracle")
    clusters: int = option(None, "clusters of a partition", symbol="k", low=2)
    partitions: int = option(None, "number of partitions", symbol="P", low=1)
    supervised_fraction: float = option(
        0.0, "share of the training tasks made from true labels", low=0, high=1, source="Hsu et al. 2019"
    )
    rounds: int = option(
        1,
        "times to embed, partition and train; each round embeds by the features that the previous one learned",
        low=1,
        source="ours",
    )
    first_partitioner: str | None = option(
        None, "partitioner of the first of several rounds; default: as in the others", source="ours"
    )
    round_clusters: tuple[int, ...] | None = option(
        None,
        "k of each round after the first, a list whose last number repeats; default: a cluster for every "
        "3 (shot + query) images",
        symbol="k",
        low=2,
        source="ours",
        repeats=True,
    )
    round_steps: tuple[int, ...] | None = option(
        None,
        "outer steps of each round but the last, a list whose last number repeats; default: --steps",
        low=1,
        source="ours",
        repeats=True,
    )


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """Meta-training"""

    backbone: str = option(None, "network")
    filters: int = option(None, "channels of each convolution, or units of each layer of the mlp", symbol="F", low=1)
    norm: str = option(
        None, "normalization: running (ProtoNets only), batch (MAML and its relatives only), layer or none"
    )
    on_embeddings: bool = option(None, "learn on embeddings instead of images, by default with the mlp network")
    way: int = option(None, "classes of a training episode", symbol="N", low=2)
    shot: int = option(None, "support images per class of a training episode", symbol="K", low=1)
    query: int = option(None, "query images per class of a training episode", symbol="Q", low=1)
    steps: int = option(None, "outer steps", low=0)
    tasks_per_step: int = option(None, "episodes per outer step", symbol="T", low=1)
    outer_lr: float = option(None, "learning rate of Adam in the outer loop", symbol="beta", low=0)
    outer_schedule: str = option(
        "constant",
        "how the outer learning rate changes after the warm-up: constant, or cosine (to 0 at the end of --steps)",
        source="ours; Hsu et al. 2019: constant",
    )
    outer_warmup: int = option(
        0,
        "first outer steps, in which the learning rate grows from 0 to --outer_lr",
        symbol="W",
        low=0,
        source="ours; Hsu et al. 2019: none",
    )
    precision: str = option(
        "float32",
        "numbers of the network's convolutions: float32 or mixed_bfloat16 (for GPUs; weights, norms and losses remain "
        "float32)",
        source="ours; Hsu et al. 2019: float32",
    )
    select: str = option(
        "last",
        "which weights are used: last, or pseudo (those with the highest accuracy on tasks of clusters that training "
        "leaves out, without labels)",
        source="ours; Hsu et al. 2019: last",
    )
    augmentation: str = option("none", "how the images of training episodes vary", source="ours; Hsu et al. 2019: none")
    augment_support: bool = option(True, "whether --augmentation varies support images")
    augment_query: bool = option(True, "whether --augmentation varies query images")
    rotate_classes: bool = option(
        False,
        "turn each class of a training episode by a random multiple of 90 degrees, which makes it a new class",
        source="Santoro et al. 2016",
    )

    @property
    def fixed_length(self) -> bool:
        """Whether every step depends on their number, so that a run cannot be extended."""
        return self.outer_schedule == "cosine" or self.select == "pseudo"


@dataclasses.dataclass(frozen=True)
class EvaluationSettings:
    """Evaluation on tasks with true labels"""

    eval_ways: tuple[int, ...] = option(None, "classes of an evaluation episode; a list", symbol="N", low=2)
    eval_shots: tuple[int, ...] = option(None, "support images per class; a list", symbol="K", low=1)
    eval_query: int = option(5, "query images per class", symbol="Q", low=1, source="Hsu et al. 2019, section 4")
    eval_episodes: int = option(1000, "episodes per way and shot", low=1, source="Hsu et al. 2019, section 4")
    eval_split: str = option("test", "split to evaluate on: test, val or train", source="Hsu et al. 2019, section 4")


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """Run"""

    algo: tuple[str, ...] = option(("protonets", "nearest_neighbours"), "learners; a list")
    recipe: str = option(
        "paper",
        "a set of defaults: paper (one round, as published) or rounds (varied copies of single images, then clusters "
        "of learned features); explicit flags take precedence",
        source="ours",
    )
    stage: str = option("all", "last stage: prepare, embed, partition, train, evaluate, report or all")
    workdir: str | None = option(
        None, "folder of this run; default: runs/DATASET-EMBEDDER-PARTITIONER-ALGO-KEY", path=True
    )
    artifacts_dir: str = option(
        "artifacts", "folder of prepared data, embedders and partitions, shared by all runs", path=True
    )
    plugins: str | None = option(
        None, "folder with members of your own, in subfolders such as embedders/; their code runs", path=True
    )
    seed: int = option(0, "seed of every random stream", low=0)
    validation: bool = option(True, "log accuracy on validation tasks during training, in at most 5% of its time")
    tensorboard_graph: bool = option(False, "log the graph of the training step to TensorBoard")
    profile_steps: int = option(0, "outer steps to profile for TensorBoard, after the first", low=0)
    distribute: str = option(
        "none",
        "divide the tasks of each training step: mirrored (over the GPUs of this machine, which divides an embedder's "
        "batches, too) or multiworker (over the machines that TF_CONFIG lists; run the same command on each)",
        source="ours",
    )
    xla: bool = option(False, "compile the training step with XLA, for GPUs", source="ours")
    images_on_device: bool = option(
        False, "keep the training images on the device, for GPUs with room for them", source="ours"
    )
    worker_timeout: int = option(600, "seconds to wait for the other workers of multiworker", low=1)
    verify: bool = option(False, "verify artifacts above 256 MiB whole, not by samples")
    quiet: bool = option(False, "print errors only")
    debug: bool = option(False, "show tracebacks and TensorFlow's own messages")


STAGES = ("prepare", "embed", "partition", "train", "evaluate", "report")
EVAL_SPLITS = ("test", "val", "train")
NORMS = ("running", "batch", "layer", "none")
"""The keys of `backbones.NORMS`, which needs TensorFlow."""
SCHEDULES = ("constant", "cosine")
"""The keys of `fewshot.schedules.SCHEDULES`, which needs TensorFlow."""
_hints = functools.cache(typing.get_type_hints)

SELECTIONS = ("last", "pseudo")
PRECISIONS = ("float32", "mixed_bfloat16")
DISTRIBUTIONS = ("none", "mirrored", "multiworker")
EMBEDDING_NORMS = ("none", "unit", "centered")


class GivenSettings(NamedTuple):
    """The sections as the user gave them; None where nothing was given."""

    data: DataSettings = DataSettings()
    embedding: EmbeddingSettings = EmbeddingSettings()
    partition: PartitionSettings = PartitionSettings()
    training: TrainingSettings = TrainingSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    run: RunSettings = RunSettings()


@dataclasses.dataclass(frozen=True)
class Settings:
    """The resolved settings of a run, as config.json holds them.

    Attributes:
      learners: the training settings of each meta-trained learner, by name.
      networks: which network, for each learner that has one and is not meta-trained, by name.
      options: each chosen member's own settings, by member name; only members that have any.
    """

    data: DataSettings
    embedding: EmbeddingSettings
    partition: PartitionSettings
    learners: Mapping[str, TrainingSettings]
    networks: Mapping[str, TrainingSettings]
    evaluation: EvaluationSettings
    run: RunSettings
    options: Mapping[str, Any]


def network_only(training: TrainingSettings) -> TrainingSettings:
    """The fields that choose the network; the others None."""
    fields = ("backbone", "filters", "norm", "on_embeddings")
    return TrainingSettings(**{field: getattr(training, field) for field in fields})


def merge(*layers: Any) -> Any:
    """One settings object from several of its type: of each field the first value that is not None."""
    names = [field.name for field in dataclasses.fields(layers[0])]
    values = {n: next((v for v in (getattr(layer, n) for layer in layers) if v is not None), None) for n in names}
    return type(layers[0])(**values)


def from_saved(kind: type, saved: Any) -> Any:
    """A settings object from a saved mapping; a field that it lacks has its default.

    Every saved object is read by this function: it checks names, types and ranges as the dataclass declares them. A
    field may be None where its default is None.

    Raises:
      InputError: a field that is unknown, missing, of another type or out of its range.
    """
    if not isinstance(saved, Mapping):
        raise InputError(f"{_shown(saved)} is not a mapping of settings")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(set(saved) - set(fields))
    if unknown:
        raise InputError(f"unknown setting {', '.join(unknown)}")
    required = [n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING]
    missing = [name for name in required if name not in saved]
    if missing:
        raise InputError(f"{', '.join(missing)} missing")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    hints = _hints(kind)
    for name, value in values.items():
        if not _has_type(value, hints[name]) and not (value is None and fields[name].default is None):
            raise InputError(f"{name} is {_shown(value)}, and it must be {_in_words(hints[name])}")
    settings = kind(**values)
    check_ranges(settings, "")
    return settings


def _has_type(value: Any, hint: Any) -> bool:
    """Whether a value has a type: int, float, bool, str, Mapping, a tuple of one of them, or a union."""
    arguments = typing.get_args(hint)
    if hint is Any:
        return True
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_has_type(value, one) for one in arguments)
    if typing.get_origin(hint) is tuple:
        return isinstance(value, tuple) and all(_has_type(one, arguments[0]) for one in value)
    if hint in (int, float):
        return isinstance(value, int if hint is int else (int, float)) and not isinstance(value, bool)
    return isinstance(value, typing.get_origin(hint) or hint)


def _in_words(hint: Any) -> str:
    """What a field takes, for a message."""
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    options = [one for one in typing.get_args(hint) if one is not type(None)]
    if typing.get_origin(hint) is tuple:
        return f"a list, each entry {words.get(options[0], 'a value')}"
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " or ".join(map(_in_words, options))
    return words.get(hint, "a mapping")


def _shown(value: Any) -> str:
    return shortened(repr(value), 40)


def check_warmup(schedule: str, warmup: int, steps: int, flag: str = "--steps") -> None:
    """Checks that the warm-up leaves steps to a schedule that ends with the training.

    Raises:
      InputError: it is as long as the training; names the flag of its length.
    """
    if schedule == "cosine" and 0 < steps <= warmup:
        raise InputError(
            f"--outer_warmup={warmup} leaves none of {flag}={steps} to --outer_schedule=cosine: lower it or raise "
            f"{flag}"
        )


def check_ranges(settings: Any, prefix: str = "--") -> None:
    """Checks every number of a settings object against the range that its field declares.

    Raises:
      InputError: names the flag, its value and the range.
    """
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        for number in value if isinstance(value, tuple) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                _check_range(f"{prefix}{field.name}", number, field.metadata.get("low"), field.metadata.get("high"))


def _check_range(flag: str, number: float, low: float | None, high: float | None) -> None:
    rules = [f"at least {low}"] if low is not None else []
    rules += [f"at most {high}"] if high is not None else []
    finite = abs(number) < _BEYOND  # also false for NaN
    if not finite or (low is not None and number < low) or (high is not None and number > high):
        raise InputError(f"{flag}={number}: it must be {' and '.join(rules + ([] if finite else ['finite']))}")
