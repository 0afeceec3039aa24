"""Charts and captioned pictures, drawn by matplotlib: large enough type, axes with units, colours for every eye."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from cactus_tf.fewshot.episodes import Episodes, gather
from cactus_tf.report import tiles
from cactus_tf.report.page import Picture, short
from cactus_tf.types import Partition, Splits
from cactus_tf.utils.files import write_atomic
from cactus_tf.utils.seeds import counter_rng

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
"""Told apart by colour-blind eyes: Okabe and Ito 2008."""
_CLUSTERS, _IMAGES, _SHEET_ROWS = 12, 12, 4
_DOTS_PER_INCH = 110
_CHART = (4.4, 2.9)  # inches; a phone shows it at nine tenths of its size
_TEXT, _SMALL = 10, 9  # points
_NUMBERED = 12  # classes of a confusion matrix that has room for numbers
_LETTERS = 14  # of a class beside the matrix


def accuracy_figure(rows: Sequence[Mapping]):
    """Bars with 95% intervals, a group per (way, shot), a dotted line at chance."""
    tasks = list(dict.fromkeys((r["way"], r["shot"]) for r in rows))
    learners = list(dict.fromkeys(r["algo"] for r in rows))
    legend_columns = 2 if len(tasks) < 4 else 3
    figure, axes = _figure(max(_CHART[0], 1.5 + 0.4 * len(tasks) * max(3, len(learners))), 3.6)
    width = 0.8 / len(learners)
    for i, name in enumerate(learners):
        own = {(r["way"], r["shot"]): r for r in rows if r["algo"] == name}
        places = [t + (i + 0.5) * width - 0.4 for t, task in enumerate(tasks) if task in own]
        heights = [100 * own[task]["accuracy"] for task in tasks if task in own]
        intervals = [100 * own[t]["ci95"] for t in tasks if t in own]
        bars = axes.bar(places, heights, 0.92 * width, yerr=intervals, color=_colour(i), label=name)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    for t, (way, _) in enumerate(tasks):
        axes.hlines(
            100 / way, t - 0.45, t + 0.45, colors="black", linestyles="dotted", label="chance" if t == 0 else None
        )
    axes.set_xticks(range(len(tasks)), [f"{way}-way {shot}-shot" for way, shot in tasks])
    axes.set_ylabel("accuracy in %")
    axes.set_ylim(0, 108 + 8 * (1 + len(learners) // legend_columns))  # learners and chance
    axes.set_yticks(range(0, 101, 20))
    axes.legend(fontsize=_SMALL, ncols=legend_columns, loc="upper left", frameon=False)
    return figure


def curve_figure(histories: Mapping[str, Sequence[Mapping[str, float]]]):
    """Training accuracy and loss on pseudo-tasks over the outer steps."""
    figure, axes = _figure(2 * _CHART[0], _CHART[1], columns=2)
    _draw_curves(axes[0], histories, "loss", "query loss in nats", "outer step")
    _draw_curves(axes[1], histories, "accuracy", "accuracy on pseudo-tasks in %", "outer step", 100)
    return figure


def line_figure(
    histories: Mapping[str, Sequence[Mapping[str, float]]], scalar: str, unit: str, step: str, factor: float = 1
):
    """One scalar over the steps, a line for each history that has it: values, and a moving average.

    Args:
      histories: rows of `step` and scalars, by name.
      scalar: which of them.
      unit: what it is, for the axis.
      step: what is counted, for the axis.
      factor: to multiply the values with, 100 for percent.
    """
    figure, axes = _figure(*_CHART)
    _draw_curves(axes, histories, scalar, unit, step, factor)
    return figure


def adaptation_figure(rows: Sequence[Mapping[str, float]]):
    """Accuracy before and after every step of adaptation at one (way, shot), rows of adaptation.csv.

    Queries with their 95% interval, support images dashed.
    """
    figure, axes = _figure(*_CHART)
    for i, name in enumerate(dict.fromkeys(row["algo"] for row in rows)):
        own = [row for row in rows if row["algo"] == name]
        steps = [row["step"] for row in own]
        columns = ("support_accuracy", "query_accuracy", "query_ci95")
        support, query, ci95 = (100 * np.array([row[c] for row in own]) for c in columns)
        axes.plot(steps, query, color=_colour(i), marker="." if len(steps) < 20 else None, label=f"{name}, queries")
        axes.fill_between(steps, query - ci95, query + ci95, color=_colour(i), alpha=0.25, linewidth=0)
        axes.plot(steps, support, color=_colour(i), linestyle="dashed", linewidth=1, label=f"{name}, support")
    axes.set_xlabel("step of adaptation")
    axes.set_ylabel("accuracy in %")
    axes.set_ylim(0, 104)
    axes.legend(fontsize=_SMALL, frameon=False)
    return figure


def size_figure(sizes: np.ndarray):
    """Histogram of images per cluster.

    Args:
      sizes: of the clusters of one partition or of several, [...] integers.
    """
    figure, axes = _figure(*_CHART)
    values = np.ravel(sizes)
    edges = np.unique(np.linspace(0, values.max(initial=1) + 1, 31).astype(int))
    axes.hist(values, edges, color=_colour(0), edgecolor="white", linewidth=0.5)
    axes.axvline(values.mean(), color="black", linestyle="dotted", label=f"mean {values.mean():.1f}")
    axes.set_xlabel("images of a cluster")
    axes.set_ylabel("clusters")
    axes.legend(fontsize=_SMALL, frameon=False)
    return figure


def confusion_figure(rates: np.ndarray, names: Sequence[str]):
    """Answers in % by true class: [classes, classes] fractions, a row per true class."""
    side = 1.4 + max(2.6, min(5.5, 0.34 * len(names)))
    figure, axes = _figure(side, side - 0.5)
    shown = axes.imshow(100 * rates, cmap="Blues", vmin=0, vmax=100)
    if len(names) <= _NUMBERED:
        for (i, j), rate in np.ndenumerate(rates):
            if rate >= 0.005:
                colour = "white" if rate > 0.5 else "black"
                axes.text(j, i, f"{100 * rate:.0f}", ha="center", va="center", color=colour, fontsize=8)
    size, names = _SMALL if len(names) <= _NUMBERED else 7, [short(name, _LETTERS) for name in names]
    axes.set_xticks(range(len(names)), names, fontsize=size, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    bar = figure.colorbar(shown, ax=axes, shrink=0.8)
    bar.set_label("queries in %", fontsize=_SMALL)
    bar.ax.tick_params(labelsize=_SMALL)
    return figure


def cluster_rows(images: np.ndarray, partition: Partition) -> tuple[np.ndarray, list[np.ndarray]]:
    """Numbers of some clusters, and tiles of some images of each."""
    rng, paper = counter_rng(0, 0), tiles.drawings(images)
    found = np.flatnonzero(partition.sizes > 0)
    chosen = np.sort(rng.choice(found, min(_CLUSTERS, len(found)), replace=False))
    members = [partition.cluster(c) for c in chosen]
    drawn = [rng.choice(m, min(_IMAGES, len(m)), replace=False) for m in members]
    return chosen, [tiles.tiles(gather(images, numbers), paper) for numbers in drawn]


def cluster_figure(images: np.ndarray, partition: Partition):
    """Images of some clusters, a row per cluster."""
    chosen, rows = cluster_rows(images, partition)
    title = "some clusters of the first partition, a row each"
    return _sheet_figure(tiles.sheet(rows), [f"{partition.sizes[c]} images" for c in chosen], title)


def task_figure(tasks: Episodes, paper: bool):
    """The first task as the learner meets it: a row per label, support framed in blue, then queries in grey."""
    episode = tasks[0]
    picture = tiles.task(episode.support[:_CLUSTERS], episode.query[:_CLUSTERS], paper=paper, most=_IMAGES)
    names = [f"label {i}" for i in range(min(tasks.way, _CLUSTERS))]
    return _sheet_figure(picture, names, "a pseudo-task: support in blue, queries in grey")


def write_contact_sheet(data: Splits, folder: Path) -> None:
    """Writes contact_sheet.png: images of every split, spread evenly over its rows."""
    rows, names = [], []
    paper = tiles.drawings(data.train.images)
    for name, images in (("train", data.train.images), ("val", data.val.images), ("test", data.test.images)):
        numbers = np.unique(np.linspace(0, len(images) - 1, min(len(images), _SHEET_ROWS * _IMAGES)).astype(int))
        for start in range(0, len(numbers), _IMAGES):
            rows.append(tiles.tiles(gather(images, numbers[start : start + _IMAGES]), paper))
            names.append(name)
    save(_sheet_figure(tiles.sheet(rows), names), folder / "contact_sheet.png")


def save(figure, path: Path) -> None:
    """Writes a PNG file."""
    write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=_DOTS_PER_INCH))


def chart(figure, alt: str, caption: str) -> Picture:
    """The figure as a picture of a page, in its own size."""
    return Picture(svg(figure), "svg+xml", round(96 * figure.get_figwidth()), alt, caption)


def svg(figure) -> bytes:
    """The figure as an SVG file, the same for the same figure; its text is shapes, to look the same everywhere."""
    import matplotlib

    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "cactus_tf"}):  # names of its parts, random otherwise
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _draw_curves(axes, histories, scalar: str, unit: str, step: str, factor: float = 1) -> None:
    for i, (name, rows) in enumerate(histories.items()):
        values = factor * np.array([row.get(scalar, np.nan) for row in rows])
        if not np.isfinite(values).any():
            continue
        steps = [row["step"] for row in rows]
        axes.plot(steps, values, color=_colour(i), alpha=0.3, linewidth=0.8)
        axes.plot(steps, _smooth(values), color=_colour(i), label=name, marker="." if len(steps) < 5 else None)
    axes.set_xlabel(step)
    axes.set_ylabel(unit)
    if len(axes.get_legend_handles_labels()[0]) and any(histories):
        axes.legend(fontsize=_SMALL, frameon=False)


def _figure(width: float, height: float, columns: int = 1):
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns)
    for one in np.ravel(axes):
        one.tick_params(labelsize=_SMALL)
        one.xaxis.label.set_size(_TEXT)
        one.yaxis.label.set_size(_TEXT)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _colour(i: int) -> str:
    return COLOURS[i % len(COLOURS)]


def _sheet_figure(picture: np.ndarray, names: Sequence[str], title: str = ""):
    """A picture of rows of equal height, each with a name beside it."""
    height, width = picture.shape[:2]
    row = height / len(names)
    inch = 0.5 / row  # a row is half an inch high
    figure, axes = _figure(width * inch + 1.0, height * inch + 0.4)
    axes.imshow(picture)
    axes.set_xticks([])
    axes.set_yticks([row * (i + 0.5) - 0.5 for i in range(len(names))], names, fontsize=8)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if title:
        axes.set_title(title, fontsize=_TEXT)
    return figure


def _smooth(values: np.ndarray, width: int = 15) -> np.ndarray:
    """Moving average that shrinks at the ends."""
    ones = np.ones(min(width, len(values)) or 1)
    return (
        np.convolve(values, ones, "same") / np.convolve(np.ones_like(values), ones, "same") if len(values) else values
    )
