"""Pictures of your own, sorted into classes by a run's learner, and what is written and said of them."""

from __future__ import annotations

import functools
import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cactus_tf import datasets, plugins
from cactus_tf.config import keys
from cactus_tf.datasets import Pictures, read_all, read_classes
from cactus_tf.errors import InputError
from cactus_tf.inference.classifier import FewShotClassifier
from cactus_tf.report.page import short
from cactus_tf.runs import restoring
from cactus_tf.utils import files

log = logging.getLogger(__name__)

_NAMED = 5  # files that are named of many
_SHOWN_CLASSES, _LINE, _FEW_LETTERS, _PREDICTED = 12, 120, 5, "  <- predicted"  # of a confusion matrix that is printed
_COLUMNS, _CLASS_ROWS, _LETTERS, _CAPTION = 12, 20, 14, 10  # of the picture
_SURE = 0.995  # prints as 100%
_DOTS_PER_INCH = 110
_LIGHT = 127  # what the median pixel of dark ink on paper is above


class Predictions(NamedTuple):
    """What a learner says of pictures.

    Attributes:
      queries: the pictures, m of them; with labels where they are known.
      classes: [way] names, sorted.
      probabilities: [m, way] float64.
      algo: name of the learner.
      support: number of pictures that it learned the classes from.
    """

    queries: Pictures
    classes: np.ndarray
    probabilities: np.ndarray
    algo: str
    support: int

    @property
    def predicted(self) -> np.ndarray:
        """[m] names of the most probable classes."""
        return self.classes[self.probabilities.argmax(axis=1)]

    @property
    def certainty(self) -> np.ndarray:
        """[m] probability of the most probable class, 0..1."""
        return self.probabilities.max(axis=1)

    @property
    def graded(self) -> bool:
        """Whether any picture is less than certain; with the nearest neighbour none ever is."""
        return bool((self.certainty < _SURE).any())


def predict(
    run: str | Path,
    support: str | Path,
    query: str | Path,
    algo: str | None = None,
    *,
    evaluate: bool = False,
    transductive: bool = False,
    invert: bool = False,
) -> Predictions:
    """Learns the classes of a folder of pictures and sorts those of another one.

    Pictures are decoded, cropped and resized as those of the run's data set; those of data sets that are no pictures as
    those of `folder`.

    Args:
      run: the folder of a run.
      support: folder or zip archive with a sub-folder per class, of one picture at least.
      query: folder or zip archive of pictures, in sub-folders or not.
      algo: which learner of the run; may stay unsaid where only one is meta-trained.
      evaluate: the query folder has a sub-folder per class, too.
      transductive: as of `FewShotClassifier`.
      invert: swap light and dark.

    Raises:
      InputError: nothing to restore (see `restoring.restore`), or folders that cannot be used: not there, without
        pictures, fewer than two classes, a class without a readable picture, query classes that support lacks.
    """
    restored = restoring.restore(run, algo)
    if keys.has_features(restored.config):
        raise InputError(f"{run} learned from features, which pictures do not have: take a run on images")
    shape, dataset = restored.image_shape, restored.config.data.dataset
    decode = datasets.picture_decoder(dataset, shape, restored.config.options.get(dataset))
    decode = functools.partial(_inverted, decode=decode) if invert else decode
    known = read_classes("--support", support, decode, shape)
    assert known.labels is not None
    classes = np.unique(known.labels)
    if len(classes) < 2:
        raise InputError(f"--support {support} has one class, {classes[0]}: add a sub-folder of pictures of another")
    queries = (read_classes if evaluate else read_all)("--query", query, decode, shape)
    strange = set() if queries.labels is None else set(queries.labels.tolist()) - set(classes.tolist())
    if strange:
        raise InputError(
            f"--query has sub-folders that --support has not, {', '.join(sorted(strange))}: name them as the classes "
            f"({', '.join(classes)}), or leave --evaluate out"
        )
    _say(known, queries, shape, getattr(plugins.load("datasets", dataset), "LIGHT_ON_DARK", False))
    classifier = FewShotClassifier(restored.learner, restored.embedder, transductive).fit(known.images, known.labels)
    probabilities = classifier.predict_proba(queries.images)
    return Predictions(queries, classifier.classes_, probabilities, restored.name, len(known.images))


