"""Which files are pictures: the formats that Pillow reads here, and their extensions."""

from __future__ import annotations

import contextlib

from PIL import Image

_WANTED = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF", "HEIF")
_NEEDS = {
    "Pillow 11.3 or later": (".avif", ".avifs"),
    "the package pillow-heif": (".heic", ".heics", ".heif", ".heifs", ".hif"),
}

with contextlib.suppress(ImportError):  # optional: Pillow reads HEIC only with this package
    import pillow_heif

    pillow_heif.register_heif_opener()

_READ = {extension: kind for extension, kind in Image.registered_extensions().items() if kind in _WANTED}

EXTENSIONS = tuple(sorted(_READ))
PILLOW_FORMATS = tuple(kind for kind in _WANTED if kind in _READ.values())  # recognized by content, whatever the name


def needs(extension: str) -> str:
    """What is missing to read files with this extension; "" if it is no known format, or nothing is missing."""
    missing = (what for what, extensions in _NEEDS.items() if extension in extensions and extension not in EXTENSIONS)
    return next(missing, "")
