"""A page of sections as one self-contained HTML file: pictures are embedded, there are no scripts."""

from __future__ import annotations

import base64
import importlib.resources
from collections.abc import Sequence
from typing import NamedTuple

_TEMPLATE = "page.html"


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


class Section(NamedTuple):
    """A titled part of the page: paragraphs, then tables, then pictures, then preformatted text."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    preformatted: str = ""


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The HTML of the page; every text is escaped."""
    import jinja2

    text = importlib.resources.files("cactus_tf.report").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(text).render(title=title, subtitle=subtitle, sections=sections)


def capital(text: str) -> str:
    """With a capital first letter."""
    return text[:1].upper() + text[1:]
