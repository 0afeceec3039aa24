"""Shows predictions: predictions.csv, confusion.csv, predictions.png, and the summary on the terminal."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config import keys
from cactus_tf.inference.prediction import Predictions
from cactus_tf.utils import files
from cactus_tf.utils.drawing import save_figure
from cactus_tf.utils.paths import given_name
from cactus_tf.utils.text import shortened

_ROWS, _CONFUSION, _SOURCE = "predictions.csv", "confusion.csv", "predictions.json"
_NONE, _REFUSED = "none of these", "none_of_these"  # the refused pictures, in words and as a column
_LEAST_CERTAIN = 5  # pictures that the summary names
_MATRIX_CLASSES, _LINE, _FEWEST_LETTERS, _HEADING = 12, 120, 5, "  <- predicted"  # of the printed confusion matrix
_COLUMNS, _CLASS_ROWS, _NAME_LETTERS, _CAPTION_LETTERS = 12, 20, 14, 10  # of the figure
_DOTS_PER_INCH = 110
_BINS = 10  # of the calibration error


def default_folder(predictions: Predictions, run: str, support: str, query: str) -> Path:
    """predictions/RUN/QUERY-ALGO; where that has predictions from other pictures, another run or other settings,
    predictions/RUN/QUERY-ALGO-SUPPORT-KEY.

    Args:
      predictions: what will be stored there.
      run, support, query: paths as they were given, which name the folder.
    """
    folder = Path("predictions", given_name(run), f"{given_name(query).removesuffix('.zip')}-{predictions.algo}")
    if not (folder / _ROWS).exists() or _is_of(predictions, folder):
        return folder
    key = keys.digest(predictions.source)[:6]
    return folder.with_name(f"{folder.name}-{given_name(support).removesuffix('.zip')}-{key}")


def _is_of(predictions: Predictions, folder: Path) -> bool:
    """Whether a folder has predictions from the same pictures, run and settings."""
    saved = files.read_json_if_whole(folder / _SOURCE, dict, {})
    return saved == dict(predictions.source)


def write(predictions: Predictions, out: Path) -> list[Path]:
    """Writes predictions.csv, predictions.png and, if labels are known, confusion.csv; returns their paths.

    An earlier confusion.csv does not stay beside predictions that it is not of. predictions.json says what the
    predictions were made from.
    """
    picture = io.BytesIO()  # drawn before anything is written, because it takes a while
    save_figure(figure(predictions), picture, format="png", dpi=_DOTS_PER_INCH, bbox_inches="tight")
    files.make_folder(out, "--out")
    paths = [out / _ROWS, out / "predictions.png"]
    for name in (_CONFUSION, _SOURCE):
        files.remove(out / name)
    _write_rows(predictions, paths[0])
    files.write_atomic(paths[1], lambda file: file.write(picture.getvalue()))
    if predictions.queries.labels is not None:
        paths.append(out / _CONFUSION)
        counts = [[name, *row] for name, row in _confusion(predictions)]
        refused = [] if predictions.refused is None else [_REFUSED]
        files.write_table(paths[-1], [["class", *predictions.classes, *refused], *counts])
    files.write_json(out / _SOURCE, dict(predictions.source))
    return paths


def _write_rows(predictions: Predictions, path: Path) -> None:
    """A row per picture: file, class if known, predicted class, whether it is refused, a probability per class."""
    queries, truth = predictions.queries, predictions.queries.labels
    columns = {"file": queries.files, **({} if truth is None else {"class": truth}), "predicted": predictions.predicted}
    if predictions.refused is not None:
        columns[_REFUSED] = np.where(predictions.refused, "yes", "no")
    names = [*columns, *(f"p_{name}" for name in predictions.classes)]
    shares = [[f"{p:.6g}" for p in row] for row in predictions.probabilities]
    known = zip(*columns.values(), strict=True)
    files.write_table(path, [names, *([*cells, *row] for cells, row in zip(known, shares, strict=True))])


def summary(predictions: Predictions) -> str:
    """Pictures of each predicted class, the least certain ones and, if labels are known, the accuracy."""
    known = f"{len(predictions.classes)} classes from {predictions.support:,} pictures"
    head = f"{predictions.classifier} learned {known} and classified {len(predictions.queries.files):,}"
    lines = [head, "", *_counts(predictions)]
    lines += _least_certain(predictions) if predictions.graded else ["", "every prediction is at 100%"]
    return "\n".join(lines if predictions.queries.labels is None else [*lines, *_evaluation(predictions)])


def _counts(predictions: Predictions) -> list[str]:
    """Pictures of each predicted class and, unless all are at 100%, their mean probability."""
    width = _longest([*predictions.classes, "predicted", *([] if predictions.refused is None else [_NONE])]) + 2
    graded = predictions.graded
    lines = [f"{'predicted'.ljust(width)}{'pictures':>10}" + (f"{'mean probability':>19}" if graded else "")]
    for name in predictions.classes:
        own = predictions.certainty[predictions.of_class(name)]
        mean = f"{100 * own.mean():.0f}%" if len(own) else "-"
        lines.append(f"{name.ljust(width)}{len(own):>10,}" + (f"{mean:>19}" if graded else ""))
    if predictions.refused is not None:
        lines.append(f"{_NONE.ljust(width)}{int(predictions.refused.sum()):>10,}")
    return lines


def _least_certain(predictions: Predictions) -> list[str]:
    """The pictures to check first, with their two most probable classes."""
    lines = ["", "least certain"]
    for i in np.argsort(predictions.certainty, kind="stable")[:_LEAST_CERTAIN]:
        best = np.argsort(-predictions.probabilities[i], kind="stable")[:2]
        shares = ", ".join(f"{predictions.classes[c]} {100 * predictions.probabilities[i, c]:.0f}%" for c in best)
        refused = "" if predictions.refused is None or not predictions.refused[i] else f"{_NONE}; "
        lines.append(f"  {predictions.queries.files[i]}: {refused}{shares}")
    return lines


def _evaluation(predictions: Predictions) -> list[str]:
    """Accuracy with its interval, what was refused and, for few classes, the confusion matrix."""
    known = predictions.known
    lines = ["", *(_accuracy(predictions) if known.any() else [])]
    lines += [] if predictions.refused is None else _rejection(predictions, predictions.refused)
    if known.any():
        right = predictions.predicted == predictions.queries.labels
        error = 100 * calibration_error(predictions.certainty[known], right[known])
        lines.append(
            f"expected calibration error {error:.1f}%: how far probabilities are from the share that is correct"
        )
    return [*lines, *(_matrix(predictions) if len(_confusion(predictions)) <= _MATRIX_CLASSES else [])]


def _accuracy(predictions: Predictions) -> list[str]:
    """Accuracy of the pictures of the classes, and of those of them that were not refused."""
    from scipy.stats import binomtest

    known, refused = predictions.known, predictions.refused
    right = predictions.predicted == predictions.queries.labels
    number, of = int(known.sum()), "pictures" if known.all() else "pictures of these classes"
    interval = binomtest(int(right.sum()), number).proportion_ci(method="wilson")
    low, high = (f"{100 * bound:.1f}" for bound in (interval.low, interval.high))
    ignoring = "" if refused is None else ", refused or not"
    lines = [
        f"accuracy {100 * right.sum() / number:.1f}%, 95% interval {low} to {high} (Wilson), {number:,} {of}{ignoring}"
    ]
    if refused is not None and (known & ~refused).any():
        kept = right[known & ~refused]
        lines.append(f'accuracy {100 * kept.mean():.1f}% of the {len(kept):,} {of} that are not "{_NONE}"')
    return lines


def _rejection(predictions: Predictions, refused: np.ndarray) -> list[str]:
    """The share refused of the classes and of others, and how well the similarity separates the two."""
    from sklearn.metrics import roc_auc_score

    known = predictions.known
    lines = [f"refused {_share(refused[known])} pictures of these classes"] if known.any() else []
    if known.all():
        return [*lines, f"correct and not refused: {_share(predictions.correct)} pictures"]
    lines.append(f"refused {_share(refused[~known])} pictures of other classes, which is right")
    if known.any():
        lines.append(f"AUROC {roc_auc_score(known, predictions.similarity):.2f} of these against other classes")
    return [*lines, f"correct, or refused if of another class: {_share(predictions.correct)} pictures"]


def _share(chosen: np.ndarray) -> str:
    return f"{100 * chosen.mean():.1f}% of {len(chosen):,}"


def calibration_error(certainty: np.ndarray, correct: np.ndarray) -> float:
    """Expected calibration error: sum_b (n_b / n) |accuracy_b - mean certainty_b|, over ten bins b of equal width.

    Args:
      certainty: [n] probability of the predicted class, 0..1.
      correct: [n] whether the prediction is.

    Returns:
      0..1. Guo et al. 2017, eq. 3.
    """
    bins = np.minimum((certainty * _BINS).astype(int), _BINS - 1)
    return float(np.abs(np.bincount(bins, weights=correct - certainty, minlength=_BINS)).sum() / len(certainty))


def _matrix(predictions: Predictions) -> list[str]:
    """The confusion matrix, a row per true class; empty if it is too wide for a line.

    With long names, columns are headed by numbers, and names lose their middle if need be.
    """
    counted = _confusion(predictions)
    rows, cells = [name for name, _ in counted], [[f"{n:,}" for n in row] for _, row in counted]
    refused = [] if predictions.refused is None else ["none"]
    heads = [*predictions.classes.tolist(), *refused]
    numbers = [cell for row in cells for cell in row]
    available, width = _LINE - len(_HEADING), max(8, _longest([*heads, *numbers]) + 2)
    if _longest([*rows, "class"]) + 2 + width * len(heads) > available:
        ordinals = [str(i + 1) for i in range(len(predictions.classes))]
        heads = [*ordinals, *refused]
        width = _longest([*heads, *numbers]) + 2
        letters = available - width * len(heads) - len("12 ") - 2
        if letters < _FEWEST_LETTERS:
            return []
        numbered = itertools.zip_longest(ordinals, rows, fillvalue="")  # other classes have no column
        rows = [f"{ordinal:>2} {shortened(name, letters)}" for ordinal, name in numbered]
    first = _longest([*rows, "class"]) + 2
    lines = ["", "class".ljust(first) + "".join(f"{head:>{width}}" for head in heads) + _HEADING]
    for row, counts in zip(rows, cells, strict=True):
        lines.append(row.ljust(first) + "".join(f"{n:>{width}}" for n in counts))
    return lines


def _longest(texts: Sequence[str]) -> int:
    return max(map(len, texts))


def _confusion(predictions: Predictions) -> list[tuple[str, list[int]]]:
    """(true class, number of its pictures predicted as each class, and of those refused, if any could be).

    True classes that are none of the predicted ones come last.
    """
    truth, classes = predictions.queries.labels, predictions.classes.tolist()
    assert truth is not None
    columns = [predictions.of_class(name) for name in classes]
    columns += [] if predictions.refused is None else [predictions.refused]
    true = [*classes, *sorted(set(truth.tolist()) - set(classes))]
    return [(name, [int(column[truth == name].sum()) for column in columns]) for name in true]


def figure(predictions: Predictions) -> Any:
    """A row of pictures per predicted class, from the most to the least certain, and the least certain of all.

    Probabilities are below the pictures unless all are at 100%. Wrong predictions are red, with the true class.
    """
    from matplotlib.figure import Figure  # not pyplot: no global state, no window

    rows = _rows(predictions)
    width, height = 0.75 * _COLUMNS + 1.6, 1.0 * len(rows) + 0.6
    drawn = Figure(figsize=(width, height), layout="constrained")
    axes = drawn.subplots()
    colors = "gray" if np.median(predictions.queries.images) else "gray_r"  # light ink on black: show it as on paper
    for y, (_, chosen) in enumerate(rows):
        for x, i in enumerate(chosen):
            image = predictions.queries.images[i]
            axes.imshow(image, cmap=colors, vmin=0, vmax=255, extent=(x, x + 0.92, 1.3 * y + 0.92, 1.3 * y))
            text, color = _caption(predictions, i, least=predictions.graded and y == len(rows) - 1)
            axes.text(x + 0.46, 1.3 * y + 0.96, text, ha="center", va="top", fontsize=7, color=color)
    axes.set(xlim=(0, _COLUMNS), ylim=(1.3 * len(rows), 0), xticks=[], aspect="equal")
    axes.set_yticks([1.3 * y + 0.46 for y in range(len(rows))], [name for name, _ in rows], fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(_title(predictions), fontsize=9)
    return drawn


def _title(predictions: Predictions) -> str:
    order = ", from the most to the least certain, with the probability" if predictions.graded else ""
    wrong = "wrong" if predictions.refused is None else "wrong class, or wrongly refused"
    red = "" if predictions.queries.labels is None else f"\nred: {wrong}; the true class is in parentheses"
    return f"pictures by the class that {predictions.classifier} predicts{order}{red}"


def _rows(predictions: Predictions) -> list[tuple[str, np.ndarray]]:
    """(title, indices of pictures) of each row: the largest classes, and the least certain pictures."""
    by_certainty = np.argsort(-predictions.certainty, kind="stable")
    counts = {name: int(predictions.of_class(name).sum()) for name in predictions.classes}
    largest = sorted(counts, key=counts.__getitem__, reverse=True)[:_CLASS_ROWS]
    rows = []
    for name in [name for name in predictions.classes if name in largest and counts[name]]:
        rows.append(_pile(shortened(name, _NAME_LETTERS), by_certainty[predictions.of_class(name)[by_certainty]]))
    if predictions.refused is not None and predictions.refused.any():
        name, refused = _pile(_NONE, by_certainty[predictions.refused[by_certainty]])
        rows.append((f"{name}\n(likeliest class\nbelow)", refused))
    least = [("least certain\nof all", by_certainty[::-1][:_COLUMNS])] if predictions.graded else []
    return [*rows, *least]


def _pile(name: str, own: np.ndarray) -> tuple[str, np.ndarray]:
    """A row of the figure: its title, and pictures spread over all of its own."""
    spread = np.unique(np.linspace(0, len(own) - 1, min(len(own), _COLUMNS)).astype(int))
    shown = f"{len(spread)} of " if len(spread) < len(own) else ""
    return f"{name}\n{shown}{len(own):,} picture{'' if len(own) == 1 else 's'}", own[spread]


def _caption(predictions: Predictions, i: int, least: bool) -> tuple[str, str]:
    """Text below a picture, and its color; least: in the row of the least certain, which are of several classes."""
    share = f"{100 * predictions.certainty[i]:.0f}%" if predictions.graded else ""
    refused = predictions.refused is not None and predictions.refused[i]
    name = _NONE if refused and least else shortened(predictions.predicted[i], _CAPTION_LETTERS)
    text = name if refused else f"{name}\n{share}" if least else share
    truth = predictions.queries.labels
    if truth is None or predictions.correct[i]:
        return text, "black"
    return f"{text}\n({shortened(truth[i], _CAPTION_LETTERS)})".lstrip(), "tab:red"
