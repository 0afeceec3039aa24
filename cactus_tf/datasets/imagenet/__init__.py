"""ImageNet's training images for few-shot learning: the classes of miniImageNet's val and test are held out.

val and test are the 16 and 20 classes of Ravi and Larochelle's lists, train the other 964 (ImageNet mode of the
authors' code of 2018-11), all images of each. `data_dir` holds a folder per WordNet id, `n01440764/*.JPEG`, in it or in
one of `train/`, `ILSVRC/Data/CLS-LOC/train/`, `images_84x84/`, `imagenet/images_84x84/` (or 224x224): those of the
wanted size come first, then the originals, then the largest others. Features lie in `features/` or
`imagenet/features/`, a `.npy` with one vector per image.

Images are decoded once, to squares of 84 pixels unless said, aspect ratio not kept, in the canonical order; or, with
`decode` = lazily, when they are needed, in the order of their names: nothing but names is then kept on disk.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import DataContext
from cactus_tf.datasets._io import decoding
from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets._io.lazy import Beginning, LazyImages, header
from cactus_tf.datasets._io.preparing import Listed, prepare_files
from cactus_tf.datasets._io.splits import NOT_CACHED
from cactus_tf.datasets.folder import class_folders
from cactus_tf.datasets.imagenet import features
from cactus_tf.datasets.imagenet.class_tree import REMEDY, SIDE, Source, digests, locate, say_enlarged, say_missing
from cactus_tf.datasets.miniimagenet import ravi, split_lists
from cactus_tf.errors import InputError
from cactus_tf.types import AssignedPartitions, ImageSet, Partitions, Splits

logger = logging.getLogger(__name__)

VERSION = 1
TAKES = ("image_size",)
INPUTS, DECODES = ("images", "features"), ("once", "lazily")
_LISTS = (".", "miniimagenet_splits", "imagenet/miniimagenet_splits")


@dataclasses.dataclass(frozen=True)
class Options:
    """What of ImageNet is read, and how."""

    input: str = option("images", "images, or features: a .npy with one vector per image, for --on_embeddings")
    decode: str = option("once", "once, to an array on disk, or lazily, every time that an image is needed")


def load(data_dir: str | Path | None = None, context: DataContext = NOT_CACHED) -> Splits:
    """ImageNet's training images: about 1,235,000 train, 20,000 val and 26,000 test rows of [84, 84, 3] or [dim].

    Args:
      data_dir: folder with the class folders.
      context: keeps the arrays; its image_size replaces 84. Labels are the classes of a split by WordNet id.

    Raises:
      InputError: no class folders, a class to judge on is missing, or settings that contradict each other.
    """
    options = context.options or Options()
    _check(options, context)
    side = context.image_size or SIDE
    source = locate(data_dir, options.input, side)
    say_missing(source)
    if options.input == "images":
        say_enlarged(source, side)
    if options.input == "features":
        splits = _prepare_features(source, context)
    elif options.decode == "once":
        splits = _prepare_images(source, context, side)
    else:
        splits = _prepare_names(source, context, side)
    if not context.mixed:
        return splits
    listed = split_lists.find([Path(data_dir or ".").expanduser() / folder for folder in _LISTS])
    return dataclasses.replace(splits, train=_with_supervised(splits.train, source, listed))


def picture_decoder(shape: tuple[int, int, int], options: Any = None) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row [height, width, channels] uint8."""
    return functools.partial(decoding.array, shape=shape, fit="stretch")


def gives_features(options: Options | None) -> bool:
    """Whether the rows are vectors in place of images."""
    return options is not None and options.input == "features"


def files_key(data_dir: str | Path | None, eval_dir: str | Path | None) -> list[str]:
    """What tells these images or features from others: the names of all files, by class; not what they hold."""
    if data_dir is None:
        locate(None)
    return digests(str(data_dir))


def _check(options: Options, context: DataContext) -> None:
    for name, value, allowed in (("input", options.input, INPUTS), ("decode", options.decode, DECODES)):
        if value not in allowed:
            raise InputError(f"--imagenet_{name}={value}: choose from {', '.join(allowed)}")
    if options.input == "features" and options.decode == "lazily":
        raise InputError("--imagenet_decode=lazily is for images; leave it out with --imagenet_input=features")
    if options.input == "features" and context.image_size is not None:
        raise InputError("--image_size is for images; leave it out with --imagenet_input=features")


