"""The stages of a run in their order, one file each: prepare, embed, partition, train, evaluate, report.

Import `run`. This is the only package where two families meet.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf

from cactus_tf import report
from cactus_tf.config import build_plan
from cactus_tf.config.plan import LearnerPlan, RunPlan
from cactus_tf.contracts import Embedder, Learner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.pipeline import rounds
from cactus_tf.pipeline.embedding import Embeddings, check_ready, embed
from cactus_tf.pipeline.evaluation import evaluate, evaluation_images
from cactus_tf.pipeline.meta_training import first_tasks, train
from cactus_tf.pipeline.overlap import warn_of_near
from cactus_tf.pipeline.partitioning import partition
from cactus_tf.pipeline.preflight import check, count_classes
from cactus_tf.pipeline.preparation import prepare, show
from cactus_tf.pipeline.sharing import check_shared
from cactus_tf.report import run_events
from cactus_tf.runs import changed_files, results
from cactus_tf.runs import folder as run_folder
from cactus_tf.runs.inputs import write_inputs
from cactus_tf.types import Partitions, Splits
from cactus_tf.utils import distribution as distributions
from cactus_tf.utils import files, memory
from cactus_tf.utils.distribution import Distribution

log = logging.getLogger(__name__)


def run(plan: RunPlan) -> list[dict[str, Any]]:
    """Runs the stages up to `plan.run.stage`, reusing what earlier runs left.

    Returns:
      The rows of results.json, [] if the run stops before evaluation.
    """
    choose_threads(plan.learners)
    artifacts = Path(plan.run.artifacts_dir)
    folder = Path(plan.run.workdir or Path("runs") / plan.name)
    distribution = distribute(plan)
    if not distribution.workers.is_chief:
        _stages(plan, folder, artifacts, False, distribution)
        distribution.barrier()  # the chief evaluates; if it ends before it has, all start again
        return []
    with files.taken_back(artifacts), files.taken_back(folder):
        first_run = not artifacts.exists()
        _make_folders(artifacts, folder)
        with files.locked(folder):
            changed = functools.partial(changed_files.describe, plan.data, folder, artifacts)
            run_folder.claim(folder, plan.identity, results.provenance(plan.record), changed)
            log.info("%s", results.describe(plan.sections, plan.run, folder))
            memory.warn_of_limit()
            rows = _stages(plan, folder, artifacts, first_run, distribution)
            distribution.barrier()
            return rows


def _make_folders(artifacts: Path, folder: Path) -> None:
    """Makes the folders of artifacts and run.

    Raises:
      InputError: one cannot be written; says how to see the results of a run that has some.
    """
    try:
        files.make_folder(artifacts, "--artifacts_dir")
        files.make_folder(folder, "--workdir")
    except InputError as error:
        if not (folder / results.NAME).is_file():
            raise
        raise InputError(f"{error}; to see the results: python -m cactus_tf.table {folder}") from error


def distribute(plan: RunPlan) -> Distribution:
    """Starts what `--distribute` asks for.

    Raises:
      InputError: what is asked for cannot be distributed, or the machines are named wrongly.
      RunError: another machine was not there in time.
    """
    kind = plan.run.distribute
    if kind != "none" and (plan.run.xla or plan.run.images_on_device):
        raise InputError(f"--xla and --images_on_device are for one device: leave them out, or --distribute={kind}")
    distribution = distributions.start(kind, plan.run.worker_timeout)
    replicas = distribution.strategy.num_replicas_in_sync
    lengths = {learner.name: learner.training for learner in plan.meta_learners}
    for name, training in lengths.items():
        if training and training.tasks_per_step % replicas:
            raise InputError(
                f"--tasks_per_step={training.tasks_per_step} of {name} cannot be divided equally among {replicas} "
                f"replicas: choose a multiple of {replicas}"
            )
    if distribution.workers.others:
        command = {"identity": plan.identity, "lengths": lengths, "stage": plan.run.stage, "replicas": replicas}
        distribution.check_same_command({**command, "versions": results.package_versions()})
    return distribution


def _stages(
    plan: RunPlan, folder: Path, artifacts: Path, first_run: bool, distribution: Distribution
) -> list[dict[str, Any]]:
    """The stages, in a locked run folder; of a worker that is not the chief, its part of those up to training.

    The chief alone writes to the run folder.
    """
    chief = distribution.workers.is_chief
    clock = results.Clock(plan.run.stage, folder / "seconds.json" if chief else None)
    several = plan.settings.partition.rounds > 1
    check_shared(artifacts, "--artifacts_dir", distribution)
    if several:  # a round embeds by the weights of the round before
        check_shared(folder, "--workdir", distribution)
    with clock.stage("prepare"):
        plan, data = _prepared(plan, folder, artifacts, first_run, distribution)
    if clock.over:
        return []
    clusters = rounds.Clusters(data.train, folder) if several and chief else None
    if several:
        with clock.stage("rounds"):
            train_round = functools.partial(_earlier_round, data, artifacts, clusters, distribution)
            plan = rounds.last(plan, folder, train_round, checked=chief)
    learned = _learn(plan, data, artifacts, folder, clock, clusters, distribution)
    if learned is None or not chief:
        return []
    rows = _evaluated(plan, data, learned, folder, clock)
    log.info("%s", results.closing_words(rows, folder, several_rounds=several))
    return rows


def _prepared(
    plan: RunPlan, folder: Path, artifacts: Path, first_run: bool, distribution: Distribution
) -> tuple[RunPlan, Splits]:
    """The images, and the plan with what depends on their number; both checked against each other."""
    chief = distribution.workers.is_chief
    if chief:
        check_ready(plan.embedding, artifacts)
    data = prepare(plan.data, artifacts, plan.run.verify, distribution)
    if first_run:
        stored = plan.partition.partitions if plan.partition and plan.embedding else 0
        log.info("%s", results.places(plan.run.artifacts_dir, stored, data, folder))
    if chief and plan.run.stage == "prepare":
        show(plan.data, data, folder)
    images = evaluation_images(plan.evaluation, data)
    plan = build_plan.complete(plan, len(data.train), count_classes(plan.evaluation, images))
    check(plan, data)
    return plan, data


def _evaluated(
    plan: RunPlan, data: Splits, learned: Learned, folder: Path, clock: results.Clock
) -> list[dict[str, Any]]:
    """The rows of results.json, stored, and the report."""
    with clock.stage("evaluate"):
        rows = evaluate(plan, data, learned.embeddings, learned.learners, folder, clock)
    results.write(plan.record, rows, clock, folder)
    if not clock.over:
        with clock.stage("report"):
            run_events.after_evaluation(plan, data, rows, folder / "events")
            _, embedder, embeddings, partitions, tasks = learned
            shown = report.Run(plan, folder, data, rows, partitions, tasks, embedder, embeddings.get("train"))
            report.write(shown)
    return rows


class Learned(NamedTuple):
    """What embedding, partitioning and training give: everything that evaluation and report need."""

    learners: dict[str, Learner]
    embedder: Embedder | None
    embeddings: Embeddings
    partitions: Partitions
    tasks: Episodes | None


def _learn(
    plan: RunPlan,
    data: Splits,
    artifacts: Path,
    folder: Path,
    clock: results.Clock,
    clusters: rounds.Clusters | None,
    distribution: Distribution,
) -> Learned | None:
    """The stages from embedding to training; None if the run ends before training does.

    `clusters` describes the partitions of every round, if there are several and this is the chief.
    """
    chief, tasks = distribution.workers.is_chief, None
    with clock.stage("embed"):
        embedder, embeddings = embed(plan.embedding, data, artifacts, folder, plan.run.verify, distribution)
        if chief:
            warn_of_near(plan.embedding, plan.data, data, embeddings)
            write_inputs(plan, data, folder)
    if clock.over:
        return None
    with clock.stage("partition"):
        partitions = partition(plan.partition, data, embeddings, artifacts, plan.run.verify, distribution)
        if clusters:
            clusters.add(partitions)
    if clock.over:
        return None
    with clock.stage("train"):
        if chief:
            tasks = first_tasks(plan.meta_learners, data, partitions) if not plan.data.features else None
            run_events.before_training(plan, data, embeddings.get("train"), partitions, tasks, folder / "events")
        with distributions.naming_lost_workers(distribution.workers):
            learners = train(plan, data, embedder, embeddings, partitions, folder, distribution)
        if not chief:
            log.info("train: this worker's part is done")
    return None if clock.over else Learned(learners, embedder, embeddings, partitions, tasks)


def _earlier_round(
    data: Splits,
    artifacts: Path,
    clusters: rounds.Clusters | None,
    distribution: Distribution,
    plan: RunPlan,
    folder: Path,
) -> None:
    """Trains an earlier round in a run folder of its own, or what is missing of it."""
    if distribution.workers.is_chief:
        files.make_folder(folder, "--workdir")
        with files.locked(folder):
            run_folder.claim(folder, plan.identity, results.provenance(plan.record))
            clock = results.Clock("evaluate", folder / "seconds.json")
            _learn(plan, data, artifacts, folder, clock, clusters, distribution)
    else:
        _learn(plan, data, artifacts, folder, results.Clock("evaluate", None), None, distribution)
    distribution.barrier()  # now the chief has written the weights that the next round embeds by


def choose_threads(learners: Sequence[LearnerPlan]) -> None:
    """Gives TensorFlow the threads that the learners want, unless it has started already or the user has chosen.

    Learners of many small kernels run tasks side by side, a thread each; more threads inside a kernel would double
    their time (docs/benchmarks.md).
    """
    wanted = [learner.info.intra_op_threads for learner in learners]
    chosen = min((n for n in wanted if n is not None), default=None)
    if chosen is None or "TF_NUM_INTRAOP_THREADS" in os.environ:
        return
    try:
        tf.config.threading.set_intra_op_parallelism_threads(chosen)
    except RuntimeError:
        log.debug("TensorFlow has started already; its threads stay as they are")
