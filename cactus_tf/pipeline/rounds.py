"""Several rounds of embedding, partitioning and training, each from the features that the one before has learned."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

from cactus_tf.config import build_plan, rounds
from cactus_tf.config.plan import RunPlan

log = logging.getLogger(__name__)


def last(plan: RunPlan, folder: Path, train: Callable[[RunPlan, Path], object]) -> RunPlan:
    """The plan of the last round, once the rounds before it are trained.

    Args:
      plan: of the run.
      folder: of the run.
      train: (plan, folder) -> runs an earlier round up to its training, or what is missing of it.
    """
    number = plan.settings.partition.rounds
    if number == 1:
        return plan
    for i in range(1, number):
        log.info("round %d of %d", i, number)
        settings = rounds.settings_of(plan.settings, i, folder)
        train(build_plan.of(settings, plan.data), rounds.folder_of(folder, i))
    log.info("round %d of %d", number, number)
    own = build_plan.of(rounds.settings_of(plan.settings, number, folder), plan.data)
    return dataclasses.replace(own, name=plan.name, identity=plan.identity, record=plan.record, sections=plan.sections)
