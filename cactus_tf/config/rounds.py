"""The rounds of a run: each embeds by the features that the one before has learned, partitions, and trains anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cactus_tf import plugins
from cactus_tf.config.schema import Settings, check_warmup
from cactus_tf.errors import InputError

EMBEDDER = "learner"
CLUSTERS = "rounds.csv"
"""In the folder of a run, the clusters of each round."""
Info = Callable[[str, str], Any]
"""(family, name) -> what a member declares."""


def folder_of(folder: Path, number: int) -> Path:
    """The folder of an earlier round, itself a run that ends after training.

    Args:
      folder: of the run.
      number: of the round, from 1.
    """
    return folder / "rounds" / str(number)


def learner_of(settings: Settings, info: Info = plugins.info) -> str:
    """The learner whose features embed the next round: the first that is meta-trained and has features.

    Raises:
      InputError: there is none.
    """
    for name in settings.learners:
        if info("learners", name).features:
            return name
    raise InputError(
        f"--rounds={settings.partition.rounds} needs a learner with features of single images: add protonets to --algo"
    )


def settings_of(settings: Settings, number: int, folder: Path) -> Settings:
    """The settings of one round.

    Args:
      settings: of the run; with one round, they are returned unchanged.
      number: of the round, from 1; the last one evaluates as the run does.
      folder: of the run.
    """
    if settings.partition.rounds == 1:
        return settings
    partition = _partition(settings, number)
    round_settings = dataclasses.replace(settings, partition=partition)
    if number > 1:
        round_settings = _embedded(round_settings, folder_of(folder, number - 1))
    if 1 < number < settings.partition.rounds:  # test images are embedded by the first round, to find near-duplicates
        only_train = dataclasses.replace(settings.evaluation, eval_split="train")
        round_settings = dataclasses.replace(round_settings, evaluation=only_train)
    if number < settings.partition.rounds:
        round_settings = _trained_only(round_settings, steps_of(settings, number), folder_of(folder, number))
    return round_settings


def partitioner_of(settings: Settings, number: int) -> str:
    """The partitioner of a round."""
    return _partition(settings, number).partitioner


def clusters_of(settings: Settings) -> list[tuple[str, int | None, str]]:
    """What makes the clusters of each round: the flag of k, k (None if only the data can tell), and the partitioner."""
    part = settings.partition
    first = ("--clusters", part.clusters, partitioner_of(settings, 1))
    if part.rounds == 1:
        return [first]
    return [first, *(("--round_clusters", k, part.partitioner) for k in part.round_clusters or (None,))]


def reported(settings: Settings) -> dict[str, Any]:
    """What rows of results.json say about the rounds of a run, besides the settings of the last one."""
    return {
        "rounds": settings.partition.rounds,
        "first_partitioner": partitioner_of(settings, 1),
        "round_steps": earlier_steps(settings),
    }


def earlier_steps(settings: Settings) -> list[int]:
    """Outer steps of each round but the last; they may not change within a run, as all that follows depends on them."""
    return [steps_of(settings, number) for number in range(1, settings.partition.rounds)]


def steps_of(settings: Settings, number: int) -> int:
    """Outer steps of a round."""
    own = settings.learners[learner_of(settings)].steps
    if number == settings.partition.rounds:
        return own
    return _at(settings.partition.round_steps, number - 1) or own


def _at(values: tuple[int, ...] | None, index: int) -> int | None:
    """The value of that index; the last one if there are fewer."""
    return values[min(index, len(values) - 1)] if values else None


def _partition(settings: Settings, number: int) -> Any:
    part, first = settings.partition, number == 1
    return dataclasses.replace(
        part,
        partitioner=(first and part.first_partitioner) or part.partitioner,
        clusters=(None if first else _at(part.round_clusters, number - 2)) or part.clusters,
        rounds=1,
        first_partitioner=None,
        round_clusters=None,
        round_steps=None,
    )


def _embedded(settings: Settings, run: Path) -> Settings:
    """With the features of an earlier round's learner as embeddings."""
    own = plugins.options("embedders", EMBEDDER, run=str(run.resolve()), algo=learner_of(settings))
    embedding = dataclasses.replace(
        settings.embedding, embedder=EMBEDDER, embedder_steps=None, embedding_norm=None, embedding_center=None
    )
    options = {name: value for name, value in settings.options.items() if name != settings.embedding.embedder}
    return dataclasses.replace(settings, embedding=embedding, options={**options, EMBEDDER: own})


def _trained_only(settings: Settings, steps: int, folder: Path) -> Settings:
    name = learner_of(settings)
    learners = {name: dataclasses.replace(settings.learners[name], steps=steps)}
    run = dataclasses.replace(settings.run, algo=(name,), stage="train", workdir=str(folder))
    return dataclasses.replace(settings, learners=learners, networks={}, run=run)


def check(settings: Settings, info: Info) -> None:
    """Checks that a run of several rounds has what they need.

    Raises:
      InputError: a setting of rounds in a run of one, no learner with features, or no images.
    """
    part = settings.partition
    if part.rounds == 1:
        extra = [n for n in ("first_partitioner", "round_clusters", "round_steps") if getattr(part, n) is not None]
        if extra:
            remedy = "leave it out" if settings.run.recipe == "paper" else "take --recipe=paper"
            raise InputError(f"--{extra[0]} is for several rounds: add --rounds=2 or more, or {remedy}")
        return
    for name in ("round_clusters", "round_steps"):
        numbers = len(getattr(part, name) or ())
        if numbers > part.rounds - 1:
            which = "before the last" if name == "round_steps" else "after the first"
            raise InputError(
                f"--{name} has {numbers} numbers, and --rounds={part.rounds} has {part.rounds - 1} {which}: leave out "
                "the others"
            )
    training = settings.learners[learner_of(settings, info)]
    data = settings.data.dataset
    if info("datasets", data).gives_features(settings.options.get(data)):
        raise InputError(
            f"--rounds={part.rounds} needs images, and --dataset={data} gives features: leave --rounds out or take "
            "--recipe=paper"
        )
    for steps in part.round_steps or ():
        check_warmup(training.outer_schedule, training.outer_warmup, steps, "--round_steps")
