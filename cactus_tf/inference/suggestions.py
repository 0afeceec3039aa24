"""Which pictures to label first, and which are near-duplicates, by a run's embeddings and without labels."""

from __future__ import annotations

import logging
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from cactus_tf import datasets, embedders, partitioners
from cactus_tf.config import build_plan
from cactus_tf.contracts import PartitionContext
from cactus_tf.errors import InputError
from cactus_tf.inference.prediction import embedded, log_pictures
from cactus_tf.runs import restoring, training_pictures
from cactus_tf.runs.inputs import read_inputs
from cactus_tf.runs.training_pictures import TrainingPictures
from cactus_tf.types import GroupedPartition
from cactus_tf.utils import near_duplicates
from cactus_tf.utils.arrays import first_distinct
from cactus_tf.utils.near_duplicates import EMBEDDING_COSINE, THUMBNAIL_COSINE, Compared
from cactus_tf.utils.paths import expanded, identity

log = logging.getLogger(__name__)

SHOWN, GROUPS, MEMBERS = 120, 24, 8
"""Suggestions, groups of near-duplicates, and pictures of a group that are shown at most."""
_STARTS = 10  # of k-means on clusters


class Suggestion(NamedTuple):
    """A picture to label.

    Attributes:
      picture: its number.
      pictures: how many pictures its cluster has.
      typicality: cosine of its embedding with the mean of its cluster.
    """

    picture: int
    pictures: int
    typicality: float


class Suggestions(NamedTuple):
    """What to label first in a folder, and what is in it more than once.

    Attributes:
      files: [n] names of the pictures.
      suggested: one picture per cluster, that of the largest cluster first.
      duplicates: numbers of the pictures of each group of near-duplicates, the largest group first.
      cosines: of each group, the cosine of each picture's embedding with that of the group's first picture.
      images: pixels of the pictures that are shown, by number.
      source: what they were made from, as JSON values by name.
    """

    files: np.ndarray
    suggested: Sequence[Suggestion]
    duplicates: Sequence[np.ndarray]
    cosines: Sequence[np.ndarray]
    images: Mapping[int, np.ndarray]
    source: Mapping[str, Any]


def suggest(run: str | Path, data_dir: str | Path, number: int = 20, duplicates: float | None = None) -> Suggestions:
    """Suggests which pictures of a folder to label first, and finds its near-duplicates.

    Pictures that the run was trained on are neither read nor embedded again.

    Args:
      run: the folder of a run with an embedder.
      data_dir: folder or zip archive of pictures, in subfolders or not; or one picture.
      number: of pictures to suggest; fewer if there are fewer different ones.
      duplicates: cosine of the embeddings from which on two pictures are near-duplicates. None takes 0.95 where the run
        centers embeddings. With others, of which many are alike, it leaves the comparison to small copies of the
        pictures, which are always compared as well.

    Raises:
      InputError: numbers out of range, not a run, a run on features or without an embedder, or no readable picture.
    """
    _check(number, duplicates)
    _check_run(run)
    with tempfile.TemporaryDirectory(prefix="cactus_tf-", ignore_cleanup_errors=True) as folder:
        pictures = training_pictures.stored(run, data_dir)
        if pictures is None:
            pictures = _embedded(run, data_dir, Path(folder) / "rows")
        else:
            log.info(
                "stored: embeddings and clusters of the %s pictures that the run was trained on",
                f"{len(pictures.files):,}",
            )
        z = _comparable(run, pictures.embeddings)
        suggested = _one_per_cluster(z, _clusters(z, pictures.clusters, number))
        copies = Compared(near_duplicates.thumbnails(pictures.images), THUMBNAIL_COSINE)
        threshold = EMBEDDING_COSINE if duplicates is None and _centered(run) else duplicates
        groups = near_duplicates.groups([copies] if threshold is None else [copies, Compared(z, threshold)])
        source = {"run": identity(run), "data_dir": identity(data_dir), "number": number, "duplicates": threshold}
        return Suggestions(
            files=pictures.files,
            suggested=suggested,
            duplicates=groups,
            cosines=[z[group] @ z[group[0]] for group in groups],
            images=_shown(pictures.images, suggested, groups),
            source=source,
        )


def _check(number: int, duplicates: float | None) -> None:
    if number < 1:
        raise InputError(f"--number={number}: it must be 1 or more")
    if duplicates is not None and not 0 < duplicates <= 1:
        raise InputError(f"--duplicates={duplicates:g}: it is a cosine, above 0 and at most 1")


def _check_run(run: str | Path) -> None:
    """Refuses a run that cannot embed pictures."""
    folder = expanded(run)
    settings = restoring.read_settings(folder)
    if build_plan.has_features(settings):
        raise InputError(f"{run} learned from features, not from images: choose a run on images")
    if read_inputs(folder).embedder is None:
        raise InputError(f"{run} has no embedder to compare pictures with: choose a run with one, such as pretrained")


