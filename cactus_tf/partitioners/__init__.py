"""The partitioners: a module each, found by its file name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from cactus_tf import plugins
from cactus_tf.contracts import PartitionContext
from cactus_tf.types import Partitions


def build(name: str, clusters: int = 500, partitions: int = 100, **options) -> Callable[..., Partitions]:
    """A partitioner by its name.

    Args:
      name: a module of this folder, such as "kmeans".
      clusters: k, clusters of a partition.
      partitions: P, number of partitions.
      **options: the partitioner's own settings.

    Returns:
      A function of a `PartitionContext`, or of plain embeddings [n, dim], and optionally a seed that replaces the
      context's.

    Raises:
      InputError: no such partitioner, or it has no such setting.

    Example:
      >>> import cactus_tf as ct
      >>> import numpy as np
      >>> embeddings = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
      >>> partitions = ct.partitioners.build("kmeans", clusters=10, partitions=3)(embeddings, seed=0)
      >>> len(partitions), int(partitions[0].sizes.sum())
      (3, 100)
    """
    chosen = plugins.options("partitioners", name, **options)
    partitioner = plugins.load("partitioners", name).build(clusters, partitions, chosen)

    def divide(context: PartitionContext | np.ndarray, seed: int | None = None) -> Partitions:
        if not isinstance(context, PartitionContext):
            context = PartitionContext(images=len(context), embeddings=np.asarray(context))
        return partitioner(context if seed is None else dataclasses.replace(context, seed=seed))

    return divide
