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
from typing import Any, NamedTuple

import numpy as np

from cactus_tf.config import option
from cactus_tf.contracts import DataContext
from cactus_tf.datasets import _class_folders, _features, _pictures, _ravi, _ravi_lists
from cactus_tf.datasets._entries import Entry, Skipped, UnreadableError, shown
from cactus_tf.datasets._image_files import Listed, prepare_files
from cactus_tf.datasets._lazily import Beginning, LazyImages, header
from cactus_tf.datasets._splits import KEEP_NOTHING
from cactus_tf.errors import InputError
from cactus_tf.types import AssignedPartitions, ImageSet, Partitions, Splits

logger = logging.getLogger(__name__)

VERSION = 1
TAKES = ("image_size",)
SIDE, CLASSES = 84, 1000
INPUTS, DECODES = ("images", "features"), ("once", "lazily")
_FOLDERS = (".", "train", "ILSVRC/Data/CLS-LOC/train", "imagenet")
_SIDES = (84, 224)  # of the authors' folders
_LISTS = (".", "miniimagenet_splits", "imagenet/miniimagenet_splits")
REMEDY = (
    "unpack ILSVRC2012_img_train.tar of https://image-net.org, which asks for a registration, to a folder per WordNet "
    "id (n01440764/*.JPEG) and name their folder as data_dir"
)


@dataclasses.dataclass(frozen=True)
class Options:
    """What of ImageNet is read, and how."""

    input: str = option("images", "images, or features: a .npy with one vector per image, for --on_embeddings")
    decode: str = option("once", "once, to an array on disk, or lazily, every time that an image is needed")


class Source(NamedTuple):
    """Where the class folders are.

    Attributes:
      root: their folder.
      classes: {split: WordNet ids}.
      extensions: of the files.
    """

    root: Path
    classes: Mapping[str, list[str]]
    extensions: tuple[str, ...]


def load(data_dir: str | Path | None = None, context: DataContext = KEEP_NOTHING) -> Splits:
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
    _say_missing(source)
    if options.input == "images":
        _say_enlarged(source, side)
    if options.input == "features":
        splits = _prepare_features(source, context)
    elif options.decode == "once":
        splits = _prepare_images(source, context, side)
    else:
        splits = _prepare_names(source, context, side)
    if not context.mixed:
        return splits
    listed = _ravi_lists.find([Path(data_dir or ".").expanduser() / folder for folder in _LISTS])
    return dataclasses.replace(splits, train=_with_supervised(splits.train, source, listed))


def picture_decoder(shape: tuple[int, int, int], options: Any = None) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row [height, width, channels] uint8."""
    return functools.partial(_pictures.array, shape=shape, fit="stretch")


def locate(data_dir: str | Path | None, kind: str = "images", side: int = SIDE) -> Source:
    """The class folders of images or features.

    Raises:
      InputError: there are none, or a class of val or test or every other one is missing.
    """
    if data_dir is None:
        raise InputError(f"imagenet needs data_dir, tensorflow-datasets does not download it: {REMEDY}")
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise InputError(f"data_dir {shown(folder)} is not a folder: {REMEDY}")
    extensions = _features.EXTENSIONS if kind == "features" else _pictures.EXTENSIONS
    root = next((root for root in _roots(folder, kind, side) if _holds(root, extensions)), None)
    if root is None:
        what = "*.npy" if kind == "features" else "*.JPEG"
        raise InputError(f"data_dir {shown(folder)} has no class folders with {kind} (n01440764/{what}): {REMEDY}")
    there = _class_folders.wnids(root)
    classes = {split: [wnid for wnid in _ravi.CLASSES[split] if wnid in there] for split in ("val", "test")}
    for split, found in classes.items():
        missing = [wnid for wnid in _ravi.CLASSES[split] if wnid not in found]
        if missing:
            raise InputError(f"{shown(root)} lacks the {split} classes {', '.join(missing)}: {REMEDY}")
    train = [wnid for wnid in there if _ravi.SPLIT_OF.get(wnid) not in ("val", "test")]
    if not train:
        raise InputError(f"{shown(root)} has no class to train on, only those of val and test: {REMEDY}")
    return Source(root, {"train": train, **classes}, extensions)


def gives_features(options: Options | None) -> bool:
    """Whether the rows are vectors in place of images."""
    return options is not None and options.input == "features"


def files_key(data_dir: str | Path | None, eval_dir: str | Path | None) -> list[str]:
    """What tells these images or features from others: the names of all files, by class; not what they hold."""
    if data_dir is None:
        locate(None)
    return _digests(str(data_dir))


@functools.lru_cache(8)
def _digests(data_dir: str) -> list[str]:
    folder = Path(data_dir).expanduser()
    originals = [folder / name for name in _FOLDERS]
    sides = [root for side in _SIDES for root in _roots(folder, "images", side)]
    roots = dict.fromkeys([*originals, *sides, *_roots(folder, "features", SIDE)])
    return [_class_folders.names_digest(root) for root in roots if _class_folders.wnids(root)]


def _check(options: Options, context: DataContext) -> None:
    for name, value, allowed in (("input", options.input, INPUTS), ("decode", options.decode, DECODES)):
        if value not in allowed:
            raise InputError(f"--imagenet_{name}={value}: choose from {', '.join(allowed)}")
    if options.input == "features" and options.decode == "lazily":
        raise InputError("--imagenet_decode=lazily is for images; leave it out with --imagenet_input=features")
    if options.input == "features" and context.image_size is not None:
        raise InputError("--image_size is for images; leave it out with --imagenet_input=features")


def _roots(folder: Path, kind: str, side: int) -> list[Path]:
    """Folders that class folders may lie in, the likeliest first."""
    if kind == "features":
        return [folder / name for name in ("imagenet/features", "features", *_FOLDERS)]
    others = sorted({*_SIDES} - {side}, reverse=True)
    originals = [folder / name for name in _FOLDERS]
    return [*_of_side(folder, side), *originals, *(root for other in others for root in _of_side(folder, other))]


def _of_side(folder: Path, side: int) -> list[Path]:
    """Where the authors' folders with squares of this side lie."""
    return [folder / f"{above}images_{side}x{side}" for above in ("imagenet/", "")]