def write(found: Predictions, out: Path) -> list[Path]:
    """Writes predictions.csv and predictions.png, and confusion.csv where labels are known; returns their paths."""
    columns = [f"p_{name}" for name in found.classes]
    rows = [{"file": file, "predicted": name} for file, name in zip(found.queries.files, found.predicted, strict=True)]
    for row, probabilities in zip(rows, found.probabilities, strict=True):
        row |= {column: f"{p:.6g}" for column, p in zip(columns, probabilities, strict=True)}
    truth = found.queries.labels
    if truth is not None:
        rows = [{**row, "class": label} for row, label in zip(rows, truth, strict=True)]
    picture = io.BytesIO()  # drawn before anything is written, as it takes a while
    figure(found).savefig(picture, format="png", dpi=_DOTS_PER_INCH, bbox_inches="tight")
    files.make_folder(out, "--out")
    paths = [out / "predictions.csv", out / "predictions.png"]
    told = ["file", *(["class"] if truth is not None else []), "predicted", *columns]
    files.write_csv(paths[0], rows, told)
    files.write_atomic(paths[1], lambda file: file.write(picture.getvalue()))
    if truth is not None:
        paths.append(out / "confusion.csv")
        lines = [{"class": name, **dict(zip(found.classes, row, strict=True))} for name, row in _confusion(found)]
        files.write_csv(paths[-1], lines, ["class", *found.classes])
    return paths


def summary(found: Predictions) -> str:
    """How many pictures of each class, the least certain ones and, where labels are known, the accuracy."""
    queries = found.queries
    head = f"{found.algo} learned {len(found.classes)} classes from {found.support:,} pictures and sorted "
    doubts = _least_certain(found) if found.graded else ["\nevery picture is at 100%, so none is the least certain"]
    judged = [] if queries.labels is None else _judged(found)
    return "\n".join([f"{head}{len(queries.files):,}\n", *_counts(found), *doubts, *judged])


def _counts(found: Predictions) -> list[str]:
    """Pictures of each class and, where it says something, how certain they are in the mean."""
    width = max(len(name) for name in [*found.classes, "predicted"]) + 2
    lines = [f"{'predicted'.ljust(width)}{'pictures':>10}" + (f"{'mean probability':>19}" if found.graded else "")]
    for name in found.classes:
        own = found.certainty[found.predicted == name]
        mean = f"{100 * own.mean():.0f}%" if len(own) else "-"
        lines.append(f"{name.ljust(width)}{len(own):>10,}" + (f"{mean:>19}" if found.graded else ""))
    return lines


def _least_certain(found: Predictions) -> list[str]:
    """The pictures to look at first, with the two classes that they are most like."""
    lines = ["\nleast certain"]
    for i in np.argsort(found.certainty, kind="stable")[:_NAMED]:
        best = np.argsort(-found.probabilities[i], kind="stable")[:2]
        shares = ", ".join(f"{found.classes[c]} {100 * found.probabilities[i, c]:.0f}%" for c in best)
        lines.append(f"  {found.queries.files[i]}: {shares}")
    return lines


def _judged(found: Predictions) -> list[str]:
    """Accuracy with its interval, and the confusion matrix of few classes."""
    from scipy.stats import binomtest

    right, number = int(np.sum(found.predicted == found.queries.labels)), len(found.queries.files)
    interval = binomtest(right, number).proportion_ci(method="wilson")
    low, high = (f"{100 * bound:.1f}" for bound in (interval.low, interval.high))
    lines = [f"\naccuracy {100 * right / number:.1f}%, 95% interval {low} to {high} (Wilson), {number:,} pictures"]
    return [*lines, *(_matrix(found) if len(found.classes) <= _SHOWN_CLASSES else [])]


def _matrix(found: Predictions) -> list[str]:
    """The confusion matrix, a row per class, or nothing where it is too wide for a line.

    Where names are long, columns are headed by their numbers, and the middle of a name is left out if need be.
    """
    names = heads = rows = found.classes.tolist()
    cells = [[f"{n:,}" for n in row] for _, row in _confusion(found)]
    numbers = [cell for row in cells for cell in row]
    room, other = _LINE - len(_PREDICTED), max(8, _longest([*names, *numbers]) + 2)
    if _longest([*names, "class"]) + 2 + other * len(names) > room:
        heads = [str(i + 1) for i in range(len(names))]
        other = _longest([*heads, *numbers]) + 2
        letters = room - other * len(names) - len("12 ") - 2
        if letters < _FEW_LETTERS:
            return []
        rows = [f"{head:>2} {short(name, letters)}" for head, name in zip(heads, names, strict=True)]
    first = _longest([*rows, "class"]) + 2
    lines = ["\n" + "class".ljust(first) + "".join(f"{head:>{other}}" for head in heads) + _PREDICTED]
    for row, counts in zip(rows, cells, strict=True):
        lines.append(row.ljust(first) + "".join(f"{n:>{other}}" for n in counts))
    return lines