def _listed(source: Source, skipped: list[Skipped], entry: Callable[..., Entry] = Entry) -> dict[str, Listed]:
    """The files of every class.

    Raises:
      InputError: a class of val or test has none.
    """
    found = {}
    for split, wnids in source.classes.items():
        classes = []
        for wnid in wnids:
            entries, left_out, _ = class_folders.files(source.root, wnid, source.extensions)
            skipped.extend(left_out)
            classes.append([entry(*e) for e in entries])
        empty = [wnid for wnid, entries in zip(wnids, classes, strict=True) if not entries]
        if empty and split != "train":
            raise InputError(f"{shown(source.root)} has no files in the {split} classes {', '.join(empty)}: {REMEDY}")
        if empty:
            logger.warning("imagenet: %d train classes have no files, such as %s", len(empty), empty[0])
        found[split] = Listed.of_classes(classes)
    return found


def _prepare_images(source: Source, context: DataContext, side: int) -> Splits:
    skipped: list[Skipped] = []
    decode = picture_decoder((side, side, 3))
    listing = functools.partial(_listed, source, skipped)
    return prepare_files("imagenet", listing, decode, lambda: (side, side, 3), context, skipped=skipped)


def _prepare_features(source: Source, context: DataContext) -> Splits:
    skipped: list[Skipped] = []
    first = (
        entry
        for wnids in source.classes.values()
        for wnid in wnids
        for entry in class_folders.files(source.root, wnid, source.extensions).entries
    )
    dim = features.length(first)
    decode = functools.partial(features.vector, dim=dim)
    listing = functools.partial(_listed, source, skipped)
    return prepare_files("imagenet", listing, decode, lambda: (dim,), context, dtype="float32", skipped=skipped)


def _prepare_names(source: Source, context: DataContext, side: int) -> Splits:
    """Images that are decoded when they are needed; only the beginnings of the files are looked at before."""
    skipped: list[Skipped] = []
    shape = (side, side, 3)

    def listing() -> dict[str, Listed]:
        return {split: _printable(found, skipped) for split, found in _listed(source, skipped, Beginning).items()}

    looked_at = prepare_files("imagenet", listing, header, lambda: (1,), context, skipped=skipped)
    decode = picture_decoder(shape)

    def lazy(images: ImageSet) -> ImageSet:
        rows = LazyImages(source.root, images.names, decode, shape, workers=context.workers)  # type: ignore[arg-type]
        return ImageSet(rows, images.partitions, images.names)  # type: ignore[arg-type]

    return Splits(*(lazy(images) for images in (looked_at.train, looked_at.val, looked_at.test)))


def _printable(listed: Listed, skipped: list[Skipped]) -> Listed:
    """Without the files that cannot be found again by the name that is kept."""
    assert listed.labels is not None
    kept = [i for i, entry in enumerate(listed.entries) if shown(entry.name) == entry.name]
    others = (entry for entry in listed.entries if shown(entry.name) != entry.name)
    skipped.extend(Skipped(shown(entry.name), "has a name that is not UTF-8") for entry in others)
    return Listed([listed.entries[i] for i in kept], listed.labels[kept])


def _with_supervised(train: ImageSet, source: Source, lists: Mapping[str, Path] | None) -> ImageSet:
    """The training images with miniImageNet's 64 classes as a partition of their own.

    Raises:
      InputError: none of these classes is there.
    """
    assert train.names is not None
    wnids = [wnid for wnid in ravi.CLASSES["train"] if wnid in source.classes["train"]]
    if not wnids:
        raise InputError(
            f"--supervised_fraction: none of miniImageNet's 64 training classes is in {shown(source.root)}: {REMEDY}"
        )
    entries = {wnid: class_folders.files(source.root, wnid, source.extensions).entries for wnid in wnids}
    rows: list[split_lists.Row] = []
    if lists:
        rows = split_lists.read(lists["train"], "train", [])
    return dataclasses.replace(train, supervised=_supervised(train.names, entries, rows))


def _supervised(names: np.ndarray, entries: Mapping[str, list[Entry]], rows: list[split_lists.Row]) -> Partitions:
    """One partition: of each class the images that the list names, else the first 600 by ImageNet's numbers."""
    files = split_lists.Files([entry for found in entries.values() for entry in found], [])
    listed = split_lists.by_class(rows, files, [])
    cluster = {}
    for c, (wnid, found) in enumerate(sorted(entries.items())):
        chosen = listed.get(wnid) or ravi.by_number(found)[: ravi.IMAGES]
        cluster.update({shown(entry.name).encode(): c for entry in chosen})
    assignments = np.array([cluster.get(name, -1) for name in names.tolist()], np.int32)
    return AssignedPartitions([assignments], len(entries))
