"""Image files to arrays: any format, size, mode and rotation that people's folders hold. The decoding is Pillow's."""

from __future__ import annotations

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps

from cactus_tf.datasets._entries import UnreadableError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")  # by content, whatever the extension says
FITS = ("crop", "stretch", "pad")
MOST_PIXELS = 100_000_000  # a 100-megapixel camera; more is refused as a decompression bomb
_PAPER = 255  # what lies behind transparent pixels
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, zlib.error, struct.error, MemoryError)


@contextlib.contextmanager
def opened(content: bytes) -> Iterator[Image.Image]:
    """The picture in these bytes; of an animation the first frame. Its pixels are decoded on first use.

    Raises:
      UnreadableError: empty, no picture of the known formats, damaged, without pixels, or of too many; also from what
        is done with the picture in the block.
    """
    if not content:
        raise UnreadableError("is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                if not image.width * image.height:
                    raise UnreadableError("has no pixels")
                yield image
    except Image.DecompressionBombError as error:
        raise UnreadableError(f"has more than {MOST_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableError("is no picture in a known format") from error
    except _DAMAGE as error:
        raise UnreadableError("is truncated or damaged") from error


def array(content: bytes, shape: tuple[int, int, int], fit: str = "crop") -> np.ndarray:
    """The picture in these bytes as [height, width, channels] uint8, upright, resized with smoothing (Lanczos).

    Args:
      content: a file's bytes.
      shape: of the result; one channel is grey, three are colour.
      fit: what becomes of another aspect ratio: "crop" keeps the middle, "stretch" all of it distorted, "pad" all of
        it with black bars.

    Raises:
      UnreadableError: see `opened`.
    """
    height, width, channels = shape
    with opened(content) as image:
        upright = ImageOps.exif_transpose(flattened(image, channels))
        fitted = _fitted(upright, (width, height), fit)
        return np.asarray(fitted, np.uint8).reshape(shape)


def flattened(image: Image.Image, channels: int) -> Image.Image:
    """Grey (one channel) or colour (three), 8 bits, transparent pixels over white."""
    if image.mode.startswith("I"):  # 16 bits of grey
        deep = np.asarray(image, np.uint32)
        flat = Image.fromarray((np.minimum(deep, 65535) >> 8).astype(np.uint8))
        flat.info = image.info
        if orientation := image.getexif().get(0x0112):
            flat.getexif()[0x0112] = orientation
        image = flat
    if image.has_transparency_data:
        clear = image.convert("RGBA")
        paper = Image.new("RGBA", clear.size, (_PAPER, _PAPER, _PAPER, 255))
        paper.info, exif = image.info, image.getexif()
        image = Image.alpha_composite(paper, clear)
        image.info["exif"] = exif.tobytes()
    return image.convert("L" if channels == 1 else "RGB")


def is_grey(image: Image.Image) -> bool:
    """Whether a picture's format has no colour; a coloured format may still hold grey pixels."""
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def _fitted(image: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    if image.size == size:
        return image
    if fit == "stretch":
        return image.resize(size, Image.Resampling.LANCZOS)
    if fit == "pad":
        return ImageOps.pad(image, size, Image.Resampling.LANCZOS)
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)
