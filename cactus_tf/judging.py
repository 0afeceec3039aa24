"""The stage that judges: accuracy of every learner on the same tasks of true labels."""

from __future__ import annotations

import functools
import logging
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cactus_tf import plugins, results, seeds, summaries, workdir
from cactus_tf.config import Config
from cactus_tf.contracts import AdaptingLearner, Learner
from cactus_tf.errors import InputError
from cactus_tf.evaluation import accuracy, evaluate, leaks, paired_difference, trace_accuracies, with_features
from cactus_tf.sampling import Episodes
from cactus_tf.types import Accuracy, ImageSet, Partitions, Splits

log = logging.getLogger(__name__)

_VALIDATION_EPISODES = 100


def judge(
    config: Config, data: Splits, embeddings: dict[str, np.ndarray], learners: dict[str, Learner], folder: Path
) -> list[dict[str, Any]]:
    """Accuracy of every learner at every way and shot, on the same episodes: the rows of results.json."""
    split, rows = config.evaluation.eval_split, []
    judged = evaluation_set(config, data)
    assert judged.partitions is not None
    adaptation: list[dict[str, Any]] = []
    reference: dict[tuple[int, int], Accuracy] = {}  # of the first learner, by task
    first = next(iter(learners))
    for name, learner in learners.items():
        inputs = embeddings[split] if learner.consumes == "embeddings" else judged.images
        classify, prepared = with_features(learner, inputs)
        say_left_out(config, name)
        for way, shot in evaluation_tasks(config, name):
            episodes = evaluation_episodes(config, split, prepared, judged.partitions, way, shot)
            before = getattr(learner, "unanswered", 0)
            if isinstance(learner, AdaptingLearner):
                traced = trace_accuracies(learner, episodes, config.evaluation.eval_episodes)
                adaptation += results.adaptation_rows(name, (way, shot), traced)
                result = traced.query[-1]
            else:
                result = accuracy(classify, episodes, config.evaluation.eval_episodes, leaks(learner))
            keep(folder / name, f"{split}-{way}way-{shot}shot.npy", result)
            row = results.row(config, name, (way, shot), result, learner) | marks(name, learner, before)
            if name == first:
                reference[way, shot] = result
            elif (way, shot) in reference:
                row |= results.against(first, paired_difference(result, reference[way, shot]))
            rows.append(row)
    if adaptation:
        workdir.write_csv(folder / "adaptation.csv", adaptation, list(adaptation[0]))
    return rows


def marks(name: str, learner: Learner, unanswered: int) -> dict[str, Any]:
    """What a reader of a row must know: `leak`, and how many tasks more than `unanswered` had no answer of its own."""
    found: dict[str, Any] = {}
    if leaks(learner):
        log.warning("%s saw the labels of the queries that it is judged on; its rows are marked leak", name)
        found["leak"] = True
    if hasattr(learner, "unanswered"):
        found["unanswered"] = learner.unanswered - unanswered
    return found


def keep(folder: Path, file: str, result: Accuracy) -> None:
    """Writes the accuracy of every episode to FOLDER/accuracy-FILE, and the answers to FOLDER/answers-FILE."""
    workdir.make_folder(folder, "--workdir")
    workdir.write_atomic(folder / f"accuracy-{file}", functools.partial(np.save, arr=result.per_episode))
    if result.answers is not None:
        answers = result.answers.astype(np.int16)
        workdir.write_atomic(folder / f"answers-{file}", functools.partial(np.save, arr=answers))


def kept_answers(folder: Path, split: str, task: tuple[int, int], query: int) -> np.ndarray | None:
    """[episodes, way, query] the labels that the queries were given, those of true label i in row i; None if not kept.

    Args:
      folder: WORKDIR/ALGO.
      split: that was judged on.
      task: (way, shot).
      query: Q of the evaluation episodes.
    """
    way, shot = task
    try:
        return np.load(folder / f"answers-{split}-{way}way-{shot}shot.npy").reshape(-1, way, query)
    except (OSError, ValueError):  # it is only for pictures
        return None


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


def validation(config: Config, name: str, learner: Learner, data: Splits, events: summaries.Events):
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
