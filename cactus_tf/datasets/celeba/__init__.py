"""CelebA, Liu, Luo, Wang, Tang 2015: 202,599 aligned faces with 40 Boolean attributes each.

The official partition: 162,770 / 19,867 / 19,962 pictures for train / val / test. A task asks for a pattern of three
attributes, and the attributes of the splits are disjoint: the first 20 of the list for train, the next 10 for val, the
last 10 for test (Hsu et al. 2019, section 4). How the authors cut 178x218 pixels to 84x84 is unknown; here the middle
178x178 are resized with smoothing, and --celeba_crop has other ways.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cactus_tf.config.schema import option
from cactus_tf.contracts import DataContext, DatasetInfo
from cactus_tf.datasets._io import archives, decoding, official_files, tfds
from cactus_tf.datasets._io.entries import Entry, Skipped, UnreadableError, shown
from cactus_tf.datasets._io.listing import listing
from cactus_tf.datasets._io.preparing import NOT_CACHED, Listed, SplitFiles, prepare_files
from cactus_tf.datasets._io.rows import Decoding, decode_stream
from cactus_tf.datasets.celeba.annotations import ATTRIBUTES, Annotations, read_annotations
from cactus_tf.datasets.celeba.attributes import AttributePools
from cactus_tf.errors import InputError
from cactus_tf.types import Splits

log = logging.getLogger(__name__)

SIZE = 84  # default pixels of a side
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
BELOW = (".", "celeba", "CelebA")  # subfolders that other libraries make
_EXTENSIONS = (".jpg", ".jpeg")
_LEAST_HEIGHT = 27  # pixels, an eighth
_NAMED = 1000  # missing pictures that prepared.json names


@dataclasses.dataclass(frozen=True)
class Options:
    """How pictures are cut."""

    crop: str = option(
        "square",
        "part of the aligned 178x218 pixels: square (middle 178x178), face146 or face108 (middle 146x146 or 108x108), "
        "none (all of them, distorted)",
        source="ours",
    )


class FaceFiles(NamedTuple):
    """The pictures that exist.

    Attributes:
      splits: the files of each split with its own attributes, by rising name.
      missing: names of the pictures that do not exist.
      skipped: files that cannot be used.
    """

    splits: dict[str, Listed]
    missing: list[str]
    skipped: list[Skipped]


def load(data_dir: str | Path | None = None, context: DataContext = NOT_CACHED) -> Splits:
    """CelebA: 162,770 train, 19,867 val and 19,962 test images [84, 84, 3], or as many as exist.

    The partitions of a split are all pools of its attributes (see `AttributePools`).

    Args:
      data_dir: folder with the official files; None downloads them by tensorflow-datasets.
      context: stores the arrays, piece by piece; only a context that stores nothing has all 3.4 GB in memory, once.
        Labels are the attributes, [n, 20] of train and [n, 10] of val and test.

    Raises:
      InputError: files are missing or break a rule, or there is no picture for training.
    """
    list_files, how = locate(data_dir), decoding_of(context)
    splits = prepare_files("celeba", functools.partial(list_files, how), lambda *_: how, context, AttributePools)
    _warn_of_stored(splits, data_dir, context.folder)
    log.info("celeba: %s", pool_counts(splits))
    return splits


def locate(data_dir: str | Path | None) -> Callable[[Decoding, Path], SplitFiles]:
    """The function that lists the pictures, or downloads and decodes them: of the decoding and of a working folder.

    Raises:
      InputError: data_dir is given and lacks files. Damaged files are an error when they are read.
    """
    if data_dir is None:
        return _download
    return functools.partial(_list_files, sources(data_dir))


def sources(data_dir: str | Path) -> list[Path]:
    """The pictures and the two lists; where a folder and an archive hold pictures, the one that holds more.

    Raises:
      InputError: the folder lacks files.
    """
    pictures, *lists = official_files.alternatives(data_dir, WANTED, ORIGIN, BELOW)
    return [_fullest(tuple(pictures)), *(paths[0] for paths in lists)]


@functools.lru_cache(8)
def files_key(data_dir: str | Path | None, eval_dir: str | Path | None) -> str | None:
    """A key of the names and sizes of the pictures; None where none is missing or empty, and they have 178x218 pixels.

    Every complete source of such pictures gives the same arrays. Sizes tell a repaired file from the damaged one.
    """
    if data_dir is None:
        return None
    faces = find(*sources(data_dir))
    complete = {split: len(listed.entries) for split, listed in faces.splits.items()} == OFFICIAL
    whole = complete and all(entry.size for listed in faces.splits.values() for entry in listed.entries)
    if whole and _first_size(faces) in (None, ALIGNED):
        return None
    key = hashlib.blake2b(digest_size=8)
    for split, listed in faces.splits.items():
        files = [(_last(entry), entry.size) for entry in listed.entries]
        key.update(repr((split, files)).encode("utf-8", "backslashreplace"))
        key.update(np.packbits(np.asarray(listed.labels)).tobytes())
    return key.hexdigest()


def decoding_of(context: DataContext) -> Decoding:
    """How pictures become images; InputError for an unknown crop."""
    crop, size = (context.options or Options()).crop, context.image_size or SIZE
    if crop not in CROPS:
        raise InputError(f"--celeba_crop={crop}: choose from {', '.join(CROPS)}")
    return Decoding(functools.partial(image_array, crop=CROPS[crop], size=size), (size, size, 3))


def picture_decoder(shape: tuple[int, ...], options: Options | None = None) -> Callable[[bytes], np.ndarray]:
    """The function from a picture's bytes to its row; of pictures of other sizes the middle is taken."""
    return functools.partial(_face, shape=shape, crop=CROPS[(options or Options()).crop])


