"""What a finished run learned from: its plan, data and partitions, from the artifacts."""

from pathlib import Path
from typing import NamedTuple

from cactus_tf.config import build_plan
from cactus_tf.config.plan import LearnerPlan, RunPlan
from cactus_tf.pipeline.embedding import embed
from cactus_tf.pipeline.partitioning import partition
from cactus_tf.pipeline.preparation import prepare
from cactus_tf.runs import restoring
from cactus_tf.runs.inputs import read_inputs
from cactus_tf.types import Partitions, Splits


class Parts(NamedTuple):
    """Of one learner of a run."""

    plan: RunPlan
    learner: LearnerPlan
    data: Splits
    partitions: Partitions


def parts_of(run: Path, algo: str = "protonets") -> Parts:
    """The parts of a finished run; nothing is computed that is stored."""
    inputs = read_inputs(run)
    settings = restoring.completed(restoring.read_settings(run), inputs, run)
    artifacts = restoring.artifacts_folder(run, settings, inputs)
    plan = build_plan.make(settings)
    data = prepare(plan.data, artifacts)
    _, embeddings = embed(plan.embedding, data, artifacts, run)
    partitions = partition(plan.partition, data, embeddings, artifacts)
    return Parts(plan, next(learner for learner in plan.learners if learner.name == algo), data, partitions)
