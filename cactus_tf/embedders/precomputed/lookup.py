"""Tables from images to precomputed embeddings."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from cactus_tf.embedders._base.image_arrays import text
from cactus_tf.embedders.precomputed import archives
from cactus_tf.errors import InputError


def image_digest(image: np.ndarray) -> bytes:
    """A fingerprint of an image's bytes; two images share one with a probability of 2^-128."""
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


class ByImage:
    """Finds rows of archives by the images' bytes."""

    def __init__(self, paths: dict[str, Path]):
        self._paths = paths
        self._row: dict[bytes, int] = {}
        self._shape: tuple[int, ...] = ()
        parts: list[np.ndarray] = []
        for path in paths.values():
            self._add(path, parts)
        self._embeddings = np.concatenate(parts)

    def __call__(self, images: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32; names are not needed."""
        if images.shape[1:] != self._shape:
            sizes = f"the archives hold {text(self._shape)} images, these are {text(images.shape[1:])}"
            raise InputError(f"precomputed: {sizes}; embed the images that the data set has")
        rows = np.array([self._row.get(image_digest(image), -1) for image in images], np.int64)
        unknown = np.count_nonzero(rows < 0)
        if unknown:
            archived = ", ".join(path.name for path in self._paths.values())
            raise InputError(
                f"precomputed: {unknown} of {len(images)} images are in none of {archived}: "
                "the archives must come from the same images, byte for byte, for every split that is used"
            )
        return self._embeddings[rows]

    def _add(self, path: Path, parts: list[np.ndarray]) -> None:
        with archives.archived_images(path) as images:
            shape, digests = images.shape[1:], [image_digest(image) for image in images]
        embeddings = archives.archived_embeddings(path)
        if len(digests) != len(embeddings):
            raise InputError(f"{path} holds {len(digests)} images but {len(embeddings)} embeddings; they must pair up")
        dims = embeddings.shape[1]
        if parts and (shape, dims) != (self._shape, parts[0].shape[1]):
            others = f"the others {text(self._shape)} to {parts[0].shape[1]}"
            raise InputError(f"{path} maps {text(shape)} to {dims} numbers, {others}; all archives must agree")
        for row, image in enumerate(digests, sum(map(len, parts))):
            self._row.setdefault(image, row)  # copies of an image share a row
        self._shape = shape
        parts.append(embeddings)


class Plain:
    """Finds rows of plain arrays by the names of the images' files, or for other images by their number."""

    def __init__(self, paths: dict[str, Path]):
        self._arrays = {split: archives.plain_embeddings(path) for split, path in paths.items()}
        self._rows = {split: _rows(paths[split], len(array)) for split, array in self._arrays.items()}
        self._folder = paths["train"].parent
        dims = {array.shape[1] for array in self._arrays.values()}
        if len(dims) > 1:
            raise InputError(f"the arrays in {self._folder} have rows of {sorted(dims)} numbers; they must be alike")

    def __call__(self, images: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        """[n, h, w, c] uint8 and, of images that are files, [n] bytes their names -> [n, dim] float32."""
        if names is not None:
            return self._by_name([archives.composed(name.decode()) for name in names.tolist()])
        return self._arrays[self._of_size(len(images))]

    def _by_name(self, names: list[str]) -> np.ndarray:
        """The rows of these files, from the one array whose list has them all."""
        lacking = {split: [n for n in names if n not in rows] for split, rows in self._rows.items() if rows}
        if not lacking:
            raise InputError(
                f"the rows of {self._folder}/train.npy have no names, and the order of image files depends on settings "
                f"such as --image_size: add train.txt with the file of each row below data_dir, such as {names[0]}, "
                "one per line (likewise val, test), or save archives with X and Z"
            )
        split = min(lacking, key=lambda split: (len(lacking[split]), abs(len(self._rows[split]) - len(names))))
        if lacking[split]:
            raise InputError(
                f"{self._folder}/{split}.txt lacks {len(lacking[split])} of {len(names)} images, the first "
                f"{lacking[split][0]}: name the file of each row below data_dir, one per line"
            )
        return self._arrays[split][[self._rows[split][name] for name in names]]

    def _of_size(self, number: int) -> str:
        """The split with this number of rows."""
        fitting = [split for split, array in self._arrays.items() if len(array) == number]
        if len(fitting) > 1:
            raise InputError(
                f"{' and '.join(fitting)} in {self._folder} both have {number} rows, so the number of images does "
                f"not identify the split: save archives with X and Z instead, named {archives.PATTERNS.split(',')[0]}"
            )
        if not fitting:
            sizes = ", ".join(f"{split} {len(array)}" for split, array in self._arrays.items())
            raise InputError(f"{self._folder} has rows for {sizes} images, not for {number}; embed every image")
        return fitting[0]


def _rows(path: Path, number: int) -> dict[str, int]:
    """The row of each file that the list beside an array names; empty without a list."""
    names = archives.plain_names(path)
    if names is None:
        return {}
    listed = path.with_suffix(archives.NAMES)
    if len(names) != number:
        raise InputError(f"{listed} has {len(names)} lines and {path.name} {number} rows: name the file of each row")
    return archives.rows_by_name(listed, names, [f"line {row + 1}" for row in range(number)])