def _face(content: bytes, shape: tuple[int, ...], crop: int | None) -> np.ndarray:
    with decoding.opened(content) as picture:
        aligned = _is_aligned(picture.size)
    return image_array(content, crop, shape[0]) if aligned else decoding.array(content, shape)


def image_array(content: bytes, crop: int | None, size: int) -> np.ndarray:
    """A file's bytes -> [size, size, 3] uint8: the middle crop x crop pixels, resized with smoothing (Lanczos).

    Args:
      content: of the file.
      crop: pixels of a side, of 178x218; None takes the whole picture.
      size: pixels of a side of the result.
    """
    with decoding.opened(content) as picture:
        if not _is_aligned(picture.size):
            width, height = picture.size
            raise UnreadableError(f"is {width}x{height} pixels, and aligned pictures are 178x218 or of the same shape")
        colors = decoding.flattened(picture, 3)
        if crop is not None:
            side = round(crop * picture.width / ALIGNED[0])
            left, top = (picture.width - side) // 2, (picture.height - side) // 2
            colors = colors.crop((left, top, left + side, top + side))
        return np.asarray(colors.resize((size, size), Image.Resampling.LANCZOS), np.uint8)


def find(pictures: Path, attribute_list: Path, part_list: Path) -> FaceFiles:
    """The pictures that both lists name and that exist."""
    rows = read_annotations(attribute_list, part_list)
    by_name, skipped = _by_name(pictures)
    present = np.array([name in by_name for name in rows.names], bool)
    first = min(by_name, default="no .jpg")
    splits = {}
    for part, split in enumerate(OFFICIAL):
        chosen = np.flatnonzero(present & (rows.parts == part))
        splits[split] = Listed([by_name.pop(rows.names[i]) for i in chosen], rows.attributes[chosen, OWN[split]])
    if not splits["train"].entries:
        raise InputError(
            f"{shown(pictures)} holds no picture that {shown(part_list.name)} lists for training: "
            f"it must hold files such as {shown(rows.names[0]) if rows.names else '000001.jpg'}, and the first is "
            f"{shown(first)}; {REMEDY}"
        )
    unknown = [Skipped(shown(entry.name), f"is not in {shown(part_list.name)}") for entry in by_name.values()]
    missing = [name for part in range(len(OFFICIAL)) for name in _names_at(rows, ~present & (rows.parts == part))]
    return FaceFiles(splits, missing, [*skipped, *unknown])


def pool_counts(splits: Splits) -> str:
    """How many pools each split has, beside the paper's numbers."""
    counts = []
    for split, images in TASK.items():
        pools = getattr(splits, split).partitions
        number = pools.of_size(images) if pools is not None else 0
        counts.append(f"{number:,} {split} pools with {images} images a side (the paper: {PAPER[split]:,})")
    return ", ".join(counts)


def _warn_of_stored(splits: Splits, data_dir: str | Path | None, folder: Path | None) -> None:
    """Warns of stored arrays that lack pictures although the files are complete: they are not read again."""
    lacking = sum(OFFICIAL.values()) - sum(len(getattr(splits, split)) for split in OFFICIAL)
    if folder is not None and lacking and files_key(data_dir, None) is None:
        log.warning(
            "celeba: %s lacks %s of %s pictures, which could not be read when it was made; to read them again, delete "
            "it and the embedder, embeddings and partitions folders made from it",
            shown(folder),
            f"{lacking:,}",
            f"{sum(OFFICIAL.values()):,}",
        )


