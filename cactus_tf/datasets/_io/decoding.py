"""Image files to arrays: any format, size, mode and rotation that people's folders hold. The decoding is Pillow's."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from cactus_tf.datasets._io.entries import UnreadableError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")  # by content, whatever the extension says
FITS = ("crop", "stretch", "pad")
MOST_PIXELS = 100_000_000  # a 100-megapixel camera; more is refused as a decompression bomb
_PAPER = 255  # what lies behind transparent pixels
_ORIENTATION = 0x0112  # of EXIF
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@contextlib.contextmanager
def opened(content: bytes | IO[bytes]) -> Iterator[Image.Image]:
    """The picture in these bytes or this file; of an animation the first frame. Its pixels are decoded on first use.

    Raises:
      UnreadableError: empty, no picture of the known formats, damaged, without pixels, or of too many; also from what
        is done with the picture in the block.
    """
    if not content:
        raise UnreadableError("is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    raise Image.DecompressionBombError
                if not image.width * image.height:
                    raise UnreadableError("has no pixels")
                yield image
    except UnreadableError:
        raise
    except Image.DecompressionBombError as error:
        raise UnreadableError(f"has more than {MOST_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableError("is no picture in a known format") from error
    except Exception as error:  # Pillow raises of every kind, and one file is no reason to stop
        raise UnreadableError("is truncated or damaged") from error


def array(content: bytes, shape: tuple[int, int, int], fit: str = "crop", *, reduced: bool = False) -> np.ndarray:
    """The picture in these bytes as [height, width, channels] uint8, upright, resized with smoothing (Lanczos).

    Args:
      content: a file's bytes.
      shape: of the result; one channel is grey, three are colour.
      fit: what becomes of another aspect ratio: "crop" keeps the middle, "stretch" all of it distorted, "pad" all of
        it with black bars.
      reduced: decode JPEG at an eighth, a quarter or half of its size where that is twice the result's at least:
        several times as fast for photos, at the price of differences by a grey level or so.

    Raises:
      UnreadableError: see `opened`.
    """
    height, width, channels = shape
    with opened(content) as image:
        if reduced:
            image.draft(None, (2 * max(width, height),) * 2)  # type: ignore[arg-type]
        return fitted(upright(image, flattened(image, channels)), shape, fit)


def fitted(image: Image.Image, shape: tuple[int, ...], fit: str = "crop") -> np.ndarray:
    """An 8-bit picture as [height, width, channels] uint8; arguments as of `array`."""
    height, width, channels = shape
    pixels = _fitted(image.convert("L" if channels == 1 else "RGB"), (width, height), fit)
    return np.asarray(pixels, np.uint8).reshape(shape)


def upright(image: Image.Image, pixels: Image.Image) -> Image.Image:
    """The pixels turned as the image's EXIF says; damaged EXIF says nothing."""
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # of every kind, as above
        turn = None
    return pixels if turn is None else pixels.transpose(turn)


def flattened(image: Image.Image, channels: int) -> Image.Image:
    """Grey (one channel) or colour (three), 8 bits, transparent pixels over white."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode.startswith("I"):
        return _eight_bits(image).convert(mode)
    if not image.has_transparency_data:
        return image.convert(mode)
    clear = image.convert("RGBA")
    paper = Image.new("RGBA", clear.size, (_PAPER, _PAPER, _PAPER, 255))
    return Image.alpha_composite(paper, clear).convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Of 16 bits of grey the upper ones."""
    deep = np.asarray(image, np.uint32)
    deep = np.where(deep == image.info.get("transparency"), 65535, deep)  # the value that stands for transparent pixels
    return Image.fromarray((np.minimum(deep, 65535) >> 8).astype(np.uint8))


def is_grey(image: Image.Image) -> bool:
    """Whether a picture's format has no colour; a coloured format may still hold grey pixels."""
    return image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")


def _fitted(image: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    if image.size == size:
        return image
    if fit == "stretch":
        return image.resize(size, Image.Resampling.LANCZOS)
    if fit == "pad":
        return _padded(image, size)
    return ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _padded(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """All of the image, a pixel thin at least, in the middle of black."""
    scale = min(size[0] / image.width, size[1] / image.height)
    width, height = (max(1, round(scale * side)) for side in image.size)
    padded = Image.new(image.mode, size)
    inside = image.resize((width, height), Image.Resampling.LANCZOS)
    padded.paste(inside, ((size[0] - width) // 2, (size[1] - height) // 2))
    return padded
