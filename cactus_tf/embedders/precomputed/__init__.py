"""Embeddings that were computed elsewhere: the authors' archives, or plain arrays.

`precomputed_dir` holds, for train, val and test, either

- archives `{dataset}_{dims}_{split}.npz` (ACAI, DeepCluster), `{dataset}.u-{dims}_{split}.npz` (BiGAN) or
  `{dataset}.{dims}_{split}.npz` (InfoGAN) with the images X and their embeddings Z (InfoGAN: Z_raw), rows in any order:
  an image finds its row by its bytes; labels Y are not read; or
- `{split}.npy` [n, dim]. For a data set of image files, `{split}.txt` beside it names the file of each row below
  `data_dir`, one per line; the order of prepared images depends on settings such as `--image_size`. For other data sets
  row i is that of image i of the prepared split. The number of images identifies the split, so no two splits may have
  the same number; if they do, use archives with X.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import Embedder, EmbedderContext, EmbedderInfo
from cactus_tf.embedders._base import image_arrays, saving
from cactus_tf.embedders._base.estimator import ImageTransformer
from cactus_tf.embedders.precomputed import archives
from cactus_tf.embedders.precomputed.lookup import ByImage, Plain
from cactus_tf.errors import InputError
from cactus_tf.utils.paths import expanded

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """Place of the embeddings."""

    dir: str | None = option(None, "folder with archives of images X and embeddings Z, or {split}.npy", path=True)


class Precomputed(ImageTransformer):
    """Looks embeddings up in files, which it reads when they are first needed."""

    def __init__(self, folder: str | None, dataset: str | None):
        self.folder, self.dataset = folder, dataset
        self._lookup: ByImage | Plain | None = None

    def fit(
        self,
        images: np.ndarray,
        y: Any = None,
        *,
        seed: int = 0,
        folder: Path | None = None,
        callbacks: Sequence = (),
        names: np.ndarray | None = None,
    ) -> Precomputed:
        """Checks that the files hold every training image, and returns itself.

        Raises:
          InputError: files that are missing, damaged or of another form, or images that they do not hold.
        """
        self.transform(images, names)
        return self

    def transform(self, images: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32; errors as in `fit`.

        Args:
          images: of a split.
          names: [n] bytes, the file of each image (`ImageSet.names`); with plain arrays needed for images from files.
        """
        image_arrays.check_images(images)
        if self._lookup is None:
            paths = archives.find(_folder(self.folder), self.dataset)
            log.info("precomputed: reading %s", ", ".join(map(str, paths.values())))
            self._lookup = (ByImage if paths["train"].suffix == ".npz" else Plain)(paths)
        return self._lookup(images, names)

    def save(self, folder: Path) -> None:
        """Writes the place of the files, not their contents."""
        saving.write(folder, "precomputed", {"dir": str(_folder(self.folder).resolve()), "dataset": self.dataset})

    def load(self, folder: Path) -> Precomputed:
        """Restores what `save` wrote and returns itself; a folder given to the constructor wins if it exists.

        Raises:
          InputError: the folder holds no such embedder.
        """
        with saving.reading(folder, "precomputed") as (saved, _):
            given = self.folder and expanded(self.folder).is_dir()
            self.folder, self.dataset = self.folder if given else saved["dir"], saved["dataset"]
        self._lookup = None
        return self


def _folder(folder: str | None) -> Path:
    if folder is None:
        raise InputError(f"precomputed needs precomputed_dir, a folder that holds {archives.PATTERNS}")
    return expanded(folder)


def fingerprint(options: Options | None) -> dict[str, list[int]]:
    """Checksums by file name of every file that could be read: other files are other embeddings."""
    return archives.fingerprints(_folder(options.dir if options else None))


INFO = EmbedderInfo(fingerprint=fingerprint, takes_names=True)


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """Precomputed embeddings; the context's data set chooses among the archives of several."""
    return Precomputed((options or Options()).dir, context.dataset if context else None)
