"""Image files to arrays with Pillow: any format, size, mode and orientation that people's folders hold."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from cactus_tf.datasets._io import depth
from cactus_tf.datasets._io.depth import PixelRange
from cactus_tf.datasets._io.entries import UnreadableError
from cactus_tf.datasets._io.picture_formats import PILLOW_FORMATS

FITS = ("crop", "stretch", "pad")
MOST_PIXELS = 100_000_000  # a 100-megapixel camera; more is refused as a decompression bomb
_ORIENTATION = 0x0112  # Exif's number
_BACKGROUND = 255  # behind transparent pixels
_BOMB = (Image.DecompressionBombError, Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", module=r"PIL\.")  # once: changing filters while threads decode is not safe


@contextlib.contextmanager
def opened(content: bytes | IO[bytes]) -> Iterator[Image.Image]:
    """The picture in these bytes or this file, the first frame of an animation. Pixels are decoded on first use."""
    if not content:
        raise UnreadableError("is empty")
    try:
        file = io.BytesIO(content) if isinstance(content, bytes) else content
        with Image.open(file, formats=PILLOW_FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Image.DecompressionBombError
            if not image.width * image.height:
                raise UnreadableError("has no pixels")
            yield image
    except UnreadableError:
        raise
    except _BOMB as error:
        raise UnreadableError(f"has more than {MOST_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise UnreadableError("is not a picture in a known format") from error
    except Exception as error:  # Pillow raises errors of every kind, and one file must not stop the others
        raise UnreadableError("is truncated or damaged") from error


def array(
    content: bytes,
    shape: tuple[int, ...],
    fit: str = "crop",
    *,
    reduced: bool = False,
    pixel_range: PixelRange | None = None,
) -> np.ndarray:
    """The picture in these bytes as [height, width, channels] uint8, upright, resized with smoothing (Lanczos).

    Args:
      content: a file's bytes.
      shape: of the result; one channel is gray, three are color.
      fit: for another aspect ratio: "crop" keeps the middle, "stretch" distorts, "pad" adds black bars.
      reduced: decode JPEG at 1/8, 1/4 or 1/2 of its size where that is at least twice the result's: several times as
        fast for photos, with differences of about one gray level.
      pixel_range: of a data set that has pictures with more than 8 bits.
    """
    if pixel_range is not None:
        content = eight_bits(content, pixel_range)
    height, width, channels = shape
    with opened(content) as image:
        if reduced:
            image.draft(None, (2 * max(width, height),) * 2)  # type: ignore[arg-type]
        turn_upright(image)
        return fitted(flattened(image, channels), shape, fit)


def fitted(image: Image.Image, shape: tuple[int, ...], fit: str = "crop") -> np.ndarray:
    """An 8-bit picture as [height, width, channels] uint8; arguments as of `array`."""
    height, width, channels = shape
    pixels = _resized(image.convert("L" if channels == 1 else "RGB"), (width, height), fit)
    return np.asarray(pixels, np.uint8).reshape(shape)


def turn_upright(image: Image.Image) -> None:
    """Turns a picture in place by its EXIF orientation; damaged EXIF is ignored."""
    image.load()  # damaged pixels are an error
    with contextlib.suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)


def flattened(image: Image.Image, channels: int) -> Image.Image:
    """Gray (one channel) or color (three), 8 bits, transparent pixels over white.

    Of gray pictures with more bits, whole numbers are read as 16 bits and others in the range of this picture;
    `eight_bits` reads pictures in the range of a data set.
    """
    mode = "L" if channels == 1 else "RGB"
    if depth.is_deep_gray(image):
        own = depth.used_range(np.array([depth.extremes(image)])) if image.mode == "F" else None
        return depth.shallow(image, own or depth.SIXTEEN_BITS).convert(mode)
    if not image.has_transparency_data:
        return image.convert(mode)
    clear = image.convert("RGBA")
    background = Image.new("RGBA", clear.size, (_BACKGROUND, _BACKGROUND, _BACKGROUND, 255))
    return Image.alpha_composite(background, clear).convert(mode)


def eight_bits(content: bytes, pixel_range: PixelRange) -> bytes:
    """The same file; or, of a picture with more than 8 bits, a PNG with 8 bits and its orientation.

    Raises:
      UnreadableError: the bytes are not a picture, or it is damaged.
    """
    with opened(content) as image:
        if not depth.is_deep(image):
            return content
        file, orientation = io.BytesIO(), _orientation(image)
        depth.shallow(image, pixel_range, content).save(file, "PNG", compress_level=0, exif=orientation)
        return file.getvalue()


def in_range(content: bytes, decode: Callable[[bytes], np.ndarray], pixel_range: PixelRange) -> np.ndarray:
    """What `decode` gives for a picture in the range of its data set."""
    return decode(eight_bits(content, pixel_range))


def _orientation(image: Image.Image) -> Image.Exif:
    """Exif with nothing but the orientation."""
    exif = Image.Exif()
    with contextlib.suppress(Exception):
        exif[_ORIENTATION] = image.getexif().get(_ORIENTATION, 1)
    return exif


def is_gray(image: Image.Image) -> bool:
    """Whether a picture's format has no color; a color format may still hold gray pixels."""
    return image.mode in ("1", "L", "LA", "La") or depth.is_deep_gray(image)


def _resized(image: Image.Image, size: tuple[int, int], fit: str) -> Image.Image:
    if image.size == size:
        return image
    if fit == "stretch":
        return image.resize(size, Image.Resampling.LANCZOS)
    return _padded(image, size) if fit == "pad" else ImageOps.fit(image, size, Image.Resampling.LANCZOS)


def _padded(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """All of the image in the middle of black; `ImageOps.pad` drops images that become thinner than a pixel."""
    scale = min(size[0] / image.width, size[1] / image.height)
    width, height = (max(1, round(scale * side)) for side in image.size)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    inside = image.resize((width, height), Image.Resampling.LANCZOS)
    return inside.crop((-left, -top, size[0] - left, size[1] - top))
