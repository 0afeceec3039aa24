"""Stage 5: accuracy of every learner on the same tasks with true labels."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.plan import EvaluationPlan, LearnerPlan, RunPlan, Task
from cactus_tf.contracts import AbstainingLearner, AdaptingLearner, Learner
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import (
    Classify,
    adaptation_accuracies,
    episode_accuracies,
    leaks,
    paired_difference,
    with_features,
)
from cactus_tf.pipeline.embedding import Embeddings
from cactus_tf.runs import predictions, results
from cactus_tf.runs.predictions import Evaluated
from cactus_tf.types import Accuracy, ImageSet, Splits
from cactus_tf.utils import files

log = logging.getLogger(__name__)


def evaluate(
    plan: RunPlan,
    data: Splits,
    embeddings: Embeddings,
    learners: dict[str, Learner],
    folder: Path,
    clock: results.Clock,
) -> list[dict[str, Any]]:
    """The rows of results.json: accuracy of every learner at every way and shot, on the same episodes.

    Reuses stored evaluations of the same weights on the same tasks.

    Args:
      plan: of the run.
      data: of all splits; no rows if the split to evaluate on has no labels.
      embeddings: [n, dim] float32 by split, for learners that consume them.
      learners: by name, trained; all others are compared with the first.
      folder: of the run.
      clock: counts the seconds that earlier commands spent.
    """
    images = evaluation_images(plan.evaluation, data)
    if images.partitions is None:
        return []
    rows: list[dict[str, Any]] = []
    adaptation: list[dict[str, Any]] = []
    reference: dict[Task, Accuracy] = {}  # of the first learner
    first = plan.learners[0].name
    for learner_plan in plan.learners:
        name, learner = learner_plan.name, learners[learner_plan.name]
        inputs = embeddings[plan.evaluation.split] if learner.consumes == "embeddings" else images.images
        for task, evaluated in _evaluate_one(plan, learner_plan, learner, images, inputs, folder / name, clock):
            row = results.row(plan.evaluation.columns, name, task, evaluated.accuracy, learner, learner_plan.reported)
            row |= evaluated.marks
            if name == first:
                reference[task] = evaluated.accuracy
            elif task in reference:
                row |= results.against(first, paired_difference(evaluated.accuracy, reference[task]))
            rows.append(row)
            adaptation += evaluated.adaptation
    if adaptation:
        files.write_csv(folder / "adaptation.csv", adaptation, list(adaptation[0]))
    return rows


def _evaluate_one(
    plan: RunPlan,
    learner_plan: LearnerPlan,
    learner: Learner,
    images: ImageSet,
    inputs: np.ndarray,
    folder: Path,
    clock: results.Clock,
) -> Iterator[tuple[Task, Evaluated]]:
    """The result of one learner at every (way, shot), stored in FOLDER."""
    name, evaluation = learner_plan.name, plan.evaluation
    _announce(learner_plan, learner)
    key = predictions.key(plan.data.key, evaluation, learner_plan, learner, inputs)
    prepared = functools.cache(lambda: with_features(learner, inputs))  # not needed if all is stored already
    reused = []
    for task in learner_plan.tasks:
        evaluated = predictions.read(folder, evaluation.split, task, key)
        if evaluated is None:
            classify, rows = prepared()
            assert images.partitions is not None
            episodes = evaluation.tasks(rows, images.partitions, *task)
            evaluated = ask(name, learner, classify, episodes, evaluation.episodes)
            predictions.write(folder, evaluation.split, task, evaluated, key)
        else:
            clock.count_earlier("evaluate", evaluated.seconds)
            reused.append("{}-way {}-shot".format(*task))
        yield task, evaluated
    if reused:
        log.info("evaluate: %s, stored results for %s", name, ", ".join(reused))


def _announce(plan: LearnerPlan, learner: Learner) -> None:
    """Tells of default ways that a fixed head cannot answer (given ones are refused), and of leaked labels."""
    if plan.skipped_ways:
        ways = ", ".join(map(str, plan.skipped_ways))
        log.info("evaluate: %s skips %s-way tasks: its head has the %d outputs of --way", plan.name, ways, plan.way)
    if leaks(learner):
        log.warning("%s sees the labels of the queries that it is evaluated on; its rows are marked leak", plan.name)


def ask(name: str, learner: Learner, classify: Classify, episodes: Episodes, number: int) -> Evaluated:
    """A learner's accuracy on a number of episodes.

    Args:
      name, learner: who answers; one that adapts also shows every step of some episodes.
      classify: how any other one answers.
      episodes: of images, embeddings or features, as `classify` takes them.
      number: of episodes.
    """
    unanswered = learner.unanswered if isinstance(learner, AbstainingLearner) else 0
    began = time.monotonic()
    adaptation: list[dict[str, Any]] = []
    if isinstance(learner, AdaptingLearner):
        accuracies = adaptation_accuracies(learner, episodes, number, name=name)
        adaptation = results.adaptation_rows(name, (episodes.way, episodes.shot), accuracies)
        accuracy = accuracies.final
    else:
        accuracy = episode_accuracies(classify, episodes, number, leaks(learner), name)
    marks: dict[str, Any] = {"leak": True} if leaks(learner) else {}
    if isinstance(learner, AbstainingLearner):
        marks["unanswered"] = learner.unanswered - unanswered
    return Evaluated(accuracy, marks, adaptation, time.monotonic() - began)


def evaluation_images(plan: EvaluationPlan, data: Splits) -> ImageSet:
    """The split to evaluate on."""
    return data[plan.split]
