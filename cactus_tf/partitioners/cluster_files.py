"""Clusters from JSON files, in the format of the authors' ImageNet experiments of 2018-11.

`cluster_files_dir` holds `train_k{k}.json` and, for more than one partition, `train_k{k}_{i}.json`, i = 1 ... P - 1; or
one file for each number in `cluster_files_sizes`. Each is an object {image: cluster}. An image is the name of its file
without folders and extension (`n01440764_10026`), or with its folders (`cats/7`) where such names repeat. Every
training image needs an entry; a negative cluster means none.
"""

from __future__ import annotations

import functools
import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import PartitionContext, Partitioner, PartitionerInfo
from cactus_tf.errors import InputError
from cactus_tf.types import AssignedPartitions, Partitions
from cactus_tf.utils.files import checksum
from cactus_tf.utils.paths import expanded

log = logging.getLogger(__name__)

_PATTERN = "train_k*.json"


@dataclass(frozen=True)
class Options:
    """Where the clusters are."""

    dir: str | None = option(None, "folder with train_k{k}.json, train_k{k}_1.json ...", path=True)
    sizes: tuple[int, ...] | None = option(
        None, "k of each file train_k{k}.json to read, replacing --clusters and --partitions; a list", low=1
    )


def fingerprint(options: Options | None) -> dict[str, int]:
    """Checksums of the cluster files by name, so that other files make other partitions."""
    paths = sorted(_folder(options or Options()).glob(_PATTERN))
    return {path.name: _checksum(path, path.stat().st_mtime_ns) for path in paths if path.is_file()}


@functools.lru_cache(256)
def _checksum(path: Path, modified: int) -> int:
    return checksum(path)


def _has_sizes(options: Options | None) -> bool:
    return bool(options and options.sizes)


INFO = PartitionerInfo(
    uses_embeddings=False, clusters_of_its_own=True, ignores_counts=_has_sizes, fingerprint=fingerprint
)


def build(clusters: int, partitions: int, options: Options | None = None) -> Partitioner:
    """A partition for each file; a file is read when its partition is not in the cache."""
    options = options or Options()
    files = [f"train_k{clusters}{f'_{i}' if i else ''}.json" for i in range(partitions)]
    if options.sizes:
        files = [f"train_k{k}.json" for k in options.sizes]
    return functools.partial(_partitions, options, files)


def _partitions(options: Options, files: Sequence[str], context: PartitionContext) -> Partitions:
    folder = _folder(options)
    _check_files(folder, files)
    if context.names is None:
        raise InputError("cluster_files: these training images are not files, so no names lead to their clusters")
    names = functools.cache(functools.partial(_Names, context.names))

    def assignments(name: str) -> np.ndarray:
        return names().assignments(folder / name)

    return AssignedPartitions(
        [context.cache(f"assignments-{i}", functools.partial(assignments, name)) for i, name in enumerate(files)]
    )


def _folder(options: Options) -> Path:
    if options.dir is None:
        raise InputError("cluster_files needs cluster_files_dir, a folder with train_k{k}.json")
    folder = expanded(options.dir)
    if not folder.is_dir():
        raise InputError(f"cluster_files: {folder} is not a folder; name one with train_k{{k}}.json")
    return folder


def _check_files(folder: Path, files: Sequence[str]) -> None:
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        available = ", ".join(sorted(path.name for path in folder.glob(_PATTERN))[:5]) or f"no {_PATTERN}"
        raise InputError(
            f"cluster_files: {folder} lacks {len(missing)} of {len(files)} files, the first {missing[0]} (it has "
            f"{available}): set --clusters and --partitions, or --cluster_files_sizes, to match the files"
        )


class _Names:
    """Names of the training images, as keys of cluster files.

    Args:
      names: [n] bytes, paths of the images' files.
    """

    def __init__(self, names: np.ndarray):
        self._paths = [str(PurePosixPath(name.decode()).with_suffix("")) for name in names.tolist()]
        self._stems = [path.rsplit("/", 1)[-1] for path in self._paths]
        self._repeated = len(set(self._stems)) < len(self._stems)

    def assignments(self, path: Path) -> np.ndarray:
        """[n] int32, the clusters of one file, renumbered from 0 in rising order; -1 for none."""
        clusters = _read(path)
        keys = self._keys(path, clusters)
        _check_keys(path, keys, clusters)
        numbers = np.array([_number(path, key, clusters[key]) for key in keys], np.int64)
        used = np.unique(numbers[numbers >= 0])
        return np.where(numbers < 0, -1, np.searchsorted(used, numbers)).astype(np.int32)

    def _keys(self, path: Path, clusters: Mapping[str, Any]) -> Sequence[str]:
        """The key of each image in this file."""
        if not self._repeated:
            return self._stems if any(stem in clusters for stem in self._stems) else self._paths
        if any(p in clusters for p in self._paths if "/" in p):
            return self._paths
        again = next(stem for stem, count in Counter(self._stems).items() if count > 1)
        raise InputError(
            f"{path}: several training images are named {again}: name them with their folders, as in {self._paths[0]}"
        )


def _check_keys(path: Path, keys: Sequence[str], clusters: Mapping[str, Any]) -> None:
    lacking = [key for key in keys if key not in clusters]
    if lacking:
        raise InputError(
            f"{path} lacks {len(lacking)} of {len(keys)} training images, the first {lacking[0]}: every image "
            "needs a cluster, -1 for none"
        )
    unknown = clusters.keys() - set(keys)
    if unknown:
        log.warning("%s: %d names match no training image, such as %s", path.name, len(unknown), next(iter(unknown)))


def _number(path: Path, key: str, cluster: Any) -> int:
    if isinstance(cluster, bool) or not isinstance(cluster, int) or abs(cluster) >= 2**31:
        raise InputError(f"{path}: the cluster of {key} is {json.dumps(cluster)[:40]}, not a whole number")
    return cluster


def _read(path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        clusters = dict(pairs)
        if len(clusters) < len(pairs):
            log.warning("%s: %d names repeat; the last cluster counts", path.name, len(pairs) - len(clusters))
        return clusters

    try:
        clusters = json.loads(path.read_bytes(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}): it must be an object of image names and clusters") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    if not isinstance(clusters, dict):
        raise InputError(f"{path} holds a {type(clusters).__name__}, not an object of image names and clusters")
    return clusters
