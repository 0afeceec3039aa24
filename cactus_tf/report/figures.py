"""Charts, drawn by matplotlib: legible type, axes with units, colors that color-blind readers can distinguish."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.report.page import Picture
from cactus_tf.utils.drawing import save_figure
from cactus_tf.utils.files import write_atomic
from cactus_tf.utils.text import shortened

Histories = Mapping[str, Sequence[Mapping[str, float]]]
"""By name: rows of `step` and scalars."""

COLORS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#000000")
"""Okabe and Ito 2008."""
_DOTS_PER_INCH = 110
_CHART = (4.4, 2.9)  # inches; fits a phone at 90%
_TEXT, _SMALL = 10, 9  # points
_NUMBERED = 12  # most classes of a confusion matrix with numbers
_SMOOTHED = 15  # steps of the moving average of a curve
_LETTERS = 14  # of a class name beside the matrix
_BARS = 30  # most bars of a histogram
_LINE = 0.2  # inches of a line of a legend
_SHORT_NAME = 20  # most letters of a name in a legend of two columns


def accuracy_figure(rows: Sequence[Mapping]) -> Any:
    """Bars with 95% intervals, a group per (way, shot), a dotted line at chance."""
    tasks = list(dict.fromkeys((r["way"], r["shot"]) for r in rows))
    learners = list(dict.fromkeys(r["algo"] for r in rows))
    figure, axes = blank(max(_CHART[0], 1.5 + 0.4 * len(tasks) * max(3, len(learners))), 3.6)
    width, shown = 0.8 / len(learners), []
    for i, name in enumerate(learners):
        own = {(r["way"], r["shot"]): r for r in rows if r["algo"] == name}
        places = [t + (i + 0.5) * width - 0.4 for t, task in enumerate(tasks) if task in own]
        heights = [100 * own[task]["accuracy"] for task in tasks if task in own]
        intervals = [100 * own[t]["ci95"] for t in tasks if t in own]
        bars = axes.bar(places, heights, 0.92 * width, yerr=intervals, color=_color(i), label=name)
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
        shown.append(bars)
    for t, (way, _) in enumerate(tasks):
        chance = axes.hlines(100 / way, t - 0.45, t + 0.45, colors="black", linestyles="dotted", label="chance")
    axes.set_xticks(range(len(tasks)), [f"{way}-way {shot}-shot" for way, shot in tasks])
    axes.set_ylabel("accuracy in %")
    axes.set_ylim(0, 108)  # numbers above the bars
    axes.set_yticks(range(0, 101, 20))
    _legend_above(axes, [*shown, chance])
    return figure


def curve_figure(histories: Histories) -> Any:
    """Loss and accuracy on training tasks over the outer steps."""
    figure, axes = blank(2 * _CHART[0], _CHART[1], columns=2)
    _draw_curves(axes[0], histories, "loss", "query loss in nats", "outer step")
    _draw_curves(axes[1], histories, "accuracy", "accuracy on training tasks in %", "outer step", 100)
    return figure


def line_figure(histories: Histories, scalar: str, unit: str, step: str, factor: float = 1) -> Any:
    """One scalar over the steps, a line for each history that has it: values, and a moving average.

    Args:
      histories: learning curves.
      scalar: its name in them.
      unit, step: labels of the axes.
      factor: multiplies the values, 100 for percent.
    """
    figure, axes = blank(*_CHART)
    _draw_curves(axes, histories, scalar, unit, step, factor)
    return figure


def adaptation_figure(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Accuracy before and after each step of adaptation at one (way, shot): queries with intervals, support dashed.

    Args:
      rows: of adaptation.csv.
    """
    figure, axes = blank(*_CHART)
    for i, name in enumerate(dict.fromkeys(row["algo"] for row in rows)):
        own = [row for row in rows if row["algo"] == name]
        steps = [row["step"] for row in own]
        columns = ("support_accuracy", "query_accuracy", "query_ci95")
        support, query, ci95 = (100 * np.array([row[c] for row in own]) for c in columns)
        axes.plot(steps, query, color=_color(i), marker="." if len(steps) < 20 else None, label=f"{name}, queries")
        axes.fill_between(steps, query - ci95, query + ci95, color=_color(i), alpha=0.25, linewidth=0)
        axes.plot(steps, support, color=_color(i), linestyle="dashed", linewidth=1, label=f"{name}, support")
    axes.set_xlabel("step of adaptation")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel("accuracy in %")
    axes.set_ylim(0, 104)
    _legend_above(axes)
    return figure


