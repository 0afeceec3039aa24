"""Embeddings that pictures find by their file names."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from cactus_tf.embedders.precomputed import tables
from cactus_tf.embedders.precomputed.archives import rows_by_name, tidy
from cactus_tf.errors import InputError

log = logging.getLogger(__name__)

_REMEDY = "name each row by the picture's path below the folder of pictures"


class Named:
    """A file of embeddings by name.

    A picture finds the row of its path. Otherwise one of the two may have more folders in front: `cats/1.jpg` finds
    `photos/cats/1.jpg`, or `1.jpg`, if one row alone fits. Unicode forms (NFC, NFD) and slashes do not matter.
    """

    def __init__(self, path: Path):
        table = tables.read(path)
        self.path, self.embeddings = path, table.embeddings
        self._row = _rows(path, table)
        self._by_file: dict[str, list[str]] = {}
        for name in self._row:
            self._by_file.setdefault(PurePosixPath(name).name, []).append(name)

    def __call__(self, images: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        """The embeddings [n, dim] float32 of n images whose files are `names` ([n] bytes).

        Raises:
          InputError: images that are not files, that no row or several rows fit, or that share a row.
        """
        if not len(images):  # such as the test split of pictures without labels
            return self.embeddings[:0]
        if names is None:
            raise InputError(
                f"precomputed: {self.path} holds embeddings by file name, and these images have none: take pictures "
                "(--dataset=folder, cactus-tf-predict), or archives of images X and embeddings Z in --precomputed_dir"
            )
        pictures = [tidy(name.decode()) for name in names.tolist()]
        chosen = self._chosen(pictures)
        self._check_shared(pictures, chosen)
        return self.embeddings[[self._row[name] for name in chosen]]

    def __len__(self) -> int:
        return len(self._row)

    def _chosen(self, pictures: Sequence[str]) -> list[str]:
        """The name of each picture's row."""
        fitting = [self._fitting(picture) for picture in pictures]
        self._check_found(pictures, fitting)
        if all(len(rows) == 1 for rows in fitting):
            return [rows[0] for rows in fitting]
        both = zip(pictures, fitting, strict=True)
        fronts = [{row.removesuffix(end) for row in rows if row.endswith(end)} for end, rows in both]
        common = set.intersection(*fronts)  # "train/", where "test/" has some of the same names
        if len(common) == 1:
            front = common.pop()
            log.warning(
                "%s: names fit rows of several folders; the rows of %s are taken, because it alone has all of these "
                "%d pictures", self.path, front, len(pictures),
            )  # fmt: skip
            return [front + picture for picture in pictures]
        picture, rows = next(both for both in zip(pictures, fitting, strict=True) if len(both[1]) > 1)
        raise InputError(
            f"{self.path}: {picture} fits several rows, such as {' and '.join(sorted(rows)[:2])}, which differ only by "
            f"folder: {_REMEDY}"
        )

    def _fitting(self, picture: str) -> list[str]:
        """The row of this name; without it, those where one name is the end of the other."""
        if picture in self._row:
            return [picture]
        rows = self._by_file.get(PurePosixPath(picture).name, [])
        return [row for row in rows if f"/{row}".endswith(f"/{picture}") or f"/{picture}".endswith(f"/{row}")]

    def _check_found(self, pictures: Sequence[str], fitting: Sequence[list[str]]) -> None:
        missing = [picture for picture, rows in zip(pictures, fitting, strict=True) if not rows]
        if missing:
            stem = PurePosixPath(missing[0]).stem
            alike = [row for row in self._row if PurePosixPath(row).stem == stem]
            about = f", but has {alike[0]}" if alike else ""
            raise InputError(
                f"{self.path} lacks {len(missing):,} of {len(pictures):,} pictures, the first {missing[0]}{about}: add "
                f"their rows, and {_REMEDY}"
            )

    def _check_shared(self, pictures: Sequence[str], chosen: Sequence[str]) -> None:
        first: dict[str, int] = {}
        for i, row in enumerate(chosen):
            other = first.setdefault(row, i)
            if other != i:
                both = f"{pictures[other]} and {pictures[i]}"
                raise InputError(f"{self.path}: the row {row} fits two pictures, {both}: {_REMEDY}")


def _rows(path: Path, table: tables.Table) -> dict[str, int]:
    """The row of each name."""
    names = list(map(tidy, table.names))
    if "" in names:
        raise InputError(f"{path}, {table.places[names.index('')]} has no file name: write it in front of the numbers")
    return rows_by_name(path, names, table.places)
