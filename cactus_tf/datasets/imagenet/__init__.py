"""ImageNet's training images for few-shot learning: the classes of miniImageNet's val and test are held out.

val and test are the 16 and 20 classes of Ravi and Larochelle's lists, train the other 964 (ImageNet mode of the
authors' code of 2018-11), all images of each. `data_dir` holds a folder per WordNet id, `n01440764/*.JPEG`, in it or in
one of `train/`, `ILSVRC/Data/CLS-LOC/train/`, `images_84x84/`, `imagenet/images_84x84/` (or 224x224): those of the
wanted size come first, then the originals, then the largest others. Features lie in `features/` or
`imagenet/features/`, a `.npy` with one vector per image.

Images are decoded once, by default to squares of 84 pixels, aspect ratio not kept, in the canonical order. With
`decode` = lazily they are decoded each time they are needed, in the order of their names; only names are stored.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cactus_tf.config.schema import option
from cactus_tf.contracts import DataContext, DatasetInfo
from cactus_tf.datasets._io import decoding
from cactus_tf.datasets._io.entries import Entry, Skipped, shown
from cactus_tf.datasets._io.lazy import LazyImages
from cactus_tf.datasets._io.preparing import NOT_CACHED, Listed, SplitFiles, prepare_files
from cactus_tf.datasets._io.rows import Decoding, unread
from cactus_tf.datasets.folder import class_folders
from cactus_tf.datasets.imagenet import features
from cactus_tf.datasets.imagenet.class_tree import (
    REMEDY,
    SIDE,
    Source,
    locate,
    names_keys,
    warn_of_enlarging,
    warn_of_missing,
)  # fmt: skip
from cactus_tf.datasets.miniimagenet import ravi, split_lists
from cactus_tf.errors import InputError
from cactus_tf.types import AssignedPartitions, ImageSet, Partitions, Splits
from cactus_tf.utils.paths import expanded

log = logging.getLogger(__name__)

INPUTS, DECODES = ("images", "features"), ("once", "lazily")
_LISTS = (".", "miniimagenet_splits", "imagenet/miniimagenet_splits")


@dataclasses.dataclass(frozen=True)
class Options:
    """What is read of ImageNet, and how."""

    input: str = option(
        "images",
        "images, or features: a .npy with one vector per image, for --on_embeddings",
        source="Hsu et al. 2019, scripts",
    )
    decode: str = option("once", "once, to an array on disk; or lazily, each time an image is needed", source="ours")


def load(data_dir: str | Path | None = None, context: DataContext = NOT_CACHED) -> Splits:
    """ImageNet's training images: about 1,235,000 train, 20,000 val and 26,000 test rows of [84, 84, 3] or [dim].

    Args:
      data_dir: folder with the class folders.
      context: stores the arrays; its image_size replaces 84. Labels are the classes of a split by WordNet id.

    Raises:
      InputError: no class folders, a val or test class is missing, or settings that contradict each other.
    """
    options = context.options or Options()
    _check(options, context)
    side = context.image_size or SIDE
    source = locate(data_dir, options.input, side)
    warn_of_missing(source)
    if options.input == "features":
        dim = features.length(_all_files(source))
        splits = _prepare(source, context, Decoding(functools.partial(features.vector, dim=dim), (dim,), "float32"))
    else:
        warn_of_enlarging(source, side)
        decode = picture_decoder((side, side, 3))
        once = options.decode == "once"
        how = Decoding(decode, (side, side, 3)) if once else Decoding(readable, (1,), read=unread)
        splits = _prepare(source, context, how, printable=not once)
        if not once:
            splits = _lazy(splits, source, decode, (side, side, 3), context.workers)
    if not context.mixed:
        return splits
    lists = split_lists.find([expanded(data_dir or ".") / folder for folder in _LISTS])
    return dataclasses.replace(splits, train=_with_supervised(splits.train, source, lists))


def picture_decoder(shape: tuple[int, ...], options: Any = None) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row [height, width, channels] uint8."""
    return functools.partial(decoding.array, shape=shape, fit="stretch")


def gives_features(options: Options | None) -> bool:
    """Whether rows are vectors instead of images."""
    return options is not None and options.input == "features"


def files_key(data_dir: str | Path | None, eval_dir: str | Path | None) -> list[str]:
    """Keys of the names of all files, by class; their contents are not read."""
    if data_dir is None:
        locate(None)
    return names_keys(str(data_dir))


