"""What a data set contains: numbers of images, classes and duplicates."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cactus_tf.types import ImageSet, Splits
from cactus_tf.utils.digests import digests, in_both

_SPLITS = ("train", "val", "test")


def describe(data: Splits) -> str:
    """A table of the splits, and how many images they share."""
    found = {split: digests(data[split].images) for split in _SPLITS}
    lines = [f"{'split':<8}{'images':>10}{'duplicates':>12}  classes"]
    for split in _SPLITS:
        images, unique = data[split], len(np.unique(found[split]))
        twice = len(images) - unique
        lines.append(f"{split:<8}{len(images):>10,}{twice:>12,}  {_classes(images)}")
    size = sum(data[split].images.nbytes for split in _SPLITS) / 1e6
    lines.append(f"image shape {'x'.join(map(str, data.image_shape))}, {size:,.1f} MB")
    return "\n".join([*lines, *_shared(found)])


def _classes(images: ImageSet) -> str:
    """Number and sizes of the classes, or number of partitions."""
    if not images.partitions:
        return "no labels"
    if len(images.partitions) > 1:
        return f"{len(images.partitions):,} partitions by labels"
    sizes = images.partitions[0].sizes
    return f"{len(sizes):,}, {sizes.min():,} to {sizes.max():,} images each"


def _shared(found: Mapping[str, np.ndarray]) -> list[str]:
    """A line per pair of splits that share images."""
    pairs = [("val", "train"), ("test", "train"), ("test", "val")]
    counts = [in_both(found[one], found[other]) for one, other in pairs]
    return [f"{n:,} images of {one} are also in {other}" for n, (one, other) in zip(counts, pairs, strict=True) if n]
