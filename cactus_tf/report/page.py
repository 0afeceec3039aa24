"""A page of sections as one HTML file that needs nothing else: pictures are inside, there are no scripts."""

from __future__ import annotations

import base64
import importlib.resources
from collections.abc import Sequence
from typing import NamedTuple

_TEMPLATE = "page.html"


class Picture(NamedTuple):
    """A picture inside the page.

    Attributes:
      data: the file.
      kind: "png" or "svg+xml".
      width: CSS pixels, where the screen is wide enough.
      alt: what it shows, in words.
      caption: the line below it.
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
    """Lines of cells, text or a `Picture`; the columns `names`, counted from 0, hold words, the others numbers."""

    head: Sequence[str]
    lines: Sequence[Sequence[str | Picture]]
    names: Sequence[int] = (0,)


class Section(NamedTuple):
    """A titled part of the page: paragraphs, then tables, then pictures, then text as it was typed."""

    title: str
    paragraphs: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = ()
    typed: str = ""


def render(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The HTML of the page; every text is escaped."""
    import jinja2

    text = importlib.resources.files("cactus_tf.report").joinpath(_TEMPLATE).read_text()
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(text).render(title=title, subtitle=subtitle, sections=sections)


def capital(text: str) -> str:
    """With a capital at the beginning."""
    return text[:1].upper() + text[1:]


def short(name: str, letters: int) -> str:
    """The name, without its middle where it has more letters: what tells names apart is often at their end."""
    head, tail = letters // 2 - 1, letters - letters // 2
    return name if len(name) <= letters else f"{name[:head]}…{name[-tail:]}"
