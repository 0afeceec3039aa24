"""The handwritten digits bundled with scikit-learn, enlarged to the size of MNIST; nothing to download.

Alpaydin and Kaynak 1998, UCI "Optical Recognition of Handwritten Digits": 1797 images of 8x8 pixels, values 0..16.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from cactus_tf.contracts import DataContext, DatasetInfo
from cactus_tf.datasets._io.preparing import NOT_CACHED, Labeled, prepare_arrays
from cactus_tf.errors import InputError
from cactus_tf.types import Splits

INFO = DatasetInfo(light_on_dark=True)
DIGIT, BORDER = 20, 4  # pixels; MNIST digits fill a box of 20x20 within 28x28
TRAIN, VAL = 1000, 297  # images; the other 500 are for testing, about 50 per digit


def load(data_dir: str | Path | None = None, context: DataContext = NOT_CACHED) -> Splits:
    """The digits: 1000 train, 297 val and 500 test images [28, 28, 1], ten classes in each split.

    Raises:
      InputError: a data_dir is given.
    """
    read = locate(data_dir)
    return prepare_arrays("digits", lambda: split(read()), context)


def locate(data_dir: str | Path | None) -> Callable[[], Labeled]:
    """The function that reads all 1797 images.

    Raises:
      InputError: a data_dir is given.
    """
    if data_dir is not None:
        raise InputError(f"data_dir {data_dir} cannot be used: digits come with scikit-learn, so leave data_dir out")
    return _read


def enlarge(pixels: np.ndarray) -> np.ndarray:
    """[n, 8, 8] values 0..16 -> [n, 28, 28, 1] uint8: bicubic to 20x20, then a border of 4 pixels, as in MNIST."""
    scaled = np.round(pixels * (255 / 16)).astype(np.uint8)
    images = [np.asarray(Image.fromarray(image).resize((DIGIT, DIGIT), Image.Resampling.BICUBIC)) for image in scaled]
    return np.pad(images, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))[..., np.newaxis]


def split(data: Labeled) -> dict[str, Labeled]:
    """A fixed shuffle cut in three, independent of the labels."""
    rows = np.random.RandomState(42).permutation(len(data.labels))
    train, val, test = np.split(rows, [TRAIN, TRAIN + VAL])
    return {"train": data.take(train), "val": data.take(val), "test": data.take(test)}


def _read() -> Labeled:
    from sklearn.datasets import load_digits

    digits = load_digits()
    return Labeled(enlarge(digits.images), digits.target.astype(np.int32))
