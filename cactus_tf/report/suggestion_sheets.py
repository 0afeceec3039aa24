"""Contact sheets of suggestions: suggestions.png and duplicates.png."""

from __future__ import annotations

from pathlib import Path

from cactus_tf.inference.suggestions import GROUPS, MEMBERS, SHOWN, Suggestions
from cactus_tf.report import figures
from cactus_tf.report.sheets import captioned_figure
from cactus_tf.utils import files
from cactus_tf.utils.text import shortened

_COLUMNS = 6
_LETTERS = 22  # of a file name


def write(suggestions: Suggestions, out: Path) -> list[Path]:
    """Writes suggestions.png, and duplicates.png if there are near-duplicates; returns their paths."""
    files.make_folder(out, "--out")
    paths = [out / "suggestions.png"]
    figures.save(suggestion_figure(suggestions), paths[0])
    if suggestions.duplicates:
        paths.append(out / "duplicates.png")
        figures.save(duplicate_figure(suggestions), paths[-1])
    return paths


def suggestion_figure(suggestions: Suggestions) -> object:
    """The pictures to label in their order, with rank, size of the cluster and name."""
    shown = suggestions.suggested[:SHOWN]
    pictures = [suggestions.images[one.picture] for one in shown]
    captions = [
        f"{rank}. cluster of {one.pictures:,}\n{_name(suggestions, one.picture)}" for rank, one in enumerate(shown, 1)
    ]
    starts = range(0, len(shown), _COLUMNS)
    number = len(suggestions.suggested)
    more = f" ({len(shown)} of {number:,})" if number > len(shown) else ""
    title = f"label these first: one picture per cluster, the largest first{more}"
    return captioned_figure(
        [pictures[i : i + _COLUMNS] for i in starts], [captions[i : i + _COLUMNS] for i in starts], title=title
    )


def duplicate_figure(suggestions: Suggestions) -> object:
    """A row per group of near-duplicates, with cosines and names."""
    groups = list(zip(suggestions.duplicates, suggestions.cosines, strict=True))[:GROUPS]
    pictures = [[suggestions.images[int(i)] for i in group[:MEMBERS]] for group, _ in groups]
    captions = [
        [f"{cosine:.3f}\n{_name(suggestions, i)}" for i, cosine in zip(group[:MEMBERS], cosines, strict=False)]
        for group, cosines in groups
    ]
    names = [f"group {number}\n{len(group):,} pictures" for number, (group, _) in enumerate(groups, 1)]
    left = len(suggestions.duplicates) - len(groups)
    more = f", and {left:,} more groups in duplicates.csv" if left else ""
    return captioned_figure(
        pictures, captions, names, title=f"near-duplicates, a row per group, with the cosine to its first picture{more}"
    )


def _name(suggestions: Suggestions, picture: int) -> str:
    return shortened(str(suggestions.files[picture]), _LETTERS)
