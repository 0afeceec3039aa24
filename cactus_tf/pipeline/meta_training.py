"""Stage 4: every learner is built, and those that learn from tasks are meta-trained."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from cactus_tf import learners
from cactus_tf.config.plan import EvaluationPlan, LearnerPlan, RunPlan
from cactus_tf.contracts import ClusterLearner, Embedder, Learner, MetaLearner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.evaluation import evaluate
from cactus_tf.fewshot.training import meta_train
from cactus_tf.pipeline.embedding import Embeddings
from cactus_tf.runs import tensorboard
from cactus_tf.types import ImageSet, Partitions, Splits
from cactus_tf.utils import files

log = logging.getLogger(__name__)

_VALIDATION_EPISODES = 100


def train(
    plan: RunPlan,
    data: Splits,
    embedder: Embedder | None,
    embeddings: Embeddings,
    partitions: Partitions,
    folder: Path,
) -> dict[str, Learner]:
    """Every learner by name; those that learn from tasks are meta-trained.

    Args:
      plan: of the run.
      data: its training images, [n, h, w, c] uint8 (or features [n, dim] float32), for learners that consume images.
      embedder: the fitted one; None if nothing is embedded.
      embeddings: by split; "train" for learners that consume embeddings.
      partitions: of the n training images; tasks are made from them.
      folder: of the run; each learner writes to a folder of its name.
    """
    built = {}
    for learner_plan in plan.learners:
        context = learner_plan.context(data.image_shape, embedder, embeddings.get("train"), data.train.images)
        learner = learners.make(learner_plan.name, context, learner_plan.options)
        if learner_plan.training is not None:
            assert isinstance(learner, MetaLearner)
            rows = embeddings["train"] if learner.consumes == "embeddings" else data.train.images
            tasks = learner_plan.training_tasks(rows, partitions)
            log_events = tensorboard.TrainingEvents(
                folder / "events" / learner_plan.name, plan.run.tensorboard_graph, plan.run.profile_steps
            )
            watch = validation(learner_plan, plan.evaluation, learner, data.val, log_events)
            train_one(learner_plan, learner, tasks, folder, log_events, watch)
        elif isinstance(learner, ClusterLearner):
            learner.prepare()
        built[learner_plan.name] = learner
    return built


def train_one(
    plan: LearnerPlan,
    learner: MetaLearner,
    tasks: Episodes,
    folder: Path,
    log_events: tensorboard.TrainingEvents,
    on_checkpoint: Callable[[int], None] | None,
) -> None:
    """Meta-trains one learner in place, resuming from FOLDER/NAME."""
    training = plan.training
    assert training is not None
    started = time.monotonic()
    with log_events:
        made = meta_train(
            learner,
            tasks,
            tasks_per_step=training.tasks_per_step,
            steps=training.steps,
            outer_lr=training.outer_lr,
            folder=files.make_folder(folder / plan.name, "--workdir"),
            on_step=log_events.on_step,
            on_checkpoint=on_checkpoint,
        )
    seconds = time.monotonic() - started
    log.info("train: %s, %d steps (%d of them now, in %.0f s)", plan.name, training.steps, made, seconds)


def first_tasks(meta_learners: Sequence[LearnerPlan], data: Splits, partitions: Partitions) -> Episodes | None:
    """The training tasks of the first meta-learner on images, to draw; None if there is none."""
    return meta_learners[0].training_tasks(data.train.images, partitions) if meta_learners else None


def validation(
    plan: LearnerPlan,
    evaluation: EvaluationPlan,
    learner: Learner,
    val: ImageSet,
    log_events: tensorboard.TrainingEvents,
) -> Callable[[int], None] | None:
    """A callback that logs accuracy on fixed validation tasks; nothing is selected by it."""
    if val.partitions is None or learner.consumes != "images":
        return None
    way, shot = plan.tasks[0]
    try:
        tasks = evaluation.tasks(val.images, val.partitions, way, shot, split="val")
    except InputError:
        return None  # too few images or classes

    def watch(step: int) -> None:
        result = evaluate(learner, tasks, _VALIDATION_EPISODES)
        log_events.write(step, {"val/accuracy": result.mean, "val/ci95": result.ci95})

    return watch
