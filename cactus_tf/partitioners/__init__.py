"""Partitioners divide images into clusters; file name = flag value. Import `build` and `make` from here."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import numpy as np

from cactus_tf import plugins
from cactus_tf.contracts import PartitionContext, Partitioner, PartitionerInfo
from cactus_tf.errors import InputError
from cactus_tf.types import Partitions
from cactus_tf.utils.arrays import as_float32, first_distinct

log = logging.getLogger(__name__)

__all__ = ["build", "make"]


def make(name: str, clusters: int, partitions: int, options: Any = None) -> Partitioner:
    """A partitioner by its name; it checks its context first."""
    module = plugins.load("partitioners", name)
    divide = module.build(clusters, partitions, options)

    def checked(context: PartitionContext) -> Partitions:
        _check(name, module.INFO, clusters, partitions, context)
        return divide(context)

    return checked


def build(name: str, clusters: int = 500, partitions: int = 100, **options: Any) -> Callable[..., Partitions]:
    """A partitioner by its name.

    Args:
      name: a module of this folder, such as "kmeans".
      clusters: k, clusters of a partition.
      partitions: P, number of partitions.
      **options: the partitioner's own settings.

    Returns:
      A function of a `PartitionContext`, or of plain embeddings [n, dim], and optionally a seed that replaces the
      context's. It raises InputError where the embeddings are missing or not finite, or the numbers do not fit.

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
    partitioner = make(name, clusters, partitions, plugins.options("partitioners", name, **options))
    info: PartitionerInfo = plugins.load("partitioners", name).INFO

    def divide(context: PartitionContext | np.ndarray, seed: int | None = None) -> Partitions:
        if not isinstance(context, PartitionContext):
            context = PartitionContext(images=len(context), embeddings=np.asarray(context))
        z = context.embeddings
        if info.uses_embeddings and z is not None and z.ndim == 2:  # anything else is refused below
            context = dataclasses.replace(context, embeddings=as_float32(z, name))
        return partitioner(context if seed is None else dataclasses.replace(context, seed=seed))

    return divide


def _check(name: str, info: PartitionerInfo, clusters: int, partitions: int, context: PartitionContext) -> None:
    if partitions < 1:
        raise InputError(f"{name}: partitions is {partitions}; it must be at least 1")
    if info.uses_embeddings:
        _check_embeddings(name, context)
    if not info.clusters_of_its_own:
        _check_clusters(name, clusters, context)
    if info.uses_embeddings:
        _check_distinct(name, context.way if info.clusters_of_its_own else clusters, context)


def _check_embeddings(name: str, context: PartitionContext) -> None:
    if context.embeddings is None:
        raise InputError(f"{name}: there are no embeddings to cluster; choose an --embedder")
    shape = np.shape(context.embeddings)
    if len(shape) != 2 or shape[0] != context.images:
        raise InputError(f"{name}: embeddings are {shape}; they must be [{context.images}, dim]")


def _check_clusters(name: str, clusters: int, context: PartitionContext) -> None:
    if clusters > context.images:
        raise InputError(
            f"{name}: {clusters} clusters are more than {context.images} images: lower --clusters to {context.images}"
        )
    if context.way > clusters:
        raise InputError(f"{name}: way {context.way} is more than {clusters} clusters: lower --way or raise --clusters")


def _check_distinct(name: str, clusters: int, context: PartitionContext) -> None:
    """Refuses embeddings of too few different values for the classes of an episode; warns where clusters stay empty."""
    assert context.embeddings is not None
    distinct, alike = first_distinct(context.embeddings, clusters)
    if distinct >= clusters:
        return
    counted = (
        f"{name}: only {distinct} of the {context.images} training embeddings are distinct{_named(alike, context)}"
    )
    if distinct < context.way:
        raise InputError(f"{counted}; --way={context.way} needs as many: remove duplicates and add other images")
    log.warning("%s; of %d clusters the others stay empty: remove duplicates, or lower --clusters", counted, clusters)


def _named(alike: tuple[int, int] | None, context: PartitionContext) -> str:
    """The files of two images with the same embedding."""
    if alike is None or context.names is None:
        return ""
    one, other = (context.names[i].decode() for i in alike)
    return f" ({one} and {other} are duplicates)"
