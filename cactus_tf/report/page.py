"""A page of sections as one self-contained HTML file: pictures are embedded, there are no scripts."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, NamedTuple


class Picture(NamedTuple):
    """A picture in the page.

    Attributes:
      data: the file.
      kind: "png", "jpeg" or "svg+xml".
      width: CSS pixels, on a screen that is wide enough.
      alt: description for screen readers.
      caption: text below it.
    """

    data: bytes
    kind: str
    width: int
    alt: str
    caption: str = ""

    @property
    def source(self) -> str:
        """A data URL."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"


class Table(NamedTuple):
    """Lines of cells, text or a `Picture`; columns whose index is in `names` hold words, the others numbers."""

    head: Sequence[str]
    lines: Sequence[Sequence[str | Picture]]
    names: Sequence[int] = (0,)


class Link(NamedTuple):
    """A text that leads to an address, a file beside the page."""

    text: str
    address: str


class Kind(NamedTuple):
    """Points of a `Scatter` that look alike: a CSS color, square or round, and what they are."""

    color: str
    square: bool
    link: Link


class Point(NamedTuple):
    """A picture as a point.

    Attributes:
      places: (x, y) from the upper left corner in each layout, 0..1.
      kind: number of its kind; None for the others, in gray.
      name: shown with its picture.
      address: where a click on it leads; "" for nowhere.
    """

    places: Sequence[tuple[float, float]]
    kind: int | None
    name: str
    address: str


class Scatter(NamedTuple):
    """Points whose pictures appear when pointed at, on a field of 4:3.

    Attributes:
      layouts: names of the ways to place the points; the first one is shown at first.
      points: later ones lie above earlier ones.
      kinds: of points.
      others: what points without a kind are; "" if there are none.
      sprite: pictures of the points in their order, in rows without gaps.
      columns: pictures in a row of the sprite.
      width, height: pixels of a picture in the sprite.
    """

    layouts: Sequence[str]
    points: Sequence[Point]
    kinds: Sequence[Kind]
    others: str
    sprite: Picture
    columns: int
    width: int
    height: int


class Section(NamedTuple):
    """A titled part of the page: paragraphs, links, a map, tables, pictures, preformatted text."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    preformatted: str = ""
    links: Sequence[Link] = ()
    scatter: Scatter | None = None


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The HTML of the page; every text is escaped."""
    return fill("page.html", title=title, subtitle=subtitle, sections=sections)


def fill(template: str, **values: Any) -> str:
    """A template of this folder with these values; every text is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("cactus_tf.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(template).render(**values)


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]