def size_figure(sizes: np.ndarray) -> Any:
    """Histogram of images per cluster, of sizes [...]."""
    figure, axes = blank(*_CHART)
    values = np.ravel(sizes)
    width = -(-(values.max(initial=1) + 1) // _BARS)  # the same for all, whole, so that equal counts look equal
    edges = np.arange(0, values.max(initial=1) + 1 + width, width)
    axes.hist(values, edges, color=_color(0), edgecolor="white", linewidth=0.5)
    axes.axvline(values.mean(), color="black", linestyle="dotted", label=f"mean {values.mean():.1f}")
    axes.set_xlabel("images in a cluster")
    axes.set_ylabel("clusters")
    _legend_above(axes)
    return figure


def confusion_figure(rates: np.ndarray, names: Sequence[str]) -> Any:
    """Predictions in %, from [classes, classes] fractions; a row per true class."""
    side = 1.4 + max(2.6, min(5.5, 0.34 * len(names)))
    figure, axes = blank(side, side - 0.5)
    shown = axes.imshow(100 * rates, cmap="Blues", vmin=0, vmax=100)
    if len(names) <= _NUMBERED:
        for (i, j), rate in np.ndenumerate(rates):
            if rate > 0.005:  # half a percent would be "0"
                color = "white" if rate > 0.5 else "black"
                axes.text(j, i, f"{100 * rate:.0f}", ha="center", va="center", color=color, fontsize=8)
    size, names = _SMALL if len(names) <= _NUMBERED else 7, [shortened(name, _LETTERS) for name in names]
    axes.set_xticks(range(len(names)), names, fontsize=size, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    bar = figure.colorbar(shown, ax=axes, shrink=0.8)
    bar.set_label("queries in %", fontsize=_SMALL)
    bar.ax.tick_params(labelsize=_SMALL)
    return figure


def save(figure: Any, path: Path) -> None:
    """Writes a PNG file."""
    write_atomic(path, lambda file: save_figure(figure, file, format="png", dpi=_DOTS_PER_INCH))


def chart(figure: Any, alt: str, caption: str) -> Picture:
    """The figure as a picture of the page, in its own size."""
    return Picture(svg(figure), "svg+xml", round(96 * figure.get_figwidth()), alt, caption)


def svg(figure: Any) -> bytes:
    """The figure as an SVG file: always the same bytes; text as shapes, so that it looks the same everywhere."""
    file = io.BytesIO()
    save_figure(figure, file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _draw_curves(axes: Any, histories: Histories, scalar: str, unit: str, step: str, factor: float = 1) -> None:
    for i, (name, rows) in enumerate(histories.items()):
        values = factor * np.array([row.get(scalar, np.nan) for row in rows])
        if not np.isfinite(values).any():
            continue
        steps = [row["step"] for row in rows]
        axes.plot(steps, values, color=_color(i), alpha=0.3, linewidth=0.8)
        axes.plot(steps, _smooth(values), color=_color(i), label=name, marker="." if len(steps) < 5 else None)
    axes.set_xlabel(step)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylabel(unit)
    if len(axes.get_legend_handles_labels()[0]) and any(histories):
        _legend_above(axes)


def blank(width: float, height: float, columns: int = 1) -> Any:
    """A figure and its axes; sizes in inches."""
    from matplotlib.figure import Figure  # not pyplot: no global state, no window

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, columns)
    for one in np.ravel(axes):
        one.tick_params(labelsize=_SMALL)
        one.xaxis.label.set_size(_TEXT)
        one.yaxis.label.set_size(_TEXT)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _legend_above(axes: Any, shown: Sequence[Any] = ()) -> None:
    """A legend that covers no line; the figure grows. (matplotlib's own search for a free place may take seconds.)

    Args:
      axes: of the chart.
      shown: what is drawn there with a label, in the legend's order; default: everything, in matplotlib's order.
    """
    handles = [*shown] or axes.get_legend_handles_labels()[0]
    names = [handle.get_label() for handle in handles]
    columns = 2 if max(map(len, names)) <= _SHORT_NAME else 1
    axes.legend(
        handles,
        names,
        fontsize=_SMALL,
        frameon=False,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0,
        ncols=columns,
    )
    height = _CHART[1] + _LINE * -(-len(names) // columns)
    axes.figure.set_figheight(max(axes.figure.get_figheight(), height))


def _color(i: int) -> str:
    return COLORS[i % len(COLORS)]


def _smooth(values: np.ndarray) -> np.ndarray:
    """Moving average that shrinks at the ends."""
    ones = np.ones(min(_SMOOTHED, len(values)) or 1)
    return (
        np.convolve(values, ones, "same") / np.convolve(np.ones_like(values), ones, "same") if len(values) else values
    )
