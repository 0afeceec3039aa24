"""miniImageNet's classes as split by Ravi and Larochelle (2017), and how their image names relate to ImageNet's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cactus_tf.datasets._io.entries import Entry

IMAGES = 600  # of each class
WNID = re.compile(r"n[0-9]{8}")
_IMAGENET_NAME = re.compile(r"n[0-9]{8}_([0-9]+)")
_RAVI_NAME = re.compile(r"n[0-9]{8}([0-9]{8})")

_TEXT = {
    "train": """
        n01532829 n01558993 n01704323 n01749939 n01770081 n01843383 n01910747 n02074367 n02089867 n02091831
        n02101006 n02105505 n02108089 n02108551 n02108915 n02111277 n02113712 n02120079 n02165456 n02457408
        n02606052 n02687172 n02747177 n02795169 n02823428 n02966193 n03017168 n03047690 n03062245 n03207743
        n03220513 n03337140 n03347037 n03400231 n03476684 n03527444 n03676483 n03838899 n03854065 n03888605
        n03908618 n03924679 n03998194 n04067472 n04243546 n04251144 n04258138 n04275548 n04296562 n04389033
        n04435653 n04443257 n04509417 n04515003 n04596742 n04604644 n04612504 n06794110 n07584110 n07697537
        n07747607 n09246464 n13054560 n13133613
    """,
    "val": """
        n01855672 n02091244 n02114548 n02138441 n02174001 n02950826 n02971356 n02981792 n03075370 n03417042
        n03535780 n03584254 n03770439 n03773504 n03980874 n09256479
    """,
    "test": """
        n01930112 n01981276 n02099601 n02110063 n02110341 n02116738 n02129165 n02219486 n02443484 n02871525
        n03127925 n03146219 n03272010 n03544143 n03775546 n04146614 n04149813 n04418357 n04522168 n07613480
    """,
}
CLASSES = {split: tuple(text.split()) for split, text in _TEXT.items()}
"""WordNet ids of each split: 64, 16 and 20, sorted."""
SPLIT_OF = {wnid: split for split, wnids in CLASSES.items() for wnid in wnids}


def imagenet_number(stem: str) -> int | None:
    """629 from ImageNet's own n01532829_629, None from any other name."""
    match = _IMAGENET_NAME.fullmatch(stem)
    return int(match[1]) if match else None


def position(stem: str) -> int | None:
    """5 from Ravi's n0153282900000005, None from any other name."""
    match = _RAVI_NAME.fullmatch(stem)
    return int(match[1]) if match else None


def own_class(stem: str) -> str | None:
    """n01532829 from Ravi's n0153282900000005 or ImageNet's n01532829_629, None from any other name."""
    named = _RAVI_NAME.fullmatch(stem) or _IMAGENET_NAME.fullmatch(stem)
    return stem[:9] if named and stem[:9] in SPLIT_OF else None


def by_number(entries: Sequence[Entry]) -> list[Entry]:
    """Files of one class by the number in ImageNet's names; files with other names come last, by name.

    Ravi's lists give an image by its position in this order, from 1, counted in the whole folder of ImageNet's training
    images: in a folder that lacks some, positions after the first gap give other images.
    """

    def key(entry: Entry) -> tuple[bool, int, str]:
        number = imagenet_number(entry.stem)
        return number is None, number or 0, entry.name

    return sorted(entries, key=key)
