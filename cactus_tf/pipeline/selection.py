"""Selection without labels in a run: which clusters are held out, and how a learner is evaluated on them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from cactus_tf.config.plan import LearnerPlan
from cactus_tf.contracts import AdaptingLearner, MetaLearner
from cactus_tf.fewshot.augmenting import EpisodeAugmentation
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import adaptation_accuracies, episode_accuracies
from cactus_tf.fewshot.holdout import HeldOut, hold_out
from cactus_tf.fewshot.selection import Selection
from cactus_tf.pipeline.validation import Write
from cactus_tf.types import Partitions

QUERIES = 2500
"""Queries that a step is evaluated on, at least."""
_FEWEST = 20  # tasks


def held_out(plan: LearnerPlan, rows: np.ndarray, partitions: Partitions) -> HeldOut | None:
    """The clusters that a learner's training leaves out; None if its last weights are taken.

    Raises:
      InputError: the partitions do not allow it.
    """
    if plan.training is None or plan.training.select == "last":
        return None
    return hold_out(plan.training_tasks(rows, partitions))


def selection(
    plan: LearnerPlan,
    learner: MetaLearner,
    held: HeldOut,
    augmentation: EpisodeAugmentation | None,
    folder: Path,
    write: Write,
) -> Selection:
    """How the weights of a learner are selected.

    Args:
      plan: of the learner.
      learner: the one that trains.
      held: the clusters apart from its training.
      augmentation: what its training does to the images of episodes; pseudo-tasks are augmented alike.
      folder: of the run.
      write: writes scalars of a step.
    """
    assert plan.training is not None
    tasks = held.tasks.augmented(augmentation) if augmentation else held.tasks
    number = max(_FEWEST, math.ceil(QUERIES / (tasks.way * tasks.query)))
    return Selection(
        learner.variables, lambda: accuracy(learner, tasks, number), folder / plan.name, plan.training.steps, write
    )


def accuracy(learner: MetaLearner, tasks: Episodes, number: int) -> float:
    """Mean accuracy on the first tasks, each by itself."""
    if isinstance(learner, AdaptingLearner):
        return adaptation_accuracies(learner, tasks, number, traced=0).final.mean
    return episode_accuracies(learner.classify, tasks, number).mean
