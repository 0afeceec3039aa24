"""Pictures of more than 8 bits: the range of values that a data set uses, and their conversion to 8 bits.

Cameras, microscopes and depth sensors store 10, 12 or 14 bits in files of 16; read as 16 bits they are nearly black.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFile

log = logging.getLogger(__name__)

SHALLOW = (np.nan, np.nan, np.nan)  # the extremes of a picture of 8 bits
_WHITE = 255
_DARK = 16  # dark pictures use less than one of this many parts of a range
_PERCENT = 99  # of the pixels of a dark picture
_SAMPLED = 100_000  # pixels that the percentile is computed from


class PixelRange(NamedTuple):
    """The values that become 0 and 255."""

    low: float
    high: float

    @property
    def bits(self) -> int:
        """12 for 0..4095; 0 for a range that is not one of at least 8 whole bits."""
        bits = int(self.high).bit_length()
        return bits if self.low == 0 and bits >= 8 and self.high == 2**bits - 1 else 0

    def __str__(self) -> str:
        return f"{self.bits}-bit numbers" if self.bits else f"numbers in {self.low:g}..{self.high:g}"


SIXTEEN_BITS = PixelRange(0, 2**16 - 1)


def is_deep(image: Image.Image) -> bool:
    """Whether an open picture has more than 8 bits a channel."""
    return is_deep_gray(image) or _is_deep_color(image)


def is_deep_gray(image: Image.Image) -> bool:
    """Whether an open picture is gray with more than 8 bits: whole or floating-point numbers."""
    return image.mode.startswith(("I", "F"))


def extremes(image: Image.Image) -> tuple[float, float, float]:
    """Lowest and highest value and 99th percentile of an open picture; `SHALLOW` for one of 8 bits."""
    if not is_deep(image):
        return SHALLOW
    pixels = _numbers(image)[~_marked(image)] if is_deep_gray(image) else _most_by_upper_bits(image)
    pixels = pixels[np.isfinite(pixels)]
    if not pixels.size:
        return SHALLOW
    step = max(1, pixels.size // _SAMPLED)
    return float(pixels.min()), float(pixels.max()), float(np.percentile(pixels[::step], _PERCENT))


def used_range(found: np.ndarray) -> PixelRange | None:
    """The range of a data set with these `extremes`, [n, 3]; None where no picture is deep.

    It has whole bits, at least 8; is 0..1 where no value is above 1, as in floating-point pictures; and is exactly what
    is used where some values are negative.
    """
    deep = _deep(found)
    if not len(deep):
        return None
    low, high = float(deep[:, 0].min()), float(deep[:, 1].max())
    if low < 0:
        return PixelRange(low, max(high, low + 1))
    return PixelRange(0, 1) if high <= 1 else PixelRange(0, 2 ** max(8, int(high).bit_length()) - 1)


def report(name: str, found: np.ndarray, pixel_range: PixelRange) -> None:
    """Logs how the pictures with these `extremes` are read; warns of values outside the range and of dark pictures."""
    deep = _deep(found)
    if not len(deep):
        return
    low, high = deep[:, 0].min(), deep[:, 1].max()
    values = f"from {low:g} to {high:g}" if low < 0 else f"up to {high:g}"
    log.info("%s: %d pictures of 16 bits or more hold values %s, read as %s", name, len(deep), values, pixel_range)
    outside = np.count_nonzero((deep[:, 0] < pixel_range.low) | (deep[:, 1] > pixel_range.high))
    if outside:
        log.warning("%s: values of %d of these pictures are outside this range and are cut off", name, outside)
    bright = np.median(deep[:, 2])
    if bright - pixel_range.low < (pixel_range.high - pixel_range.low) / _DARK:
        log.warning(
            "%s: half of these pictures are dark, with %d%% of their pixels at most %g of %g: rescale them unless they "
            "are meant to be", name, _PERCENT, bright, pixel_range.high,
        )  # fmt: skip


def shallow(image: Image.Image, pixel_range: PixelRange, content: bytes = b"") -> Image.Image:
    """A deep picture with 8 bits a channel; values outside the range are cut off, transparent gray pixels are white.

    Args:
      image: the picture.
      pixel_range: what becomes 0 and 255.
      content: bytes of its file; without them the upper 8 bits of colors are used.
    """
    if is_deep_gray(image):
        return Image.fromarray(np.where(_marked(image), np.uint8(_WHITE), scaled(_numbers(image), pixel_range)))
    pixels = _sixteen_bits(image, content)
    colors = 3 if pixels.shape[-1] > 2 else 1
    parts = scaled(pixels[..., :colors], pixel_range), (pixels[..., colors:] >> 8).astype(np.uint8)
    return Image.fromarray(np.concatenate(parts, axis=-1))


def _sixteen_bits(image: Image.Image, content: bytes) -> np.ndarray:
    """[height, width, channels] uint16 of a color picture. TensorFlow reads all bits of PNG, Pillow the upper 8."""
    if image.format != "PNG" or not content:
        return np.asarray(image, np.uint16) * np.uint16(257)
    import tensorflow as tf

    return tf.io.decode_png(content, dtype=tf.uint16).numpy()


def scaled(numbers: np.ndarray, pixel_range: PixelRange) -> np.ndarray:
    """Numbers to uint8: those of n bits lose the lower n - 8, others are scaled and rounded; all are cut off."""
    if pixel_range.bits:
        levels = np.floor(numbers * np.float32(2.0 ** (8 - pixel_range.bits)))  # exact
    else:
        factor = _WHITE / (pixel_range.high - pixel_range.low)
        levels = np.rint((numbers - np.float32(pixel_range.low)) * np.float32(factor))
    return np.nan_to_num(levels, nan=0).clip(0, _WHITE).astype(np.uint8)


def _is_deep_color(image: Image.Image) -> bool:
    """Whether a PNG or TIFF file has 16 bits a channel, of which Pillow reads the upper 8."""
    if not isinstance(image, ImageFile.ImageFile) or image.format not in ("PNG", "TIFF"):
        return False
    return any("16" in str(tile[3]) for tile in image.tile)


def _numbers(image: Image.Image) -> np.ndarray:
    """[height, width] float32."""
    return np.asarray(image, np.float32)


def _marked(image: Image.Image) -> np.ndarray:
    """[height, width] bool: the value that marks transparent pixels."""
    return np.asarray(image) == image.info.get("transparency")


def _most_by_upper_bits(image: Image.Image) -> np.ndarray:
    """[pixels] float32, the largest 16-bit numbers with these upper 8 bits; they use as many bits."""
    return np.asarray(image.convert("RGB"), np.float32).ravel() * 256 + 255


def _deep(found: np.ndarray) -> np.ndarray:
    """The `extremes` of deep pictures."""
    return found[~np.isnan(found[:, 1])]
