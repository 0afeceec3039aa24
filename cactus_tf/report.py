"""Pictures of a run: its clusters, its pseudo-tasks, its learning curves and its accuracies."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from cactus_tf import history
from cactus_tf.config import TrainingSettings
from cactus_tf.sampling import gather, sample_task, usable_clusters
from cactus_tf.seeds import counter_rng
from cactus_tf.types import Division, Partitions, Splits
from cactus_tf.workdir import write_atomic

_CLUSTERS, _IMAGES, _SHEET_ROWS = 12, 12, 4
_LOOKED_AT = 100  # images that tell the background
_DOTS_PER_INCH = 110


def write(
    folder: Path,
    rows: Sequence[Mapping],
    images: np.ndarray | None,
    partitions: Partitions,
    learners: Mapping[str, TrainingSettings],
) -> None:
    """Writes accuracy.png where something was judged; of what was trained clusters, tasks and learning_curve.png.

    Where there are no images to look at, only features, there are no pictures of clusters and tasks.
    """
    if rows:
        _save(accuracy_figure(rows), folder / "accuracy.png")
    if learners:
        histories = {name: history.read(folder / name / "history.csv") for name in learners}
        _save(curve_figure(histories), folder / "learning_curve.png")
    if learners and images is not None:
        _save(cluster_figure(images, partitions[0]), folder / "clusters.png")
        training = next(iter(learners.values()))
        _save(task_figure(images, partitions, training), folder / "tasks.png")


def write_contact_sheet(data: Splits, folder: Path) -> None:
    """Writes contact_sheet.png: images of every split, spread evenly over its rows."""
    rows, names = [], []
    for name, images in (("train", data.train.images), ("val", data.val.images), ("test", data.test.images)):
        numbers = np.unique(np.linspace(0, len(images) - 1, min(len(images), _SHEET_ROWS * _IMAGES)).astype(int))
        for start in range(0, len(numbers), _IMAGES):
            rows.append(gather(images, numbers[start : start + _IMAGES]))
            names.append(name)
    figure, axes = _figure(0.5 * _IMAGES + 1.0, 0.5 * len(rows) + 0.4)
    axes.imshow(_grid(rows, _IMAGES), cmap=_colours(data.train.images), vmin=0, vmax=255)
    _name_rows(axes, names, data.image_shape[0])
    _save(figure, folder / "contact_sheet.png")


def accuracy_figure(rows: Sequence[Mapping]):
    """Bars with 95% intervals, a group per (way, shot), a dotted line at chance."""
    tasks = list(dict.fromkeys((r["way"], r["shot"]) for r in rows))
    learners = list(dict.fromkeys(r["algo"] for r in rows))
    legend_columns = 3
    figure, axes = _figure(max(5, 2 + 0.4 * len(tasks) * max(4, len(learners))), 3.6)
    width = 0.8 / len(learners)
    for i, name in enumerate(learners):
        own = {(r["way"], r["shot"]): r for r in rows if r["algo"] == name}
        places = [t + (i + 0.5) * width - 0.4 for t, task in enumerate(tasks) if task in own]
        heights = [100 * own[task]["accuracy"] for task in tasks if task in own]
        bars = axes.bar(
            places, heights, 0.92 * width, yerr=[100 * own[t]["ci95"] for t in tasks if t in own], label=name
        )
        axes.bar_label(bars, fmt="%.1f", padding=2, fontsize=8)
    for t, (way, _) in enumerate(tasks):
        axes.hlines(
            100 / way, t - 0.45, t + 0.45, colors="black", linestyles="dotted", label="chance" if t == 0 else None
        )
    axes.set_xticks(range(len(tasks)), [f"{way}-way {shot}-shot" for way, shot in tasks])
    axes.set_ylabel("accuracy in %")
    axes.set_ylim(0, 106 + 6 * (1 + len(learners) // legend_columns))  # learners and chance
    axes.legend(fontsize=8, ncols=legend_columns, loc="upper left", frameon=False)
    return figure


def curve_figure(histories: Mapping[str, Sequence[Mapping[str, float]]]):
    """Training accuracy and loss on pseudo-tasks over the outer steps."""
    figure, axes = _figure(8, 3.2, columns=2)
    for name, rows in histories.items():
        steps = [row["step"] for row in rows]
        for axis, scalar in zip(axes, ("loss", "accuracy"), strict=True):
            values = np.array([row.get(scalar, np.nan) for row in rows])
            axis.plot(steps, values, alpha=0.25, linewidth=0.8)
            axis.plot(steps, _smooth(values), color=axis.lines[-1].get_color(), label=name)
    for axis, title in zip(axes, ("query loss in nats", "query accuracy on pseudo-tasks"), strict=True):
        axis.set_xlabel("outer step")
        axis.set_title(title, fontsize=10)
        axis.legend(fontsize=8, frameon=False)
    return figure


def cluster_figure(images: np.ndarray, partition: Division):
    """Images of some clusters, a row per cluster."""
    rng = counter_rng(0, 0)
    found = np.flatnonzero(partition.sizes > 0)
    chosen = np.sort(rng.choice(found, min(_CLUSTERS, len(found)), replace=False))
    rows = []
    for c in chosen:
        members = partition.cluster(c)
        rows.append(gather(images, rng.choice(members, min(_IMAGES, len(members)), replace=False)))
    figure, axes = _figure(0.5 * _IMAGES + 1.0, 0.5 * len(rows) + 0.4)
    axes.imshow(_grid(rows, _IMAGES), cmap=_colours(images), vmin=0, vmax=255)
    _name_rows(axes, [f"{partition.sizes[c]} images" for c in chosen], images.shape[1])
    axes.set_title("clusters of the first partition, a row each", fontsize=10)
    return figure


def task_figure(images: np.ndarray, partitions: Partitions, training: TrainingSettings):
    """One pseudo-task as the learner meets it: a row per label, support first, then queries."""
    partition = next(p for p in partitions if len(usable_clusters(p, training.shot + training.query)) >= training.way)
    numbers = sample_task(partition, training.way, training.shot, training.query, counter_rng(0, 1))
    numbers = numbers[:_CLUSTERS, : training.shot + min(training.query, _IMAGES)]
    rows = [gather(images, row) for row in numbers]
    figure, axes = _figure(0.5 * numbers.shape[1] + 1.0, 0.5 * len(rows) + 0.4)
    axes.imshow(_grid(rows, numbers.shape[1]), cmap=_colours(images), vmin=0, vmax=255)
    axes.axvline(training.shot * (images.shape[2] + 2) - 1.5, color="tab:red", linewidth=2)
    _name_rows(axes, [f"label {i}" for i in range(len(rows))], images.shape[1])
    axes.set_title("a pseudo-task: support left of the line, queries right of it", fontsize=10)
    return figure


def _figure(width: float, height: float, columns: int = 1):
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns)


def _save(figure, path: Path) -> None:
    write_atomic(path, lambda file: figure.savefig(file, format="png", dpi=_DOTS_PER_INCH))


def _colours(images: np.ndarray) -> str | None:
    """Grey images whose background is 0, in more than half of their pixels, are shown as ink on paper."""
    if images.shape[-1] > 1:
        return None
    return "gray" if np.median(images[:: max(1, len(images) // _LOOKED_AT)]) else "gray_r"


def _grid(rows: Iterable[np.ndarray], columns: int) -> np.ndarray:
    """Image rows as one picture with a margin of two pixels; rows may be short."""
    rows = list(rows)
    height, width, channels = rows[0].shape[1:]
    picture = np.zeros((len(rows) * (height + 2) - 2, columns * (width + 2) - 2, channels), np.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            picture[i * (height + 2) : i * (height + 2) + height, j * (width + 2) : j * (width + 2) + width] = image
    return picture


def _name_rows(axes, names: Sequence[str], height: int) -> None:
    axes.set_xticks([])
    axes.set_yticks([(height + 2) * i + height / 2 for i in range(len(names))], names, fontsize=7)
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _smooth(values: np.ndarray, width: int = 15) -> np.ndarray:
    """Moving average that shrinks at the ends."""
    ones = np.ones(min(width, len(values)) or 1)
    return (
        np.convolve(values, ones, "same") / np.convolve(np.ones_like(values), ones, "same") if len(values) else values
    )