def _embedded(run: str | Path, data_dir: str | Path, folder: Path) -> TrainingPictures:
    """The pictures of any folder, read and embedded as those of the run; their pixels stay in FOLDER."""
    place = expanded(run)
    settings, inputs, embedder = restoring.read_settings(place), read_inputs(place), restoring.restore_embedder(run)
    assert embedder is not None
    dataset, shape = settings.data.dataset, inputs.image_shape
    decode = datasets.picture_decoder(dataset, shape, settings.options.get(dataset))
    pixel_range = datasets.PixelRange(*inputs.pixel_range) if inputs.pixel_range else None
    pictures = datasets.read_all("--data_dir", data_dir, decode, shape, pixel_range, folder)
    log.info("read: %s pictures, as %s", f"{len(pictures.files):,}", "x".join(map(str, shape)))
    log_pictures("--data_dir", pictures)
    embeddings = embedded(embedder, settings.embedding.embedder, pictures)
    return TrainingPictures(pictures.images, pictures.files, embeddings, None)


def _comparable(run: str | Path, embeddings: np.ndarray) -> np.ndarray:
    """[n, dim] float32 of length 1: embeddings minus the mean of the run's training pictures, whatever its norm."""
    if _centered(run):
        return np.asarray(embeddings)
    training = training_pictures.training_embeddings(run)
    center = embedders.center(embeddings if training is None else training, "centered")
    return np.asarray(embedders.normalized_pieces(embeddings, center))


def _centered(run: str | Path) -> bool:
    """Whether the run centers its embeddings and scales them to length 1."""
    return restoring.read_settings(expanded(run)).embedding.embedding_norm == "centered"


def _clusters(z: np.ndarray, given: np.ndarray | None, number: int) -> np.ndarray:
    """[n] clusters of the pictures, as many as are to be suggested.

    Clusters of the run are merged, which takes no time. With 10, 20 and 40 photographs of clothes labeled, the nearest
    one is right for 63% of others on average, as with a new k-means; for 59% with the largest clusters of the run as
    they are, and 50% with photographs chosen at random.
    """
    if number >= len(z):
        log.warning("--number=%d: there are %d pictures; all different ones are suggested", number, len(z))
    if given is not None and number <= len(np.unique(given)):
        return _merged(z, np.unique(given, return_inverse=True)[1], number)
    distinct, _ = first_distinct(z, number)
    if distinct < min(number, len(z)):
        log.warning("--number=%d: only %d of the %d pictures differ in their embeddings", number, distinct, len(z))
    if distinct == 1:
        return np.zeros(len(z), np.int32)
    means = partitioners.build("kmeans", clusters=distinct, partitions=1, accept_images=1, accept_fraction=0.0)
    return means(PartitionContext(images=len(z), embeddings=z, way=1))[0].assignments(len(z))


def _merged(z: np.ndarray, clusters: np.ndarray, number: int) -> np.ndarray:
    """[n] clusters, merged to fewer by k-means on their means, weighted by their sizes."""
    partition = GroupedPartition.from_assignments(clusters)
    means = np.stack([z[partition.cluster(c)].mean(axis=0) for c in range(len(partition.sizes))])
    with warnings.catch_warnings(), threadpool_limits(1):  # so few rows take threads longer than one
        warnings.simplefilter("ignore", ConvergenceWarning)  # of means that are the same
        merge = KMeans(number, n_init=_STARTS, random_state=0).fit(means, sample_weight=partition.sizes)
    return merge.labels_[clusters]


def _one_per_cluster(z: np.ndarray, clusters: np.ndarray) -> list[Suggestion]:
    """The most typical picture of each cluster, that of the largest cluster first."""
    partition = GroupedPartition.from_assignments(clusters)
    members = [partition.cluster(c) for c in np.argsort(-partition.sizes, kind="stable") if partition.sizes[c]]
    return [_most_typical(z, own) for own in members]


def _most_typical(z: np.ndarray, members: np.ndarray) -> Suggestion:
    mean = z[members].mean(axis=0)
    cosines = z[members] @ (mean / max(float(np.linalg.norm(mean)), 1e-12))
    best = int(cosines.argmax())
    return Suggestion(int(members[best]), len(members), float(cosines[best]))


def _shown(images: np.ndarray, suggested: Sequence[Suggestion], groups: Sequence[np.ndarray]) -> dict[int, np.ndarray]:
    """Pixels of the pictures that the sheets show."""
    numbers = {one.picture for one in suggested[:SHOWN]}
    numbers |= {int(i) for group in groups[:GROUPS] for i in group[:MEMBERS]}
    return {i: np.array(images[i]) for i in sorted(numbers)}
