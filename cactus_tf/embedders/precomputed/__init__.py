"""Embeddings that were computed elsewhere: a file with their names, the authors' archives, or plain arrays.

`precomputed_file` holds the embeddings of all pictures by file name: a CSV file, or a .npz archive with `names` and
`embeddings`. `predict` and `suggest` look up other pictures in it, too.

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
from cactus_tf.embedders.precomputed import archives, tables
from cactus_tf.embedders.precomputed.lookup import ByImage, Plain
from cactus_tf.embedders.precomputed.named import Named
from cactus_tf.errors import InputError
from cactus_tf.utils.files import whole_checksum
from cactus_tf.utils.paths import expanded

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Options:
    """Place of the embeddings."""

    dir: str | None = option(None, "folder with archives of images X and embeddings Z, or {split}.npy", path=True)
    file: str | None = option(None, "CSV (file name, numbers) or .npz (names, embeddings) of all pictures", path=True)


class Precomputed(ImageTransformer):
    """Looks embeddings up in files, which it reads when they are first needed."""

    def __init__(self, folder: str | None, dataset: str | None, file: str | None = None):
        self.folder, self.dataset, self.file = folder, dataset, file
        self._dim: int | None = None
        self._lookup: ByImage | Plain | Named | None = None

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
        self._dim = self.transform(images, names).shape[1]
        if isinstance(self._lookup, Named):
            used = f"{len(images):,} of {len(self._lookup):,} rows of {self.file}"
            log.info("precomputed: %s belong to training pictures", used)
        return self

    def transform(self, images: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32; errors as in `fit`.

        Args:
          images: of a split.
          names: [n] bytes, the file of each image (`ImageSet.names`); needed but for archives of images, and for plain
            arrays if the images are not files.
        """
        image_arrays.check_images(images)
        if self._lookup is None:
            self._lookup = self._opened()
        embeddings = self._lookup(images, names)
        if self._dim not in (None, embeddings.shape[1]):
            raise InputError(
                f"precomputed: {self.file or self.folder} has rows of {embeddings.shape[1]} numbers, and the embedder "
                f"was fitted on rows of {self._dim}: take the file that it was fitted on, or one by the same network"
            )
        return embeddings

    def _opened(self) -> ByImage | Plain | Named:
        """The files, as a function of images and names."""
        if self.file is not None:
            log.info("precomputed: reading %s", self.file)
            return Named(expanded(self.file))
        paths = archives.find(_folder(self.folder), self.dataset)
        log.info("precomputed: reading %s", ", ".join(map(str, paths.values())))
        return (ByImage if paths["train"].suffix == ".npz" else Plain)(paths)

    def save(self, folder: Path) -> None:
        """Writes the place of the files, not their contents."""
        by_name = {"file": str(expanded(self.file).resolve()), "dim": self._dim} if self.file is not None else {}
        place = None if by_name else str(_folder(self.folder).resolve())
        saving.write(folder, "precomputed", {"dir": place, "dataset": self.dataset, **by_name})

    def load(self, folder: Path) -> Precomputed:
        """Restores what `save` wrote and returns itself; a folder or file given to the constructor wins if it exists.

        Raises:
          InputError: the folder holds no such embedder.
        """
        with saving.reading(folder, "precomputed") as (saved, _):
            given = self.folder and expanded(self.folder).is_dir()
            self.folder, self.dataset = self.folder if given else saved["dir"], saved["dataset"]
            there = self.file is not None and expanded(self.file).is_file()
            self.file, self._dim = self.file if there else saved.get("file"), saved.get("dim")
        self._lookup = None
        return self


def _folder(folder: str | None) -> Path:
    if folder is None:
        raise InputError(
            f"precomputed needs precomputed_dir, a folder that holds {archives.PATTERNS}; or precomputed_file, "
            f"{tables.FORMS}"
        )
    return expanded(folder)


def fingerprint(options: Options | None) -> dict[str, list[int]]:
    """Checksums by file name of every file that could be read: other files are other embeddings."""
    options = options or Options()
    if options.file is None:
        return archives.fingerprints(_folder(options.dir))
    if options.dir is not None:
        raise InputError("--precomputed_file and --precomputed_dir are both given: leave one out")
    path = expanded(options.file)
    if not path.is_file():
        tables.read(path)  # raises
    return {"file": [whole_checksum(path)]}


INFO = EmbedderInfo(fingerprint=fingerprint, takes_names=True)


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """Precomputed embeddings; the context's data set chooses among the archives of several."""
    options = options or Options()
    return Precomputed(options.dir, context.dataset if context else None, options.file)
