"""Sheets of images with a name beside each row: clusters, tasks, a look at the data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.fewshot.episodes import Episodes, gather
from cactus_tf.report import figures, tiles
from cactus_tf.types import Partition, Splits
from cactus_tf.utils.seeds import counter_rng

_CLUSTERS, _IMAGES, _SHEET_ROWS = 12, 12, 4
_TEXT, _NAME, _CAPTION_TEXT = 10, 8, 7  # points
_PICTURE, _CAPTION, _FEWEST = 1.35, 0.25, 5  # of captioned pictures: inches, part of the width, columns of the figure


def cluster_rows(images: np.ndarray, partition: Partition) -> tuple[np.ndarray, list[np.ndarray]]:
    """Indices of some clusters, and tiles of some images of each."""
    rng, invert = counter_rng(0, 0), tiles.drawings(images)
    filled = np.flatnonzero(partition.sizes > 0)
    chosen = np.sort(rng.choice(filled, min(_CLUSTERS, len(filled)), replace=False))
    members = [partition.cluster(c) for c in chosen]
    drawn = [rng.choice(m, min(_IMAGES, len(m)), replace=False) for m in members]
    return chosen, [tiles.tiles(gather(images, numbers), invert) for numbers in drawn]


def cluster_figure(images: np.ndarray, partition: Partition) -> Any:
    """Images of some clusters, a row per cluster."""
    chosen, rows = cluster_rows(images, partition)
    title = "some clusters of the first partition, a row per cluster"
    return _sheet_figure(tiles.sheet(rows), [f"{partition.sizes[c]} images" for c in chosen], title)


def task_figure(tasks: Episodes, invert: bool) -> Any:
    """The first training task: a row per label, support images framed in blue, then queries in gray."""
    episode = tasks[0]
    picture = tiles.task(episode.support[:_CLUSTERS], episode.query[:_CLUSTERS], invert=invert, most=_IMAGES)
    names = [f"label {i}" for i in range(min(tasks.way, _CLUSTERS))]
    some = f", {len(names)} of its {tasks.way} labels" if tasks.way > len(names) else ""
    return _sheet_figure(picture, names, f"a training task{some}:\nsupport in blue, queries in gray")


def write_contact_sheet(data: Splits, folder: Path) -> None:
    """Writes contact_sheet.png: images of every split, spread evenly over its rows."""
    rows, names = [], []
    invert = tiles.drawings(data.train.images)
    for name, images in (("train", data.train.images), ("val", data.val.images), ("test", data.test.images)):
        numbers = np.unique(np.linspace(0, len(images) - 1, min(len(images), _SHEET_ROWS * _IMAGES)).astype(int))
        for start in range(0, len(numbers), _IMAGES):
            rows.append(tiles.tiles(gather(images, numbers[start : start + _IMAGES]), invert))
            names.append(name)
    figures.save(_sheet_figure(tiles.sheet(rows), names), folder / "contact_sheet.png")


def _sheet_figure(picture: np.ndarray, names: Sequence[str], title: str = "") -> Any:
    """A picture of rows of equal height, with a name beside each."""
    height, width = picture.shape[:2]
    row = height / len(names)
    inch = 0.5 / row  # a row is half an inch high
    figure, axes = figures.blank(width * inch + 1.0, height * inch + 0.4)
    axes.imshow(picture)
    axes.set_xticks([])
    axes.set_yticks([row * (i + 0.5) - 0.5 for i in range(len(names))], names, fontsize=_NAME)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=_TEXT)
    return figure


def captioned_figure(
    rows: Sequence[Sequence[np.ndarray]], captions: Sequence[Sequence[str]], names: Sequence[str] = (), title: str = ""
) -> Any:
    """Pictures large enough to recognize, with a caption below each.

    Args:
      rows: pictures [h, w, c] uint8, all of one shape; rows may differ in length.
      captions: of every picture, at most two lines.
      names: of the rows, or none.
      title: above them.
    """
    height, width = rows[0][0].shape[:2]
    columns, row = max(map(len, rows)), height / width + _CAPTION  # in widths of a picture
    figure, axes = figures.blank(_PICTURE * max(columns, _FEWEST) + 0.9 * bool(names), _PICTURE * row * len(rows) + 0.4)
    colors = "gray_r" if tiles.drawings(np.stack([image for images in rows for image in images])) else "gray"
    for y, (images, texts) in enumerate(zip(rows, captions, strict=True)):
        for x, (image, text) in enumerate(zip(images, texts, strict=True)):
            place = (x, x + 0.95, row * y + 0.95 * height / width, row * y)
            axes.imshow(image, cmap=colors, vmin=0, vmax=255, extent=place)
            axes.text(x + 0.475, place[2] + 0.02, text, ha="center", va="top", fontsize=_CAPTION_TEXT)
    axes.set(xlim=(0, max(columns, _FEWEST)), ylim=(row * len(rows), 0), xticks=[], aspect="equal")
    axes.set_yticks([row * y + height / width / 2 for y in range(len(names))], names, fontsize=_NAME)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(title, fontsize=_TEXT, loc="left")
    return figure