def _is_aligned(size: tuple[int, int]) -> bool:
    """Whether width and height have the proportions of 178x218, up to a pixel."""
    width, height = size
    return height >= _LEAST_HEIGHT and abs(width - height * ALIGNED[0] / ALIGNED[1]) < 1


def _first_size(faces: FaceFiles) -> tuple[int, int] | None:
    """Width and height of the first picture for training; None where it cannot be read."""
    entry = faces.splits["train"].entries[0]
    try:
        content = archives.member(entry) if entry.archived else entry.read()
        with decoding.opened(content) as picture:
            return picture.size
    except UnreadableError:
        return None


@functools.lru_cache(8)
def _fullest(places: tuple[Path, ...]) -> Path:
    """The folder or archive with the most pictures; the first of several."""
    if len(places) == 1:
        return places[0]
    numbers = [_number(place) for place in places]
    fullest = places[numbers.index(max(numbers))]
    if fullest != places[0]:
        counts = ", ".join(f"{number:,} in {place.name}" for number, place in zip(numbers, places, strict=True))
        log.warning("celeba: pictures: %s; reading %s", counts, shown(fullest))
    return fullest


def _number(place: Path) -> int:
    """The number of pictures in a folder or archive; 0 for a damaged archive."""
    try:
        return len(listing(place, _EXTENSIONS).entries)
    except InputError:
        return 0


def _names_at(rows: Annotations, mask: np.ndarray) -> list[str]:
    return [rows.names[i] for i in np.flatnonzero(mask)]


def _by_name(pictures: Path) -> tuple[dict[str, Entry], list[Skipped]]:
    """The jpg files of a folder or archive by the last part of their name; of several with one name the first."""
    listed = listing(pictures, _EXTENSIONS)
    named: dict[str, Entry] = {}
    skipped = list(listed.skipped)
    for entry in listed.entries:
        first = named.setdefault(_last(entry), entry)
        if first is not entry:
            skipped.append(Skipped(shown(entry.name), f"has the name of {shown(first.name)}"))
    return named, [*skipped, *listed.other_files(pictures.name)]


def _last(entry: Entry) -> str:
    """The last part of a file's name."""
    return entry.name.rpartition("/")[2]


def _list_files(paths: list[Path], how: Decoding, folder: Path) -> SplitFiles:
    """The pictures of a folder, after a warning that counts the missing ones."""
    faces = find(*paths)
    present = {split: len(listed.entries) for split, listed in faces.splits.items()}
    lacking = sum(OFFICIAL.values()) - sum(present.values())
    if present != OFFICIAL:
        counts = ", ".join(f"{present[split]:,} of {number:,} {split}" for split, number in OFFICIAL.items())
        first = f", such as {shown(faces.missing[0])}" if faces.missing else ""
        log.warning("celeba: %s pictures are missing%s; using %s", f"{lacking:,}", first, counts)
    size = _first_size(faces)
    if size and size != ALIGNED and _is_aligned(size):
        log.warning("celeba: pictures are %dx%d pixels instead of 178x218; they are cut and resized alike", *size)
    missing = {"number": lacking, "files": [shown(name) for name in faces.missing[:_NAMED]]}
    return SplitFiles(faces.splits, faces.skipped, lambda _: {"missing": missing})


def _download(how: Decoding, folder: Path) -> SplitFiles:
    """The pictures from tensorflow-datasets, decoded below the folder as they stream by."""
    splits = {}
    for split in OFFICIAL:
        attributes = [np.zeros((0, len(ATTRIBUTES)), bool)]
        decoded = decode_stream(_contents(split, attributes), how, folder / split)
        splits[split] = Listed([], np.concatenate(attributes)[:, OWN[split]], decoded)
    return SplitFiles(splits, [])


def _contents(split: str, attributes: list[np.ndarray]) -> Iterator[Sequence[bytes]]:
    """Batches of the files of a split's pictures; adds their [n, 40] attributes to the list."""
    for batch in tfds.batches("celeb_a", TFDS[split], REMEDY, undecoded=("image",)):
        attributes.append(np.stack([batch["attributes"][name] for name in ATTRIBUTES], axis=1))
        yield batch["image"]


INFO = DatasetInfo(takes=("image_size",), files_key=files_key, picture_decoder=picture_decoder)
