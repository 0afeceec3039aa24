"""CelebA, Liu, Luo, Wang, Tang 2015: 202,599 aligned faces with 40 Boolean attributes each.

The official partition: 162,770 / 19,867 / 19,962 pictures for train / val / test. A task asks for a pattern of three
attributes, and the attributes of the splits are disjoint: the first 20 of the list for train, the next 10 for val, the
last 10 for test (Hsu et al. 2019, section 4). How the authors brought 178x218 pixels to 84x84 is not known; here the
middle 178x178 are resized with smoothing, and --celeba_crop has other ways.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from cactus_tf.config.schema import option
from cactus_tf.contracts import DataContext
from cactus_tf.datasets._io import decoding, official_files, tfds
from cactus_tf.datasets._io.entries import Entry, Skipped, UnreadableError, listing, shown
from cactus_tf.datasets._io.preparing import Listed, prepare_files
from cactus_tf.datasets._io.shards import Decode
from cactus_tf.datasets._io.splits import NOT_CACHED
from cactus_tf.datasets._io.streamed import decode_stream
from cactus_tf.datasets.celeba import annotations
from cactus_tf.datasets.celeba.annotations import ATTRIBUTES
from cactus_tf.datasets.celeba.attributes import AttributePools
from cactus_tf.errors import InputError
from cactus_tf.types import Splits

logger = logging.getLogger(__name__)

VERSION = 1
TAKES = ("image_size",)
SIZE = 84  # pixels of a side, usually
ALIGNED = (178, 218)  # width, height of the official pictures
CROPS = {"square": 178, "none": None, "face146": 146, "face108": 108}  # side of the middle that is kept
OFFICIAL = {"train": 162_770, "val": 19_867, "test": 19_962}  # pictures
TFDS = {"train": "train", "val": "validation", "test": "test"}
OWN = {"train": slice(0, 20), "val": slice(20, 30), "test": slice(30, 40)}  # attributes
PAPER = {"train": 4287, "val": 391, "test": 402}  # pools
TASK = {"train": 6, "val": 10, "test": 10}  # shot + query with which the paper's pools were counted, we think
WANTED = (
    ("img_align_celeba", "img_align_celeba.zip", "Img/img_align_celeba", "Img/img_align_celeba.zip"),
    ("list_attr_celeba.txt", "Anno/list_attr_celeba.txt", "list_attr_celeba.csv"),
    ("list_eval_partition.txt", "Eval/list_eval_partition.txt", "list_eval_partition.csv"),
)
ORIGIN = "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html"
REMEDY = (
    "put img_align_celeba.zip, list_attr_celeba.txt and list_eval_partition.txt "
    f"from {ORIGIN} into a folder and name it as data_dir"
)
_LISTED = 1000  # missing pictures that prepared.json names


@dataclasses.dataclass(frozen=True)
class Options:
    """How pictures are cut."""

    crop: str = option(
        "square",
        "what of the aligned 178x218 pixels is resized: square (the middle 178x178), face146 or face108 (the middle "
        "146x146 or 108x108), none (all of them, distorted)",
    )


class Found(NamedTuple):
    """The pictures that are there.

    Attributes:
      splits: the files of each split with its own attributes, by rising name.
      missing: names of the pictures that are not there, by split.
      skipped: files that cannot be used.
    """

    splits: dict[str, Listed]
    missing: dict[str, list[str]]
    skipped: list[Skipped]


def load(data_dir: str | Path | None = None, context: DataContext = NOT_CACHED) -> Splits:
    """CelebA: 162,770 train, 19,867 val and 19,962 test images [84, 84, 3], or as many as there are.

    The partitions of a split are all pools of its attributes (see `AttributePools`).

    Args:
      data_dir: folder with the official files; None takes tensorflow-datasets.
      context: keeps the arrays. Pictures are decoded to files and copied piece by piece, so only a context that keeps
        nothing has all 3.4 GB in memory, once. The labels it keeps are the attributes, [n, 20] of train and [n, 10] of
        val and test.

    Raises:
      InputError: files are missing or break a rule, or not one picture for training is there.
    """
    read = locate(data_dir)
    splits = read(*decoder(context), context)
    _say_kept_without(splits, data_dir, context.folder)
    logger.info("celeba: %s", pool_counts(splits))
    return splits


def locate(data_dir: str | Path | None) -> Callable[[Decode, tuple[int, int, int], DataContext], Splits]:
    """The function that reads all pictures: it takes how to decode one, its shape then, and what keeps the arrays.

    Raises:
      InputError: data_dir is given and lacks files. Damage to them is found when they are read.
    """
    if data_dir is None:
        return _from_tfds
    return functools.partial(_from_files, official_files.find(data_dir, WANTED, ORIGIN))


@functools.lru_cache(8)
def files_key(data_dir: str | Path | None, eval_dir: str | Path | None) -> str | None:
    """Which of the pictures are there and their sizes; None where all are there and none is empty.

    Every complete source gives the same arrays. Sizes tell a file that was repaired from the damaged one.
    """
    if data_dir is None:
        return None
    found = find(*official_files.find(data_dir, WANTED, ORIGIN))
    complete = {split: len(listed.entries) for split, listed in found.splits.items()} == OFFICIAL
    if complete and all(entry.size for listed in found.splits.values() for entry in listed.entries):
        return None
    key = hashlib.blake2b(digest_size=8)
    for split, listed in found.splits.items():
        files = [(_last(entry), entry.size) for entry in listed.entries]
        key.update(repr((split, files)).encode("utf-8", "backslashreplace"))
        key.update(np.packbits(np.asarray(listed.labels)).tobytes())
    return key.hexdigest()


def decoder(context: DataContext) -> tuple[Decode, tuple[int, int, int]]:
    """The function from a file's bytes to an image, and the shape of the image.

    Raises:
      InputError: there is no such crop.
    """
    crop, size = (context.options or Options()).crop, context.image_size or SIZE
    if crop not in CROPS:
        raise InputError(f"--celeba_crop={crop}: there is no such crop; choose from {', '.join(CROPS)}")
    return functools.partial(image_array, crop=CROPS[crop], size=size), (size, size, 3)


def picture_decoder(shape: tuple[int, int, int], options: Options | None = None) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row; of pictures that are not the aligned ones the middle is taken."""
    return functools.partial(_face, shape=shape, crop=CROPS[(options or Options()).crop])