def _longest(texts: Sequence[str]) -> int:
    return max(map(len, texts))


def _confusion(found: Predictions) -> list[tuple[str, list[int]]]:
    """Of each class how many of its pictures were taken for each class."""
    from sklearn.metrics import confusion_matrix

    matrix = confusion_matrix(found.queries.labels, found.predicted, labels=found.classes)
    return list(zip(found.classes.tolist(), matrix.tolist(), strict=True))


def figure(found: Predictions):
    """A row per predicted class, pictures of it from the most to the least certain, and the least certain ones of all.

    Below each picture its probability, where not all are at 100%; where labels are known, red is wrong, with the
    right class below.
    """
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    rows = _rows(found)
    width, height = 0.75 * _COLUMNS + 1.6, 1.0 * len(rows) + 0.6
    drawn = Figure(figsize=(width, height), layout="constrained")
    axes = drawn.subplots()
    colours = "gray" if np.median(found.queries.images) else "gray_r"  # light ink on black is shown as ink on paper
    for y, (_, chosen) in enumerate(rows):
        for x, i in enumerate(chosen):
            image = found.queries.images[i]
            axes.imshow(image, cmap=colours, vmin=0, vmax=255, extent=(x, x + 0.92, 1.3 * y + 0.92, 1.3 * y))
            text, colour = _caption(found, i, named=found.graded and y == len(rows) - 1)
            axes.text(x + 0.46, 1.3 * y + 0.96, text, ha="center", va="top", fontsize=7, color=colour)
    axes.set(xlim=(0, _COLUMNS), ylim=(1.3 * len(rows), 0), xticks=[], aspect="equal")
    axes.set_yticks([1.3 * y + 0.46 for y in range(len(rows))], [name for name, _ in rows], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    red = "" if found.queries.labels is None else "; red: wrong, with the right class in brackets"
    order = ", from the most to the least certain, with the probability" if found.graded else ""
    axes.set_title(f"pictures by the class that {found.algo} predicts{order}{red}", fontsize=9)
    return drawn


def _rows(found: Predictions) -> list[tuple[str, np.ndarray]]:
    """(title, numbers of pictures) of every row: the classes with most pictures, and the least certain ones."""
    by_certainty = np.argsort(-found.certainty, kind="stable")
    counts = {name: int(np.sum(found.predicted == name)) for name in found.classes}
    largest = sorted(counts, key=counts.__getitem__, reverse=True)[:_CLASS_ROWS]
    rows = []
    for name in [name for name in found.classes if name in largest and counts[name]]:
        own = by_certainty[found.predicted[by_certainty] == name]
        spread = np.unique(np.linspace(0, len(own) - 1, min(len(own), _COLUMNS)).astype(int))
        rows.append((f"{short(name, _LETTERS)}\n{counts[name]:,} pictures", own[spread]))
    return [*rows, *([("least certain\nof all", by_certainty[::-1][:_COLUMNS])] if found.graded else [])]


def _caption(found: Predictions, i: int, named: bool) -> tuple[str, str]:
    """Text below a picture, and its colour."""
    share = f"{100 * found.certainty[i]:.0f}%" if found.graded else ""
    text = f"{short(found.predicted[i], _CAPTION)}\n{share}" if named else share
    truth = found.queries.labels
    if truth is None or truth[i] == found.predicted[i]:
        return text, "black"
    return f"{text}\n({short(truth[i], _CAPTION)})".lstrip(), "tab:red"


def _inverted(content: bytes, decode: Callable[[bytes], np.ndarray]) -> np.ndarray:
    return 255 - decode(content)


def _say(known: Pictures, queries: Pictures, shape: tuple[int, ...], light_on_dark: bool) -> None:
    """How pictures were read, what was left out, and whether they look like the negative of what was learned from."""
    size = "x".join(map(str, shape))
    log.info("read: %s support pictures, %s to sort, as %s", f"{len(known.files):,}", f"{len(queries.files):,}", size)
    for name, skipped in (("--support", known.skipped), ("--query", queries.skipped)):
        if skipped:
            some = "; ".join(f"{s.name} {s.reason}" for s in skipped[:_NAMED])
            more = f"; and {len(skipped) - _NAMED:,} more" if len(skipped) > _NAMED else ""
            log.warning("%s: %s left out: %s%s", name, f"{len(skipped):,}", some, more)
    if light_on_dark and np.median(known.images) > _LIGHT:
        log.warning("these pictures are light, and the run learned light ink on black: --invert swaps light and dark")
