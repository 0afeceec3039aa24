"""Clusters that were made elsewhere: JSON files in the format of the authors' ImageNet experiments of 2018-11.

`cluster_files_dir` holds `train_k{k}.json` and, for more than one partition, `train_k{k}_{i}.json`, i = 1 ... P - 1; or
a file for each number in `cluster_files_sizes`. Each is an object {image: cluster}: the name of the image's file
without folders and extension (`n01440764_10026`), or, where such names repeat, with its folders (`cats/7`). Every
training image must be there; a negative cluster means none.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import PartitionContext, Partitioner
from cactus_tf.errors import InputError
from cactus_tf.types import AssignedPartitions, Partitions
from cactus_tf.utils.files import checksum

log = logging.getLogger(__name__)

USES_EMBEDDINGS = False
_PATTERN = "train_k*.json"


@dataclasses.dataclass(frozen=True)
class Options:
    """Where the clusters are."""

    dir: str | None = option(None, "folder with train_k{k}.json, train_k{k}_1.json ...")
    sizes: tuple[int, ...] | None = option(
        None, "one file train_k{k}.json for each of these k, in place of --clusters and --partitions; a list", low=1
    )


def build(clusters: int, partitions: int, options: Options | None = None) -> Partitioner:
    """The partitions that the files hold; they are read when they are first needed."""
    options = options or Options()
    files = (
        [f"train_k{k}.json" for k in options.sizes]
        if options.sizes
        else [f"train_k{clusters}{f'_{i}' if i else ''}.json" for i in range(partitions)]
    )

    def read(context: PartitionContext) -> Partitions:
        folder = _folder(options)
        missing = [name for name in files if not (folder / name).is_file()]
        if missing:
            there = ", ".join(sorted(path.name for path in folder.glob(_PATTERN))[:5]) or f"no {_PATTERN}"
            raise InputError(
                f"cluster_files: {folder} lacks {len(missing)} of {len(files)} files, the first {missing[0]} (it has "
                f"{there}): set --clusters and --partitions, or --cluster_files_sizes, to what there is"
            )
        if context.names is None:
            raise InputError("cluster_files: these training images are no files, so no names lead to their clusters")
        names = functools.cache(functools.partial(_Names, context.names))

        def assignments(name: str) -> np.ndarray:
            return names().assignments(folder / name)

        kept = [context.cache(f"assignments-{i}", functools.partial(assignments, name)) for i, name in enumerate(files)]
        return AssignedPartitions(kept)

    return read


def fingerprint(options: Options | None) -> dict[str, int]:
    """Checksums of the cluster files, by name: other files are other partitions.

    Raises:
      InputError: no such folder.
    """
    paths = sorted(_folder(options or Options()).glob(_PATTERN))
    return {path.name: _checksum(path, path.stat().st_mtime_ns) for path in paths if path.is_file()}


@functools.lru_cache(256)
def _checksum(path: Path, changed: int) -> int:
    return checksum(path)


def _folder(options: Options) -> Path:
    if options.dir is None:
        raise InputError("cluster_files needs cluster_files_dir, a folder with train_k{k}.json")
    folder = Path(options.dir).expanduser()
    if not folder.is_dir():
        raise InputError(f"cluster_files: {folder} is not a folder; name one with train_k{{k}}.json")
    return folder


class _Names:
    """Names of the images, as cluster files may have them.

    Args:
      names: [n] bytes, paths of the images' files.
    """

    def __init__(self, names: np.ndarray):
        self._paths = [str(PurePosixPath(name.decode()).with_suffix("")) for name in names.tolist()]
        self._stems = [path.rsplit("/", 1)[-1] for path in self._paths]
        self._repeated = len(set(self._stems)) < len(self._stems)

    def assignments(self, path: Path) -> np.ndarray:
        """[n] int32, the clusters of a file numbered from 0 by rising number, -1 for none.

        Raises:
          InputError: no such JSON, images that it lacks, or clusters that are no whole numbers.
        """
        clusters = _read(path)
        keys = self._keys(path, clusters)
        lacking = [key for key in keys if key not in clusters]
        if lacking:
            raise InputError(
                f"{path} lacks {len(lacking)} of {len(keys)} training images, the first {lacking[0]}: every image "
                "needs a cluster, -1 for none"
            )
        left = len(clusters) - len(set(keys))
        if left:
            unknown = next(iter(clusters.keys() - set(keys)))
            log.warning("%s: %d names are no training image's, such as %s", path.name, left, unknown)
        numbers = [clusters[key] for key in keys]
        for key, number in zip(keys, numbers, strict=True):
            if isinstance(number, bool) or not isinstance(number, int) or abs(number) >= 2**31:
                raise InputError(f"{path}: the cluster of {key} is {json.dumps(number)[:40]}, not a whole number")
        assignments = np.array(numbers, np.int64)
        found = np.unique(assignments[assignments >= 0])
        return np.where(assignments < 0, -1, np.searchsorted(found, assignments)).astype(np.int32)

    def _keys(self, path: Path, clusters: Mapping[str, Any]) -> Sequence[str]:
        """The name of each image in this file."""
        if not self._repeated:
            return self._stems if any(stem in clusters for stem in self._stems) else self._paths
        if any(p in clusters for p in self._paths if "/" in p):
            return self._paths
        seen: set[str] = set()
        again = next(stem for stem in self._stems if stem in seen or seen.add(stem))  # type: ignore[func-returns-value]
        raise InputError(
            f"{path}: several training images are named {again}: give them with their folders, as in {self._paths[0]}"
        )


def _read(path: Path) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            log.warning("%s: %d names come twice; the last counts", path.name, len(pairs) - len(found))
        return found

    try:
        clusters = json.loads(path.read_bytes(), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is no JSON ({error}): it must be an object of image names and clusters") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror})") from error
    if not isinstance(clusters, dict):
        raise InputError(f"{path} holds a {type(clusters).__name__}, not an object of image names and clusters")
    return clusters
