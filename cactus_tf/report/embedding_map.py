"""The section of the page with a map of embeddings, colored by cluster."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cactus_tf.fewshot.episodes import gather
from cactus_tf.report import browsing, figures, tiles
from cactus_tf.report.layouts import Layouts, layouts, on_field
from cactus_tf.report.page import Kind, Link, Picture, Point, Scatter, Section
from cactus_tf.report.run import Run
from cactus_tf.types import Partition
from cactus_tf.utils.arrays import first_distinct
from cactus_tf.utils.seeds import counter_rng

_POINTS, _FEWEST = 600, 5
_COLORS = figures.COLORS[:6]  # without black, the color of the point that is pointed at
_COLUMNS, _SIDE = 30, 48  # of the sprite: pictures in a row, pixels of a picture's longer side
_SPRITE = 300_000  # bytes
_FIELD, _MARGIN = (4, 3), 0.02


def map_of(run: Run) -> Section | None:
    """Some training pictures, placed by their embeddings and colored by cluster."""
    if run.embeddings is None or not browsing.can_browse(run):
        return None
    chosen = _sample(len(run.embeddings), run.plan.run.seed)
    z = gather(run.embeddings, chosen)
    if first_distinct(z, _FEWEST)[0] < _FEWEST:
        return None
    found = layouts(z)
    return Section("Map", _text(len(chosen), len(run.embeddings), found), scatter=_scatter(run, chosen, found))


def _sample(number: int, seed: int) -> np.ndarray:
    """Numbers of the images that are shown, the same for every run on the same images with this seed."""
    return np.sort(counter_rng(seed, 0).choice(number, min(number, _POINTS), replace=False))


def _text(points: int, number: int, found: Layouts) -> list[str]:
    which = f"{points:,} of the {number:,}" if points < number else f"the {number:,}"
    return [
        f"Each point is one of {which} training pictures; pictures with similar embeddings are close together, and "
        "colors show the largest clusters of the first partition. Good clusters are small groups of one color. Hover "
        "over a point to see its picture; click it to browse its cluster.",
        "t-SNE keeps neighbors together: distances between far groups, and sizes of groups, mean little. PCA keeps "
        f"large distances, but its two axes have only {100 * found.explained:.0f}% of the variance.",
    ]


def _scatter(run: Run, chosen: np.ndarray, found: Layouts) -> Scatter:
    partition = run.partitions[0]
    clusters = partition.assignments(len(run.data.train))[chosen]
    shown = browsing.by_size(partition)
    largest = {c: kind for kind, c in enumerate(shown[: 2 * len(_COLORS)])}
    order = np.argsort([c in largest for c in clusters.tolist()], kind="stable")  # gray ones lie below
    places = [on_field(plane, *_FIELD, _MARGIN)[order] for plane in (found.tsne, found.pca)]
    points = [
        _point(int(c), largest.get(int(c)), int(c) in shown, [(float(x), float(y)) for x, y in xy])
        for c, xy in zip(clusters[order], np.stack(places, axis=1), strict=True)
    ]
    sprite, width, height = _sprite(run.data.train.images, chosen[order])
    others = "all other clusters" if any(point.kind is None for point in points) else ""
    return Scatter(("t-SNE", "PCA"), points, _kinds(partition, list(largest)), others, sprite, _COLUMNS, width, height)


def _point(cluster: int, kind: int | None, browsable: bool, places: Sequence[tuple[float, float]]) -> Point:
    name = f"cluster {cluster}" if cluster >= 0 else "no cluster"
    return Point(places, kind, name, _address(cluster) if browsable else "")


def _kinds(partition: Partition, clusters: Sequence[int]) -> list[Kind]:
    """A look for each of the largest clusters: all colors in circles, then all in squares."""
    number = len(_COLORS)
    links = [Link(f"cluster {c} ({partition.sizes[c]:,} pictures)", _address(c)) for c in clusters]
    return [Kind(_COLORS[i % number], i >= number, link) for i, link in enumerate(links)]


def _address(cluster: int) -> str:
    return f"{browsing.NAME}#{browsing.anchor(cluster)}"


def _sprite(images: np.ndarray, chosen: np.ndarray) -> tuple[Picture, int, int]:
    """Small pictures in rows, and width and height of each."""
    shown = tiles.tiles(gather(images, chosen), tiles.drawings(images), _SIDE)[..., : images.shape[-1]]
    rows = [shown[start : start + _COLUMNS] for start in range(0, len(shown), _COLUMNS)]
    return tiles.fitting(tiles.sheet(rows, gap=0), _SPRITE), shown.shape[2], shown.shape[1]
