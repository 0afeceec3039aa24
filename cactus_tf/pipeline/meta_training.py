"""Stage 4: every learner is built, and those that learn from tasks are meta-trained."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cactus_tf import augmentations, learners
from cactus_tf.config.plan import LearnerPlan, RunPlan
from cactus_tf.config.schema import RunSettings
from cactus_tf.contracts import ClusterLearner, Embedder, Learner, MetaLearner
from cactus_tf.fewshot.augmenting import EpisodeAugmentation
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.selection import Selection
from cactus_tf.fewshot.training import meta_train
from cactus_tf.pipeline.embedding import Embeddings
from cactus_tf.pipeline.selection import held_out, selection
from cactus_tf.pipeline.validation import validation
from cactus_tf.runs import tensorboard
from cactus_tf.types import Partitions, Splits
from cactus_tf.utils import files
from cactus_tf.utils.distribution import Distribution

log = logging.getLogger(__name__)


def train(
    plan: RunPlan,
    data: Splits,
    embedder: Embedder | None,
    embeddings: Embeddings,
    partitions: Partitions,
    folder: Path,
    distribution: Distribution,
) -> dict[str, Learner]:
    """Every learner by name; those that learn from tasks are meta-trained.

    Args:
      plan: of the run.
      data: its training images, [n, h, w, c] uint8 (or features [n, dim] float32), for learners that consume images.
      embedder: the fitted one; None if nothing is embedded.
      embeddings: by split; "train" for learners that consume embeddings.
      partitions: of the n training images; tasks are made from them.
      folder: of the run; each learner writes to a folder of its name.
      distribution: where to train; a worker that is not the chief builds and trains the meta-learners alone, and writes
        nothing.
    """
    if not distribution.workers.is_chief:
        return {
            one.name: assist(one, plan.run, data, embedder, embeddings, partitions, distribution)
            for one in plan.meta_learners
        }
    built = {}
    for learner_plan in plan.learners:
        learner = build(learner_plan, data, embedder, embeddings, distribution)
        if learner_plan.training is not None:
            assert isinstance(learner, MetaLearner)
            rows = embeddings["train"] if learner.consumes == "embeddings" else data.train.images
            held = held_out(learner_plan, rows, partitions)
            tasks = learner_plan.training_tasks(rows, held.training if held else partitions)
            log_events = tensorboard.TrainingEvents(
                folder / "events" / learner_plan.name, plan.run.tensorboard_graph, plan.run.profile_steps
            )
            watch = None
            if plan.run.validation:
                watch = validation(learner_plan, plan.evaluation, learner, data.val, log_events.write)
            selected_by = held and selection(
                learner_plan, learner, held, augmentation(learner_plan), folder, log_events.write
            )
            train_one(learner_plan, plan.run, learner, tasks, folder, log_events, watch, selected_by)
        elif isinstance(learner, ClusterLearner):
            learner.prepare()
        built[learner_plan.name] = learner
    return built


def build(
    plan: LearnerPlan, data: Splits, embedder: Embedder | None, embeddings: Embeddings, distribution: Distribution
) -> Learner:
    """A learner with initial weights; one that is meta-trained, on all replicas."""
    context = plan.context(data.image_shape, embedder, embeddings.get("train"), data.train.images)
    with distribution.strategy.scope() if plan.training else contextlib.nullcontext():
        return learners.make(plan.name, context, plan.options)


def assist(
    plan: LearnerPlan,
    run: RunSettings,
    data: Splits,
    embedder: Embedder | None,
    embeddings: Embeddings,
    partitions: Partitions,
    distribution: Distribution,
) -> Learner:
    """Meta-trains one learner as a worker that is not the chief: it writes nothing."""
    learner = build(plan, data, embedder, embeddings, distribution)
    assert isinstance(learner, MetaLearner)
    rows = embeddings["train"] if learner.consumes == "embeddings" else data.train.images
    held = held_out(plan, rows, partitions)
    meta_train(learner, plan.training_tasks(rows, held.training if held else partitions), **_outer_loop(plan, run))
    return learner


def _outer_loop(plan: LearnerPlan, run: RunSettings) -> dict[str, Any]:
    """The arguments of `meta_train` that every worker has in common."""
    training = plan.training
    assert training is not None
    names = ("tasks_per_step", "steps", "outer_lr", "outer_schedule", "outer_warmup")
    shared = {name: getattr(training, name) for name in names} | {"augment": augmentation(plan)}
    return shared | {"xla": run.xla, "images_on_device": run.images_on_device}


def train_one(
    plan: LearnerPlan,
    run: RunSettings,
    learner: MetaLearner,
    tasks: Episodes,
    folder: Path,
    log_events: tensorboard.TrainingEvents,
    on_checkpoint: Callable[[int], None] | None,
    selected_by: Selection | None,
) -> None:
    """Meta-trains one learner in place, resuming from FOLDER/NAME."""
    training = plan.training
    assert training is not None
    started = time.monotonic()
    with log_events:
        made = meta_train(
            learner,
            tasks,
            **_outer_loop(plan, run),
            selection=selected_by,
            folder=files.make_folder(folder / plan.name, "--workdir"),
            on_step=log_events.on_step,
            on_checkpoint=on_checkpoint,
        )
    seconds = time.monotonic() - started
    if not made:
        log.info("train: %s, %s steps, trained before", plan.name, f"{training.steps:,}")
        return
    now = "" if made == training.steps else f", {made:,} of them now"
    whole = f"{seconds:.0f} s including startup and saving"
    log.info("train: %s, %s steps%s, in %s", plan.name, f"{training.steps:,}", now, whole)


def augmentation(plan: LearnerPlan) -> EpisodeAugmentation | None:
    """What a learner's training does to the images of its episodes; None if nothing."""
    training = plan.training
    if training is None or (training.augmentation == "none" and not training.rotate_classes):
        return None
    image = augmentations.make(training.augmentation, plan.augmentation)
    seed = plan.episodes_seed
    return EpisodeAugmentation(image, training.augment_support, training.augment_query, training.rotate_classes, seed)


def first_tasks(meta_learners: Sequence[LearnerPlan], data: Splits, partitions: Partitions) -> Episodes | None:
    """The training tasks of the first meta-learner, augmented, to draw; None if there is none."""
    if not meta_learners:
        return None
    first = meta_learners[0]
    held, augment = held_out(first, data.train.images, partitions), augmentation(first)
    tasks = first.training_tasks(data.train.images, held.training if held else partitions)
    return tasks.augmented(augment) if augment else tasks
