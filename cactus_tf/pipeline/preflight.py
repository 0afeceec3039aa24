"""Checks before any work begins: do the data allow what was asked for?"""

from __future__ import annotations

import logging
from pathlib import PurePosixPath

import numpy as np

from cactus_tf import learners, plugins
from cactus_tf.config import rounds
from cactus_tf.config.plan import EvaluationPlan, PartitionPlan, RunPlan
from cactus_tf.contracts import Learner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.evaluation import Classify, episode_accuracies
from cactus_tf.runs import results
from cactus_tf.types import ImageSet, Splits

log = logging.getLogger(__name__)


def check(plan: RunPlan, data: Splits) -> None:
    """Every check.

    Raises:
      InputError: the data do not allow what was asked for.
    """
    check_sizes(plan, data)
    check_mixture(plan.partition, data.train)
    check_learners_and_tasks(plan, data)


def count_classes(plan: EvaluationPlan, images: ImageSet) -> int:
    """Number of classes of the first true partition with images for every task; 0 without labels."""
    if not images.partitions:
        return 0
    needed = max(plan.shots) + plan.query
    return int(np.count_nonzero(images.partitions[0].sizes >= needed))


def check_sizes(plan: RunPlan, data: Splits) -> None:
    """Checks clusters and training episodes against the number of training images.

    Raises:
      InputError: they need more images, or a learner wants images and rows are features.
    """
    images = len(data.train)
    networks = {p.name: p.network for p in plan.learners if p.training or p.info.network}
    if plan.data.features and not all(network.on_embeddings for network in networks.values()):
        raise InputError(
            f"the rows of {plan.data.dataset} are features, not images, and {', '.join(networks)} would take images: "
            "add --on_embeddings"
        )
    height, width = [*data.image_shape, 1][:2]
    if height != width and any(p.training and p.training.rotate_classes for p in plan.learners):
        raise InputError(f"--rotate_classes needs square images, and these are {height}x{width}: leave it out")
    repeats = plan.partition and plugins.info("partitioners", plan.partition.partitioner).repeats_images
    for learner in plan.meta_learners:
        training = learner.training
        assert training is not None
        needed = training.way * (1 if repeats else training.shot + training.query)
        if needed > images:
            raise InputError(
                f"--way, --shot, --query: an episode of {learner.name} takes {needed} images, and there are {images}: "
                "lower one, or add images"
            )
    _check_clusters(plan, images)


def _check_clusters(plan: RunPlan, images: int) -> None:
    counts = [("--clusters", learner.clusters) for learner in plan.learners if learner.info.uses_clusters]
    if plan.partition:
        counts += [
            (flag, clusters)
            for flag, clusters, partitioner in rounds.clusters_of(plan.settings)
            if not plugins.info("partitioners", partitioner).clusters_of_its_own
        ]
    for flag, clusters in counts:
        if clusters is not None and clusters > images:
            raise InputError(f"{flag}={clusters} is more than the {images} training images: lower it")


def check_mixture(plan: PartitionPlan | None, train: ImageSet) -> None:
    """Checks that there are true partitions, and others, if tasks come from both.

    Raises:
      InputError: the training images have no labels, or all tasks have true labels anyway.
    """
    fraction = plan.supervised_fraction if plan else 0
    if plan is None or not fraction or train.supervised:
        return
    if not train.partitions:
        raise InputError(f"--supervised_fraction={fraction}: the training images have no labels; drop the flag")
    if plan.partitioner == "labels":
        raise InputError(
            f"--supervised_fraction={fraction}: with --partitioner=labels every task has true labels; drop one of them"
        )


def check_learners_and_tasks(plan: RunPlan, data: Splits) -> None:
    """Builds every learner that needs no embeddings and every kind of evaluation episode, and lets cheap learners
    answer one.

    Raises:
      InputError: the labels do not allow an episode, or a learner does not.
    """
    on_images = [p for p in plan.learners if not p.network.on_embeddings]
    built = {p.name: learners.make(p.name, p.context(data.image_shape), p.options) for p in on_images}
    images, split = data[plan.evaluation.split], plan.evaluation.split
    if images.partitions is None:
        log.warning("the %s split has no labels, so accuracy cannot be measured; %s", split, results.EVAL_DIR_HINT)
        return
    # Networks would take seconds, and there are no clusters yet.
    cheap = [built[p.name] for p in on_images if not (p.training or p.info.network or p.info.uses_clusters)]
    ways = plan.evaluation.ways or ()
    for way, shot in [(way, shot) for way in ways for shot in plan.evaluation.shots]:
        small = small_classes(images, shot + plan.evaluation.query)
        try:
            episodes = plan.evaluation.tasks(images.images, images.partitions, way, shot)
        except InputError as error:
            raise InputError(f"{error}{'; too small: ' if small else ''}{small}") from error
        if small:
            log.warning("%s split: too few images for %d-shot tasks, so these classes are left out: %s",
                        split, shot, small)  # fmt: skip
        for learner in cheap:
            episode_accuracies(_on_pixels(learner), episodes, 1)


def _on_pixels(learner: Learner) -> Classify:
    """The learner's `classify` on images, with pixels in place of embeddings."""
    if learner.consumes == "images":
        return learner.classify
    return lambda support, labels, query, way: learner.classify(
        support.reshape(len(support), -1), labels, query.reshape(len(query), -1), way
    )


def small_classes(images: ImageSet, needed: int, most: int = 5) -> str:
    """Names (the folders of their files) and sizes of the classes with too few images; "" if there are none.

    Only for image sets from files with one true partition.
    """
    if images.names is None or images.partitions is None or len(images.partitions) > 1:
        return ""
    classes = images.partitions[0]
    small = np.flatnonzero(classes.sizes < needed)
    folders = [PurePosixPath(images.names[classes.cluster(c)[0]].decode()).parent for c in small[:most]]
    listed = [f"{folder} ({classes.sizes[c]} images)" for folder, c in zip(folders, small, strict=False)]
    return ", ".join([*listed, *([f"and {len(small) - most} more"] if len(small) > most else [])])
