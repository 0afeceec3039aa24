"""Embeddings that were computed elsewhere: the authors' archives, or plain arrays.

`precomputed_dir` holds, for train, val and test, either

- archives `{dataset}_{dims}_{split}.npz` (ACAI, DeepCluster), `{dataset}.u-{dims}_{split}.npz` (BiGAN) or
  `{dataset}.{dims}_{split}.npz` (InfoGAN) with the images X and their embeddings Z (InfoGAN: Z_raw), rows in any order:
  an image finds its row by its bytes; labels Y are not read; or
- `{split}.npy` [n, dim], row i for image i of the prepared split. The split is told by its number of images, so no two
  splits may have as many; where they do, archives with X say which is which.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import Embedder, EmbedderContext
from cactus_tf.embedders._base import image_arrays, saving
from cactus_tf.embedders._base.transformer import Transformer
from cactus_tf.embedders.precomputed import archives
from cactus_tf.errors import InputError

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """Where the embeddings are."""

    dir: str | None = option(None, "folder with archives of images X and embeddings Z, or {split}.npy")


class ByImage:
    """Rows found by image bytes."""

    def __init__(self, files: dict[str, Path]):
        self._files = files
        self._shape: tuple[int, ...] = ()
        self._row: dict[bytes, int] = {}
        parts: list[np.ndarray] = []
        for path in files.values():
            self._add(path, parts)
        self._embeddings = np.concatenate(parts)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32.

        Raises:
          InputError: images that no archive knows, or of another shape.
        """
        if images.shape[1:] != self._shape:
            text = image_arrays.text
            sizes = f"the archives hold {text(self._shape)} images, these are {text(images.shape[1:])}"
            raise InputError(f"precomputed: {sizes}; embed the images that the data set has")
        rows = np.array([self._row.get(archives.digest(image), -1) for image in images], np.int64)
        unknown = np.count_nonzero(rows < 0)
        if unknown:
            names = ", ".join(path.name for path in self._files.values())
            raise InputError(
                f"precomputed: {unknown} of {len(images)} images are in none of {names}: "
                "the archives must come from the same images, byte for byte, for every split that is used"
            )
        return self._embeddings[rows]

    def _add(self, path: Path, parts: list[np.ndarray]) -> None:
        shape, digests = archives.image_digests(path)
        embeddings = archives.archived_embeddings(path)
        if len(digests) != len(embeddings):
            raise InputError(f"{path} holds {len(digests)} images but {len(embeddings)} embeddings; they must pair up")
        if parts and (shape, embeddings.shape[1]) != (self._shape, parts[0].shape[1]):
            here, there = (
                (image_arrays.text(shape), embeddings.shape[1]),
                (image_arrays.text(self._shape), parts[0].shape[1]),
            )
            raise InputError(f"{path} maps {here[0]} to {here[1]} numbers, the others {there[0]} to {there[1]}")
        start = sum(map(len, parts))
        for row, image in enumerate(digests, start):
            self._row.setdefault(image, row)  # the same image twice: any of its rows will do
        self._shape = shape
        parts.append(embeddings)


class ByOrder:
    """Rows in the order of the prepared split, which is told by its number of images."""

    def __init__(self, files: dict[str, Path]):
        self._arrays = {split: archives.plain_embeddings(path) for split, path in files.items()}
        self._folder = next(iter(files.values())).parent
        dims = {array.shape[1] for array in self._arrays.values()}
        if len(dims) > 1:
            raise InputError(f"the arrays in {self._folder} have rows of {sorted(dims)} numbers; they must be alike")

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32.

        Raises:
          InputError: no split has as many images, or several have.
        """
        fitting = [split for split, array in self._arrays.items() if len(array) == len(images)]
        if len(fitting) == 1:
            return self._arrays[fitting[0]]
        if fitting:
            raise InputError(
                f"{' and '.join(fitting)} in {self._folder} both have {len(images)} rows, so the images' split cannot "
                f"be told: save archives with X and Z instead, named {archives.PATTERNS.split(',')[0]}"
            )
        sizes = ", ".join(f"{split} {len(array)}" for split, array in self._arrays.items())
        raise InputError(f"{self._folder} has rows for {sizes} images, not for {len(images)}; embed every image")


class Precomputed(Transformer):
    """Looks embeddings up."""

    def __init__(self, folder: str | None, dataset: str | None):
        self._folder, self._dataset = folder, dataset
        self._table: ByImage | ByOrder | None = None

    def fit(
        self, images: np.ndarray, y: Any = None, *, seed: int = 0, folder: Path | None = None, callbacks: Sequence = ()
    ):
        """Reads the files, makes sure that they hold every training image, and returns itself; y is not looked at.

        Raises:
          InputError: files that are missing, damaged or of another form, or images that they do not hold.
        """
        self.transform(images)
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32; errors as in `fit`."""
        image_arrays.check_images(images)
        if self._table is None:
            files = archives.find(_required(self._folder), self._dataset)
            log.info("precomputed: reading %s", ", ".join(str(path) for path in files.values()))
            self._table = (ByImage if files["train"].suffix == ".npz" else ByOrder)(files)
        return self._table(images)

    def save(self, folder: Path) -> None:
        """Writes where the files are, not what they hold."""
        where = str(Path(_required(self._folder)).expanduser().resolve())
        saving.write(folder, "precomputed", {"dir": where, "dataset": self._dataset})

    def load(self, folder: Path):
        """Restores what `save` wrote, unless a folder was given anew that is there, and returns itself.

        Raises:
          InputError: the folder holds no such embedder.
        """
        with saving.reading(folder, "precomputed") as (there, _):
            given = self._folder and Path(self._folder).expanduser().is_dir()
            self._folder, self._dataset = self._folder if given else there["dir"], there["dataset"]
        self._table = None
        return self

    def _fitted(self) -> None:
        """There is nothing to fit."""


def _required(folder: str | None) -> str:
    if folder is None:
        raise InputError(f"precomputed needs precomputed_dir, a folder that holds {archives.PATTERNS}")
    return folder


def fingerprint(options: Options | None) -> dict[str, list[int]]:
    """Checksums of every file that could be read, by name: other files are other embeddings.

    Raises:
      InputError: no such folder, or a damaged archive.
    """
    folder = Path(_required(options.dir if options else None)).expanduser()
    if not folder.is_dir():
        archives.find(folder, None)  # says what is wrong
    paths = (path for path in sorted(folder.iterdir()) if archives.is_embeddings(path))
    return {path.name: archives.fingerprint(path) for path in paths}


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """Precomputed embeddings; the files are read when they are first needed.

    The context's data set says whose archives to take, where the folder holds several.
    """
    return Precomputed((options or Options()).dir, context.dataset if context else None)
