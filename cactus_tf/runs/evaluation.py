"""The stage that judges: accuracy of every learner on the same tasks of true labels."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cactus_tf import plugins
from cactus_tf.config.schema import Config
from cactus_tf.contracts import AdaptingLearner, Learner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import (
    Classify,
    accuracy,
    evaluate,
    leaks,
    paired_difference,
    trace_accuracies,
    with_features,
)
from cactus_tf.runs import predictions, results, tensorboard
from cactus_tf.runs.predictions import Judged, Task
from cactus_tf.types import Accuracy, ImageSet, Partitions, Splits
from cactus_tf.utils import files, seeds

log = logging.getLogger(__name__)

_VALIDATION_EPISODES = 100


def judge(
    config: Config,
    data: Splits,
    embeddings: dict[str, np.ndarray],
    learners: dict[str, Learner],
    folder: Path,
    clock: results.Clock,
) -> list[dict[str, Any]]:
    """Accuracy of every learner at every way and shot, on the same episodes: the rows of results.json.

    There are none where the split to judge on has no labels. What was judged before, by the same weights on the same
    tasks, is used.

    Args:
      config: resolved and sized.
      data: of all splits.
      embeddings: [n, dim] float32 by split, for learners that consume them.
      learners: by name, trained; the others are compared with the first of them.
      folder: the workdir.
      clock: is told of seconds that earlier commands spent.

    Raises:
      InputError: the labels do not allow the tasks.
      RunError: adaptation diverged.
    """
    if evaluation_set(config, data).partitions is None:
        return []
    rows: list[dict[str, Any]] = []
    adaptation: list[dict[str, Any]] = []
    reference: dict[Task, Accuracy] = {}  # of the first learner
    first = next(iter(learners))
    for name, learner in learners.items():
        say_left_out(config, name)
        for task, judged in judge_one(config, data, embeddings, name, learner, folder / name, clock):
            row = results.row(config, name, task, judged.accuracy, learner) | judged.marks
            if name == first:
                reference[task] = judged.accuracy
            elif task in reference:
                row |= results.against(first, paired_difference(judged.accuracy, reference[task]))
            rows.append(row)
            adaptation += judged.adaptation
    if adaptation:
        files.write_csv(folder / "adaptation.csv", adaptation, list(adaptation[0]))
    return rows


def judge_one(
    config: Config,
    data: Splits,
    embeddings: dict[str, np.ndarray],
    name: str,
    learner: Learner,
    folder: Path,
    clock: results.Clock,
) -> Iterator[tuple[Task, Judged]]:
    """What came of one learner at every (way, shot), kept in its folder WORKDIR/NAME; arguments as of `judge`."""
    split, images = config.evaluation.eval_split, evaluation_set(config, data)
    assert images.partitions is not None
    inputs = embeddings[split] if learner.consumes == "embeddings" else images.images
    of = predictions.depends_on(config, name, learner, inputs)
    prepared = functools.cache(lambda: with_features(learner, inputs))  # not needed where all was judged before
    if leaks(learner):
        log.warning("%s saw the labels of the queries that it is judged on; its rows are marked leak", name)
    before = []
    for task in evaluation_tasks(config, name):
        judged = predictions.kept(folder, split, task, of)
        if judged is None:
            classify, rows = prepared()
            episodes = evaluation_episodes(config, split, rows, images.partitions, *task)
            judged = ask(name, learner, classify, episodes, config.evaluation.eval_episodes)
            predictions.keep(folder, split, task, judged, of)
        else:
            clock.count_earlier("evaluate", judged.seconds)
            before.append("{}-way {}-shot".format(*task))
        yield task, judged
    if before:
        log.info(
            "evaluate: %s was judged before at %s; delete %s to judge it anew",
            name, ", ".join(before), folder / "judged-*.json",
        )  # fmt: skip


def ask(name: str, learner: Learner, classify: Classify, episodes: Episodes, number: int) -> Judged:
    """A learner's accuracy on so many episodes.

    Args:
      name, learner: who is asked; one that adapts answers by its `trace`.
      classify: what every other one answers by.
      episodes: of images, embeddings or features, as `classify` takes them.
      number: how many of them.

    Raises:
      RunError: adaptation diverged.
    """
    unanswered, began = getattr(learner, "unanswered", 0), time.monotonic()
    adaptation: list[dict[str, Any]] = []
    if isinstance(learner, AdaptingLearner):
        traced = trace_accuracies(learner, episodes, number)
        adaptation = results.adaptation_rows(name, (episodes.way, episodes.shot), traced)
        found = traced.query[-1]
    else:
        found = accuracy(classify, episodes, number, leaks(learner))
    return Judged(found, marks(learner, unanswered), adaptation, time.monotonic() - began)


def marks(learner: Learner, unanswered: int) -> dict[str, Any]:
    """What a reader of a row must know: `leak`, and how many tasks more than `unanswered` had no answer of its own."""
    found: dict[str, Any] = {"leak": True} if leaks(learner) else {}
    if hasattr(learner, "unanswered"):
        found["unanswered"] = learner.unanswered - unanswered
    return found


def evaluation_set(config: Config, data: Splits) -> ImageSet:
    """The split to judge on."""
    return getattr(data, config.evaluation.eval_split)


def evaluation_tasks(config: Config, name: str | None = None) -> list[tuple[int, int]]:
    """Every (way, shot) to judge; for a learner with a fixed head those that it can answer."""
    ways = config.evaluation.eval_ways
    if name and getattr(plugins.load("learners", name), "FIXED_HEAD", False):
        ways = tuple(way for way in ways if way <= config.learners[name].way)
    return [(way, shot) for way in ways for shot in config.evaluation.eval_shots]


def say_left_out(config: Config, name: str) -> None:
    """Notes the usual ways that a learner with a fixed head cannot answer; said ones are refused at the start."""
    judged = {way for way, _ in evaluation_tasks(config, name)}
    left_out = [str(way) for way in config.evaluation.eval_ways if way not in judged]
    if left_out:
        head = config.learners[name].way
        log.info("%s is not judged at %s-way: its head has the %d outputs of --way", name, ", ".join(left_out), head)


def evaluation_episodes(
    config: Config, split: str, rows: np.ndarray, partitions: Partitions, way: int, shot: int
) -> Episodes:
    """Tasks with true labels: the same for the same seed, whatever the learner."""
    seed = seeds.derive(config.run.seed, f"evaluation episodes of {split}")
    query = config.evaluation.eval_query
    try:
        return Episodes(rows, partitions, way=way, shot=shot, query=query, seed=seed)
    except InputError as error:
        large = max(int(np.count_nonzero(partition.sizes >= shot + query)) for partition in partitions)
        raise InputError(
            f"--eval_ways={way} --eval_shots={shot}: {large} classes of {split} have {shot + query} images or more "
            f"(shot {shot} + query {query}): lower --eval_ways, --eval_shots or --eval_query, or add images"
        ) from error


def small_classes(images: ImageSet, needed: int, most: int = 5) -> str:
    """Names, by the folders of their files, and sizes of the classes with fewer images than needed; "" for none.

    Only of image sets from files, with one partition.
    """
    if images.names is None or images.partitions is None or len(images.partitions) > 1:
        return ""
    classes = images.partitions[0]
    small = np.flatnonzero(classes.sizes < needed)
    folders = [PurePosixPath(images.names[classes.cluster(c)[0]].decode()).parent for c in small[:most]]
    said = [f"{folder} ({classes.sizes[c]} images)" for folder, c in zip(folders, small, strict=False)]
    return ", ".join([*said, *([f"and {len(small) - most} more"] if len(small) > most else [])])


def validation(config: Config, name: str, learner: Learner, data: Splits, events: tensorboard.Events):
    """A callback that logs accuracy on fixed validation tasks; nothing is ever chosen by it."""
    if data.val.partitions is None or learner.consumes != "images":
        return None
    way, shot = evaluation_tasks(config, name)[0]
    try:
        episodes = evaluation_episodes(config, "val", data.val.images, data.val.partitions, way, shot)
    except InputError:
        return None  # too few images or classes to watch

    def watch(step: int) -> None:
        result = evaluate(learner, episodes, _VALIDATION_EPISODES)
        events.write(step, {"val/accuracy": result.mean, "val/ci95": result.ci95})

    return watch