def readable(entry: Entry) -> np.ndarray:
    """One zero for a picture whose beginning can be read; the rest may be damaged."""
    with entry.open() as file, decoding.opened(file):
        return np.zeros(1, np.uint8)


def _check(options: Options, context: DataContext) -> None:
    for name, value, allowed in (("input", options.input, INPUTS), ("decode", options.decode, DECODES)):
        if value not in allowed:
            raise InputError(f"--imagenet_{name}={value}: choose from {', '.join(allowed)}")
    if options.input == "features" and options.decode == "lazily":
        raise InputError("--imagenet_decode=lazily is for images; leave it out with --imagenet_input=features")
    if options.input == "features" and context.image_size is not None:
        raise InputError("--image_size is for images; leave it out with --imagenet_input=features")


def _prepare(source: Source, context: DataContext, how: Decoding, printable: bool = False) -> Splits:
    listing = functools.partial(_split_files, source, printable)
    return prepare_files("imagenet", listing, lambda *_: how, context)


def _split_files(source: Source, printable: bool, folder: Path) -> SplitFiles:
    """The files of every class; a val or test class without files is an InputError.

    Args:
      source: the class folders.
      printable: leave out files that cannot be opened again by the name that is stored.
      folder: not used.
    """
    splits = {}
    skipped: list[Skipped] = []
    for split, wnids in source.classes.items():
        classes = []
        for wnid in wnids:
            listed = class_folders.files(source.root, wnid, source.extensions)
            skipped.extend(listed.skipped)
            hidden = [entry for entry in listed.entries if printable and shown(entry.name) != entry.name]
            skipped.extend(Skipped(shown(entry.name), "has a name that is not UTF-8") for entry in hidden)
            classes.append([entry for entry in listed.entries if entry not in hidden])
        empty = [wnid for wnid, entries in zip(wnids, classes, strict=True) if not entries]
        if empty and split != "train":
            raise InputError(f"{shown(source.root)} has no files in the {split} classes {', '.join(empty)}: {REMEDY}")
        if empty:
            log.warning("imagenet: %d train classes have no files, such as %s", len(empty), empty[0])
        splits[split] = Listed.of_classes(classes)
    return SplitFiles(splits, skipped)


def _all_files(source: Source) -> Iterator[Entry]:
    for wnids in source.classes.values():
        for wnid in wnids:
            yield from class_folders.files(source.root, wnid, source.extensions).entries


def _lazy(splits: Splits, source: Source, decode: Callable, shape: tuple[int, ...], workers: int | None) -> Splits:
    """The same splits with images that are decoded when they are needed."""

    def lazy(images: ImageSet) -> ImageSet:
        assert images.names is not None
        rows: Any = LazyImages(source.root, images.names, decode, shape, workers)
        return ImageSet(rows, images.partitions, images.names)

    return Splits(lazy(splits.train), lazy(splits.val), lazy(splits.test))


def _with_supervised(train: ImageSet, source: Source, lists: Mapping[str, Path] | None) -> ImageSet:
    """The training images with miniImageNet's 64 classes as `supervised` partition; InputError without any class."""
    assert train.names is not None
    wnids = [wnid for wnid in ravi.CLASSES["train"] if wnid in source.classes["train"]]
    if not wnids:
        raise InputError(
            f"--supervised_fraction: none of miniImageNet's 64 training classes is in {shown(source.root)}: {REMEDY}"
        )
    entries = {wnid: class_folders.files(source.root, wnid, source.extensions).entries for wnid in wnids}
    listed = split_lists.read(lists["train"], "train", []) if lists else []
    return dataclasses.replace(train, supervised=_supervised(train.names, entries, listed))


def _supervised(
    names: np.ndarray, entries: Mapping[str, list[Entry]], listed: list[split_lists.ListedImage]
) -> Partitions:
    """One partition: of each class the images that the list names, else the first 600 by ImageNet's numbers."""
    files = split_lists.FilesByStem([entry for of_class in entries.values() for entry in of_class], [])
    by_class = split_lists.by_class(listed, files, [])
    cluster = {}
    for c, (wnid, of_class) in enumerate(sorted(entries.items())):
        chosen = by_class.get(wnid) or ravi.by_number(of_class)[: ravi.IMAGES]
        cluster.update({shown(entry.name).encode(): c for entry in chosen})
    assignments = np.array([cluster.get(name, -1) for name in names.tolist()], np.int32)
    return AssignedPartitions([assignments], len(entries))


INFO = DatasetInfo(
    takes=("image_size",), files_key=files_key, gives_features=gives_features, picture_decoder=picture_decoder
)
