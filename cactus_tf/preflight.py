"""What is checked before the work begins: whether the data allow what was asked for."""

from __future__ import annotations

import logging

import numpy as np

from cactus_tf.config import keys
from cactus_tf.config.schema import Config
from cactus_tf.contracts import Learner
from cactus_tf.errors import InputError
from cactus_tf.fewshot.evaluation import Classify, accuracy
from cactus_tf.runs import results
from cactus_tf.runs.evaluation import evaluation_episodes, evaluation_set, evaluation_tasks, small_classes
from cactus_tf.runs.training import build_learner
from cactus_tf.types import ImageSet, Splits

log = logging.getLogger(__name__)


def classes(config: Config, images: ImageSet) -> int:
    """Number of classes of the first partition by labels with images for every task; 0 where there are no labels."""
    if not images.partitions:
        return 0
    needed = max(config.evaluation.eval_shots) + config.evaluation.eval_query
    return int(np.count_nonzero(images.partitions[0].sizes >= needed))


def check_sizes(config: Config, data: Splits) -> None:
    """Holds clusters and training episodes to the number of training images.

    Raises:
      InputError: more of them than there are images, or a learner that wants images where rows are features.
    """
    images = len(data.train)
    networks = {**config.networks, **config.learners}
    if keys.has_features(config) and not all(network.on_embeddings for network in networks.values()):
        raise InputError(
            f"the rows of {config.data.dataset} are features, not images, and {', '.join(networks)} would take images: "
            "say --on_embeddings"
        )
    for name, training in config.learners.items():
        needed = training.way * (training.shot + training.query)
        if needed > images:
            raise InputError(
                f"--way, --shot, --query: an episode of {name} takes {needed} images, and there are {images}: lower "
                "one, or add images"
            )
    divided = config.learners and config.partition.partitioner not in ("labels", "cluster_files", "hyperplanes")
    if (divided or any(map(keys.uses_clusters, config.run.algo))) and config.partition.clusters > images:
        raise InputError(f"--clusters={config.partition.clusters} is more than the {images} training images: lower it")


def check_mixture(config: Config, train: ImageSet) -> None:
    """Sees to it that there are true partitions, and others, where tasks are to be made from both.

    Raises:
      InputError: the training images have no labels, or all tasks are made from them anyway.
    """
    fraction = config.partition.supervised_fraction
    if not fraction or not config.learners or train.supervised:
        return
    if not train.partitions:
        raise InputError(f"--supervised_fraction={fraction}: the training images have no labels: leave it out")
    if config.partition.partitioner == "labels":
        raise InputError(
            f"--supervised_fraction={fraction}: with --partitioner=labels every task has true labels: leave one out"
        )


def rehearse(config: Config, data: Splits) -> None:
    """Builds every learner that needs no embeddings, makes every kind of evaluation episode once, and lets learners
    that are not trained answer it.

    Raises:
      InputError: the labels do not allow it, or a learner does not.
    """
    networks = {**config.learners, **config.networks}
    on_images = [name for name in config.run.algo if name not in networks or not networks[name].on_embeddings]
    built = {name: build_learner(config, name, data.image_shape) for name in on_images}
    judged, split = evaluation_set(config, data), config.evaluation.eval_split
    if judged.partitions is None:
        log.warning("the %s split has no labels, so no accuracy will be measured; %s", split, results.JUDGED_WITH)
        return
    # Those with networks would take seconds, and those with clusters of embeddings have none yet.
    untrained = [built[n] for n in on_images if n not in networks and not keys.uses_clusters(n)]
    for way, shot in evaluation_tasks(config):
        small = small_classes(judged, shot + config.evaluation.eval_query)
        try:
            episodes = evaluation_episodes(config, split, judged.images, judged.partitions, way, shot)
        except InputError as error:
            raise InputError(f"{error}{'; too small: ' if small else ''}{small}") from error
        if small:
            log.warning("%s split: not in tasks of %d shots, for want of images: %s", split, shot, small)
        for learner in untrained:
            accuracy(rehearsal(learner), episodes, 1)


def rehearsal(learner: Learner) -> Classify:
    """The learner's `classify` on images, with pixels in place of embeddings where it wants those."""
    if learner.consumes == "images":
        return learner.classify
    return lambda support, labels, query, way: learner.classify(
        support.reshape(len(support), -1), labels, query.reshape(len(query), -1), way
    )