def _face(content: bytes, shape: tuple[int, int, int], crop: int | None) -> np.ndarray:
    with decoding.opened(content) as picture:
        aligned = picture.size == ALIGNED
    return image_array(content, crop, shape[0]) if aligned else decoding.array(content, shape)


def image_array(content: bytes, crop: int | None, size: int) -> np.ndarray:
    """A file's bytes -> [size, size, 3] uint8: the middle crop x crop pixels, resized with smoothing (Lanczos).

    Args:
      content: of the file.
      crop: pixels of a side; None keeps all of the picture.
      size: pixels of a side of the result.

    Raises:
      UnreadableError: no picture, or none of 178x218 pixels.
    """
    with decoding.opened(content) as picture:
        if picture.size != ALIGNED:
            raise UnreadableError(f"is {picture.width}x{picture.height} pixels, and aligned pictures are 178x218")
        colours = decoding.flattened(picture, 3)
        if crop is not None:
            left, top = ((side - crop) // 2 for side in ALIGNED)
            colours = colours.crop((left, top, left + crop, top + crop))
        return np.asarray(colours.resize((size, size), Image.Resampling.LANCZOS), np.uint8)


def find(pictures: Path, attribute_list: Path, part_list: Path) -> Found:
    """The pictures that both lists name and that are there.

    Raises:
      InputError: a list breaks a rule, or not one picture for training is there.
    """
    said = annotations.read(attribute_list, part_list)
    there, skipped = _by_name(pictures)
    splits, missing = {}, {}
    for part, split in enumerate(OFFICIAL):
        rows = np.flatnonzero(said.parts == part)
        present = np.array([said.names[i] in there for i in rows], bool)
        entries = [there.pop(said.names[i]) for i in rows[present]]
        splits[split] = Listed(entries, said.attributes[rows[present], OWN[split]])
        missing[split] = [said.names[i] for i in rows[~present]]
    if not splits["train"].entries:
        raise InputError(
            f"{shown(pictures)} holds no picture that {shown(part_list.name)} has for training: "
            f"it must hold files such as 000001.jpg; {REMEDY}"
        )
    unknown = [Skipped(shown(entry.name), f"is not in {shown(part_list.name)}") for entry in there.values()]
    return Found(splits, missing, [*skipped, *unknown])


def pool_counts(splits: Splits) -> str:
    """How many pools each split has, beside the paper's numbers."""
    counts = []
    for split, images in TASK.items():
        pools = getattr(splits, split).partitions
        number = pools.of_size(images) if pools is not None else 0
        counts.append(f"{number:,} {split} pools with {images} images a side (the paper: {PAPER[split]:,})")
    return ", ".join(counts)


def _say_kept_without(splits: Splits, data_dir: str | Path | None, folder: Path | None) -> None:
    """Warns of arrays that are kept as those of the complete set and are not: a later run would not read it again."""
    lacking = sum(OFFICIAL.values()) - sum(len(getattr(splits, split)) for split in OFFICIAL)
    if folder is not None and lacking and files_key(data_dir, None) is None:
        logger.warning(
            "celeba: %s lacks %s of %s pictures, which could not be read when it was made; to read them anew, delete "
            "it and the embedder, embeddings and partitions folders made from it",
            shown(folder),
            f"{lacking:,}",
            f"{sum(OFFICIAL.values()):,}",
        )


def _by_name(pictures: Path) -> tuple[dict[str, Entry], list[Skipped]]:
    """The jpg files of a folder or archive by the last part of their name; of several with one name the first."""
    found = listing(pictures, (".jpg", ".jpeg"))
    named: dict[str, Entry] = {}
    skipped = list(found.skipped)
    for entry in found.entries:
        name = _last(entry)
        if name in named:
            skipped.append(Skipped(shown(entry.name), f"has the name of {shown(named[name].name)}"))
        else:
            named[name] = entry
    if found.others:
        skipped.append(Skipped(shown(pictures.name), f"holds {found.others:,} files that do not end in .jpg"))
    return named, skipped


def _last(entry: Entry) -> str:
    """The last part of a file's name."""
    return entry.name.rpartition("/")[2]


def _from_files(paths: list[Path], decode: Decode, shape: tuple[int, int, int], context: DataContext) -> Splits:
    """The splits from the pictures and lists of a folder."""
    skipped: list[Skipped] = []
    missing: dict[str, Any] = {}

    def listed() -> Mapping[str, Listed]:
        found = find(*paths)
        skipped.extend(found.skipped)
        missing.update(_told(found))
        return found.splits

    def tell(notes: Mapping[str, Any]) -> None:
        context.report({**notes, **missing})

    telling = dataclasses.replace(context, report=tell)
    return prepare_files("celeba", listed, decode, lambda: shape, telling, skipped=skipped, partitions=AttributePools)


def _told(found: Found) -> dict[str, Any]:
    """What prepared.json is told of missing pictures, after a warning that counts them."""
    there = {split: len(listed.entries) for split, listed in found.splits.items()}
    names = [name for split in found.missing.values() for name in split]
    lacking = sum(OFFICIAL.values()) - sum(there.values())
    if there != OFFICIAL:
        counts = ", ".join(f"{there[split]:,} of {number:,} {split}" for split, number in OFFICIAL.items())
        some = f", the first is {shown(names[0])}" if names else ""
        logger.warning(
            "celeba: %s pictures are missing (there are %s)%s; the others are used", f"{lacking:,}", counts, some
        )
    return {"missing": {"number": lacking, "files": [shown(name) for name in names[:_LISTED]]}}


def _from_tfds(decode: Decode, shape: tuple[int, int, int], context: DataContext) -> Splits:
    """The splits from tensorflow-datasets, decoded as they stream by."""
    with tempfile.TemporaryDirectory(prefix="cactus_tf-") as passing:
        scratch = (context.folder or Path(passing)) / "partial"  # removed by `prepare_files`
        listed = functools.partial(_streamed, decode, shape, scratch)
        return prepare_files("celeba", listed, decode, lambda: shape, context, partitions=AttributePools)


def _streamed(decode: Decode, shape: tuple[int, int, int], scratch: Path) -> dict[str, Listed]:
    """The pictures of every split as rows below the folder."""
    splits = {}
    for split in OFFICIAL:
        attributes = [np.zeros((0, len(ATTRIBUTES)), bool)]
        made = decode_stream(_contents(split, attributes), decode, shape, scratch / split)
        splits[split] = Listed([], np.concatenate(attributes)[:, OWN[split]], made)
    return splits


def _contents(split: str, attributes: list[np.ndarray]) -> Iterator[bytes]:
    """The files of a split's pictures; adds their [n, 40] attributes to the list."""
    for batch in tfds.batches("celeb_a", TFDS[split], REMEDY, undecoded=("image",)):
        attributes.append(np.stack([batch["attributes"][name] for name in ATTRIBUTES], axis=1))
        yield from batch["image"]
