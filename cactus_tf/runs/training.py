"""The stage that trains: every learner is built, and those that learn from tasks are meta-trained."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np

from cactus_tf.config import keys
from cactus_tf.config import schema as settings
from cactus_tf.config.schema import Config
from cactus_tf.contracts import Embedder, Learner, LearnerContext, MetaLearner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.episodes import Episodes
from cactus_tf.fewshot.training import meta_train
from cactus_tf.learners import make
from cactus_tf.runs import tensorboard
from cactus_tf.runs.evaluation import validation
from cactus_tf.types import Partitions, Splits
from cactus_tf.utils import files, seeds

log = logging.getLogger(__name__)


def train(
    config: Config,
    data: Splits,
    embedder: Embedder | None,
    embeddings: dict[str, np.ndarray],
    partitions: Partitions,
    folder: Path,
) -> dict[str, Learner]:
    """Every learner by name; those that learn from tasks are meta-trained.

    Args:
      config: resolved and sized.
      data: its training images, [n, h, w, c] uint8, are the rows of learners that consume images; [n, dim] float32
        where they come as features.
      embedder: the fitted one; None where nothing is embedded.
      embeddings: by split, [n, dim] float32; "train" are the rows of learners that consume embeddings. Empty where
        nobody needs them.
      partitions: of the n training images; tasks are made from them.
      folder: the workdir; what a learner keeps is in a folder of its name there.

    Raises:
      InputError: a learner that cannot be built so, partitions that do not allow its tasks, a folder that cannot be
        written, or one that holds a longer training.
      RunError: a training diverged.
    """
    learners = {}
    for name in config.run.algo:
        training = config.learners.get(name)
        learner = build_learner(config, name, data.image_shape, embedder, embeddings.get("train"), data.train.images)
        if training is not None:
            rows = embeddings["train"] if learner.consumes == "embeddings" else data.train.images
            train_one(config, name, learner, rows, partitions, data, folder)
        elif hasattr(learner, "prepare"):
            learner.prepare()
        learners[name] = learner
    return learners


def build_learner(
    config: Config,
    name: str,
    image_shape: tuple[int, ...],
    embedder: Embedder | None = None,
    embeddings: np.ndarray | None = None,
    images: np.ndarray | None = None,
) -> Learner:
    """One learner, untrained.

    Args:
      config: resolved; says the learner's network, its options and the seed of its weights.
      name: of the learner.
      image_shape: (height, width, channels), (dim,) where images come as features.
      embedder: the fitted one, or None; it stands in the context that the learner is built from.
      embeddings: [n, dim] float32 of the training images, for a learner on them; one that does not cluster them looks
        at dim alone.
      images: [n, h, w, c] uint8, the training images (or features, [n, dim] float32), for a learner that is trained
        on the clusters of their embeddings.

    Raises:
      InputError: no such learner, or something that it needs is missing or out of range.
    """
    training = config.learners.get(name) or config.networks.get(name) or settings.TrainingSettings()
    context = LearnerContext(
        image_shape=image_shape,
        way=training.way or max(config.evaluation.eval_ways),
        seed=seeds.derive(config.run.seed, "weights"),
        backbone=training.backbone,
        filters=training.filters,
        norm=training.norm,
        on_embeddings=bool(training.on_embeddings),
        embeddings=embeddings,
        embedder=embedder,
        images=images,
        clusters=config.partition.clusters,
    )
    return make(name, context, config.options.get(name))


def train_one(
    config: Config,
    name: str,
    learner: Learner,
    rows: np.ndarray,
    partitions: Partitions,
    data: Splits,
    folder: Path,
) -> None:
    """Meta-trains one learner in WORKDIR/NAME, in place, going on from what is there.

    Args:
      config: resolved and sized; has training settings for the learner.
      name: of the learner.
      learner: as `build_learner` gives it.
      rows: what it consumes of the n training images: [n, h, w, c] uint8 images, or [n, dim] float32 embeddings.
      partitions: of these rows.
      data: whose validation images, where they have labels, a learner that consumes images is watched on.
      folder: the workdir; events go to events/NAME.

    Raises:
      InputError: the partitions do not allow the tasks, or WORKDIR/NAME cannot be written or holds a longer training.
      RunError: the training diverged; the last good checkpoint is kept.
    """
    training = config.learners[name]
    assert isinstance(learner, MetaLearner)
    episodes = training_episodes(config, name, rows, partitions)
    scalars = tensorboard.Events(folder / "events" / name)
    tracer = tensorboard.StepTracer(folder / "events" / name, config.run.tensorboard_graph, config.run.profile_steps)

    def on_step(step: int, values: dict[str, float]) -> None:
        scalars.on_step(step, values)
        tracer.on_step(step)

    started = time.monotonic()
    try:
        made = meta_train(
            learner,
            episodes,
            tasks_per_step=training.tasks_per_step,
            steps=training.steps,
            outer_lr=training.outer_lr,
            folder=files.make_folder(folder / name, "--workdir"),
            on_step=on_step,
            on_checkpoint=validation(config, name, learner, data, scalars),
        )
    finally:
        tracer.close()
        scalars.close()
    seconds = time.monotonic() - started
    log.info("train: %s, %d steps (%d now, in %.0f s)", name, training.steps, made, seconds)


def training_episodes(config: Config, name: str, rows: np.ndarray, partitions: Partitions) -> Episodes:
    """The tasks that a learner is trained on.

    Raises:
      InputError: the partitions do not allow them.
    """
    training = config.learners[name]
    seed = seeds.derive(config.run.seed, "training episodes")
    try:
        return Episodes(rows, partitions, way=training.way, shot=training.shot, query=training.query, seed=seed)
    except InputError as error:
        raise InputError(f"--way, --shot, --query, --clusters: {error}") from error


def first_tasks(config: Config, data: Splits, partitions: Partitions) -> Episodes | None:
    """The training tasks of the first learner that has any, to look at; None where there are no images to see."""
    if not config.learners or keys.has_features(config):
        return None
    return training_episodes(config, next(iter(config.learners)), data.train.images, partitions)
