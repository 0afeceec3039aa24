"""Stage 3: embeddings become partitions, whose clusters serve as classes."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Sequence
from pathlib import Path

from cactus_tf import partitioners, plugins
from cactus_tf.config.plan import PartitionPlan
from cactus_tf.contracts import PartitionContext, Partitioner
from cactus_tf.pipeline.embedding import Embeddings
from cactus_tf.runs.artifacts import Artifact
from cactus_tf.runs.shards import Shards
from cactus_tf.types import ImageSet, MixedPartitions, Partitions, Splits
from cactus_tf.utils import files
from cactus_tf.utils.distribution import ALONE, Distribution, Workers

log = logging.getLogger(__name__)


def partition(
    plan: PartitionPlan | None,
    data: Splits,
    embeddings: Embeddings,
    artifacts: Path,
    verify: bool = False,
    distribution: Distribution = ALONE,
) -> Partitions:
    """The partitions of the training images.

    Args:
      plan: how to partition; None if no learner learns from tasks.
      data: images, with their labels for the oracle and the mixture.
      embeddings: by split; "train" is what is partitioned.
      artifacts: the folder that runs share.
      verify: whether large files are verified whole; see `Checksums`.
      distribution: the workers, which share partitions that are made one by one.

    Returns:
      P partitions, [] without a plan.
    """
    if plan is None:
        log.info("partition: not needed")
        return []
    assert plan.clusters is not None
    partitioner = partitioners.make(plan.partitioner, plan.clusters, plan.partitions, plan.options)
    artifact = Artifact(artifacts, "partitions", plan.key, verify)
    context = PartitionContext(
        images=len(data.train),
        embeddings=embeddings.get("train"),
        labels=data.train.partitions,
        names=data.train.names,
        way=plan.way,
        images_per_cluster=plan.images_per_cluster,
        seed=plan.seed,
        cache=artifact.cache,
    )
    shards = Shards(artifact.folder)
    if len(distribution.workers.addresses) > 1 and plugins.info("partitioners", plan.partitioner).one_by_one:
        _share(plan.partitions, partitioner, context, artifact, shards, distribution.workers)
    taken = dataclasses.replace(
        context, cache=lambda name, make: artifact.cache(name, functools.partial(shards.read_or_make, name, make))
    )
    with distribution.chief_first(), files.locked(artifact.folder):
        partitions = partitioner(taken)
    if distribution.workers.is_chief:  # now no other worker waits for a shard
        with files.locked(artifact.folder):
            shards.remove()
    clusters = len(partitions[0].sizes)
    log.info("partition: %s, %d x %d clusters", plan.partitioner, len(partitions), clusters)
    return mixed(plan.supervised_fraction, data.train, partitions)


def _share(
    number: int,
    partitioner: Partitioner,
    context: PartitionContext,
    artifact: Artifact,
    shards: Shards,
    workers: Workers,
) -> None:
    """Makes one worker's part of the partitions that are missing."""
    names = [f"partition-{p:04d}" for p in range(number)]
    missing = [name for name in names if not artifact.has_files([f"{name}.npy"])]

    def store(names: Sequence[str]) -> None:
        only = [int(name.removeprefix("partition-")) for name in names]
        if only:
            partitioner(
                dataclasses.replace(context, only=only, cache=lambda name, make: shards.get(name, lambda _: make()))
            )

    shards.share(missing, store, workers)


def mixed(fraction: float, train: ImageSet, partitions: Partitions) -> Partitions:
    """The partitions, together with true ones if a fraction of the tasks is supervised."""
    if not fraction:
        return partitions
    true = train.supervised or train.partitions
    assert true
    log.warning("partition: a task has true labels with probability %g", fraction)
    return MixedPartitions(partitions, true, fraction)
