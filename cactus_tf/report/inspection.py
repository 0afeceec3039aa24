"""What is in a data set: counts, classes, sizes and images that are there more than once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from cactus_tf.types import ImageSet, Splits

_SPLITS = ("train", "val", "test")
_DIGEST = 16  # bytes


def describe(data: Splits) -> str:
    """A table of the splits, and which of them share images."""
    digests = {split: digest(getattr(data, split).images) for split in _SPLITS}
    lines = [f"{'split':<8}{'images':>10}{'duplicates':>12}  classes"]
    for split in _SPLITS:
        images, found = getattr(data, split), digests[split]
        twice = len(found) - len(np.unique(found))
        lines.append(f"{split:<8}{len(images):>10,}{twice:>12,}  {_classes(images)}")
    size = sum(getattr(data, split).images.nbytes for split in _SPLITS) / 1e6
    lines.append(f"images of {'x'.join(map(str, data.image_shape))}, {size:,.1f} MB")
    return "\n".join([*lines, *_shared(digests)])


def digest(images: np.ndarray) -> np.ndarray:
    """[n] 16 bytes of each image, equal where the images are."""
    return np.array([hashlib.blake2b(image.tobytes(), digest_size=_DIGEST).digest() for image in images], f"V{_DIGEST}")


def _classes(images: ImageSet) -> str:
    """How many classes of how many images, or how many partitions."""
    if not images.partitions:
        return "no labels"
    if len(images.partitions) > 1:
        return f"{len(images.partitions):,} divisions by labels"
    sizes = images.partitions[0].sizes
    return f"{len(sizes):,}, of {sizes.min():,} to {sizes.max():,} images"


def _shared(digests: Mapping[str, np.ndarray]) -> list[str]:
    """A line for every pair of splits that share images."""
    pairs = [("val", "train"), ("test", "train"), ("test", "val")]
    counts = [np.isin(digests[one], digests[other]).sum() for one, other in pairs]
    return [f"{n:,} images of {one} are in {other}, too" for n, (one, other) in zip(counts, pairs, strict=True) if n]
