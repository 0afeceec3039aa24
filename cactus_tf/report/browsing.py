"""clusters.html: the clusters of the first partition with their pictures, to browse."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cactus_tf.fewshot.episodes import gather
from cactus_tf.report import tiles
from cactus_tf.report.page import Picture, fill
from cactus_tf.report.run import Run
from cactus_tf.types import InstancePartition, Partition
from cactus_tf.utils import files
from cactus_tf.utils.seeds import counter_rng

NAME = "clusters.html"
_CLUSTERS, _EACH, _ALL = 500, 60, 2400  # clusters, pictures of each, and pictures of all on the page
_BYTES = 5_000_000  # of the page that pictures take
_CANDIDATES = 400  # pictures of a cluster whose typical ones are shown
_SMALL = 32  # pixels: smaller pictures are shown at twice their size


class Cluster(NamedTuple):
    """A cluster on the page.

    Attributes:
      number: in the partition.
      size: number of its pictures.
      pictures: those that are shown, the most typical first.
    """

    number: int
    size: int
    pictures: Sequence[Picture]

    @property
    def anchor(self) -> str:
        """Its place on the page."""
        return anchor(self.number)

    @property
    def title(self) -> str:
        """Number and sizes in words."""
        shown = f"{len(self.pictures):,} of " if len(self.pictures) < self.size else ""
        return f"Cluster {self.number}: {shown}{self.size:,} {'picture' if self.size == 1 else 'pictures'}"


def write(run: Run) -> None:
    """Writes clusters.html if there are clusters of images to browse."""
    if can_browse(run):
        files.write_text(run.folder / NAME, _page(run))


def can_browse(run: Run) -> bool:
    """Whether the run has clusters of images, made without labels."""
    if run.images is None or not len(run.partitions) or isinstance(run.partitions[0], InstancePartition):
        return False
    return run.plan.partition is None or run.plan.partition.partitioner != "labels"


def anchor(number: int) -> str:
    """The place of a cluster on the page."""
    return f"cluster-{number}"


def by_size(partition: Partition) -> list[int]:
    """Numbers of the clusters that the page shows, the largest first."""
    order = np.argsort(-partition.sizes, kind="stable")
    return [int(c) for c in order[:_CLUSTERS] if partition.sizes[c]]


def _page(run: Run) -> str:
    clusters, of_all = _clusters(run), np.count_nonzero(run.partitions[0].sizes)
    which = f"The largest {len(clusters):,} of {of_all:,}" if len(clusters) < of_all else f"{of_all:,}"
    typical = "the most typical first" if run.embeddings is not None else "in the order of the data"
    text = (
        f"{which} clusters of the first partition, the largest first: number and, in parentheses, size. Each shows "
        f"up to {_EACH} pictures, {typical}, or fewer, to keep the page within {_ALL:,} pictures and "
        f"{_BYTES / 1e6:g} MB."
    )
    title = f"Clusters of {run.subject}"
    return fill(NAME, title=title, subtitle=f"cactus_tf, {run.folder.name}", text=text, clusters=clusters)


def _clusters(run: Run) -> list[Cluster]:
    """The clusters that are shown, also those that the caps leave without a picture: the map leads to them."""
    partition = run.partitions[0]
    numbers = by_size(partition)
    pictures = _pictures(run, [_typical(partition, c, run.embeddings) for c in numbers])
    return [Cluster(c, int(partition.sizes[c]), own) for c, own in zip(numbers, pictures, strict=True)]


def _typical(partition: Partition, c: int, embeddings: np.ndarray | None) -> np.ndarray:
    """Numbers of some images of a cluster, those nearest to their mean first."""
    members = partition.cluster(c)
    if len(members) > _CANDIDATES:
        members = partition.draw(c, _CANDIDATES, counter_rng(0, c))
    if embeddings is None:
        return members[:_EACH]
    z = gather(embeddings, members)
    return members[np.argsort(np.linalg.norm(z - z.mean(axis=0), axis=1), kind="stable")[:_EACH]]


def _pictures(run: Run, typical: Sequence[np.ndarray]) -> list[list[Picture]]:
    """Pictures of each cluster: the first of every cluster, then the second, until a cap is reached."""
    made: list[list[Picture]] = [[] for _ in typical]
    turns = [(c, i) for rank in range(_EACH) for c, own in enumerate(typical) for i in own[rank : rank + 1]]
    assert run.images is not None
    invert, left = tiles.drawings(run.images), _BYTES
    for c, i in turns[:_ALL]:
        picture = _picture(run, int(i), invert)
        left -= len(picture.source)
        if left < 0:
            break
        made[c].append(picture)
    return made


def _picture(run: Run, i: int, invert: bool) -> Picture:
    """Training image i, by the name of its file."""
    images, names = run.data.train.images, run.data.train.names
    shown = tiles.tiles(images[i : i + 1], invert)[0, :, :, : images.shape[-1]]
    picture = tiles.picture(shown, f"picture {i}" if names is None else names[i].decode(), much=0)
    return picture._replace(width=picture.width * (2 if picture.width <= _SMALL else 1))