def _holds(root: Path, extensions: tuple[str, ...]) -> bool:
    """Whether a class folder has such a file."""
    folders = (root / wnid for wnid in _class_folders.wnids(root))
    return any(name.lower().endswith(extensions) for folder in folders for name in _names(folder))


def _names(folder: Path) -> list[str]:
    try:
        return [path.name for path in folder.iterdir()]
    except OSError:
        return []


def _say_missing(source: Source) -> None:
    there = sum(map(len, source.classes.values()))
    if there != CLASSES:
        lacking = [wnid for wnid in _ravi.CLASSES["train"] if wnid not in source.classes["train"]]
        some = f", such as {lacking[0]}" if lacking else ""
        logger.warning(
            "imagenet: %d class folders, ImageNet has %d; of miniImageNet's 64 training classes %d are missing%s",
            there,
            CLASSES,
            len(lacking),
            some,
        )


def _say_enlarged(source: Source, side: int) -> None:
    """Warns where the first image of every class to validate on is smaller than what is made of it."""
    sizes = [size for wnid in source.classes["val"] if (size := _first_size(source, wnid))]
    if sizes and all(max(size) < side for size in sizes):
        width, height = max(sizes)
        logger.warning(
            "imagenet: the images in %s (%dx%d, for one) are enlarged to %dx%d: name a folder with larger ones as "
            "data_dir, or lower --image_size",
            shown(source.root),
            width,
            height,
            side,
            side,
        )


def _first_size(source: Source, wnid: str) -> tuple[int, int] | None:
    """Width and height of a class's first image, where it has one that can be read."""
    name = min((n for n in _names(source.root / wnid) if n.lower().endswith(source.extensions)), default=None)
    if name is None:
        return None
    try:
        with Entry(str(source.root), f"{wnid}/{name}", 0).open() as file, _pictures.opened(file) as image:
            return image.size
    except UnreadableError:
        return None


def _listed(source: Source, skipped: list[Skipped], entry: Callable[..., Entry] = Entry) -> dict[str, Listed]:
    """The files of every class.

    Raises:
      InputError: a class of val or test has none.
    """
    found = {}
    for split, wnids in source.classes.items():
        classes = []
        for wnid in wnids:
            entries, left_out, _ = _class_folders.files(source.root, wnid, source.extensions)
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
        for entry in _class_folders.files(source.root, wnid, source.extensions).entries
    )
    dim = _features.length(first)
    decode = functools.partial(_features.vector, dim=dim)
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
    wnids = [wnid for wnid in _ravi.CLASSES["train"] if wnid in source.classes["train"]]
    if not wnids:
        raise InputError(
            f"--supervised_fraction: none of miniImageNet's 64 training classes is in {shown(source.root)}: {REMEDY}"
        )
    entries = {wnid: _class_folders.files(source.root, wnid, source.extensions).entries for wnid in wnids}
    rows: list[_ravi_lists.Row] = []
    if lists:
        rows = _ravi_lists.read(lists["train"], "train", [])
    return dataclasses.replace(train, supervised=_supervised(train.names, entries, rows))


def _supervised(names: np.ndarray, entries: Mapping[str, list[Entry]], rows: list[_ravi_lists.Row]) -> Partitions:
    """One partition: of each class the images that the list names, else the first 600 by ImageNet's numbers."""
    files = _ravi_lists.Files([entry for found in entries.values() for entry in found], [])
    listed = _ravi_lists.by_class(rows, files, [])
    cluster = {}
    for c, (wnid, found) in enumerate(sorted(entries.items())):
        chosen = listed.get(wnid) or _ravi.by_number(found)[: _ravi.IMAGES]
        cluster.update({shown(entry.name).encode(): c for entry in chosen})
    assignments = np.array([cluster.get(name, -1) for name in names.tolist()], np.int32)
    return AssignedPartitions([assignments], len(entries))
