"""Pictures composed of images: rows, sheets, framed tasks, PNG files."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from cactus_tf.report.page import Picture

SUPPORT, QUERY, WRONG = (0, 114, 178), (190, 190, 190), (213, 94, 0)
"""Colors of frames (Okabe and Ito 2008, for color-blind readers); wrong predictions have a marked corner, too."""
MOST = 10
"""Support images, and queries, of a label that a task shows by default."""
_SMALL, _LARGE = 28, 64  # pixels: smaller images are enlarged, larger ones reduced
_FRAME, _GAP = 2, 3  # pixels
_MUCH = 20_000  # bytes of a PNG file from which on JPEG is tried
_QUALITIES = (75, 60, 45, 30, 15)  # of JPEG, the usual one first
_SAMPLED = 100  # images that determine the background


def drawings(images: np.ndarray) -> bool:
    """Whether these are gray images that are mostly 0: drawings, better shown dark on white.

    Args:
      images: [n, h, w, c] uint8.
    """
    return images.shape[-1] == 1 and not np.median(images[:: max(1, len(images) // _SAMPLED)])


def tiles(images: np.ndarray, invert: bool = False, most: int = _LARGE) -> np.ndarray:
    """Images for display, [..., h, w, c] -> [..., H, W, 3] uint8 with 28 to 64 pixels on the longer side.

    Args:
      images: uint8, or float32 in 0..1; one channel or three.
      invert: whether to swap black and white.
      most: pixels on the longer side, if not 64.
    """
    flat = images.reshape(-1, *images.shape[-3:])
    flat = flat if flat.dtype == np.uint8 else np.rint(255 * flat).astype(np.uint8)
    flat = 255 - flat if invert else flat
    flat = np.stack([_resized(image, most) for image in flat]) if len(flat) else flat
    return np.broadcast_to(flat, (*flat.shape[:-1], 3)).reshape(*images.shape[:-3], *flat.shape[1:-1], 3)


def framed(shown: np.ndarray, color: Sequence[int]) -> np.ndarray:
    """[..., h, w, 3] -> [..., h + 4, w + 4, 3]: each in a colored frame."""
    height, width = shown.shape[-3:-1]
    frame = np.empty((*shown.shape[:-3], height + 2 * _FRAME, width + 2 * _FRAME, 3), np.uint8)
    frame[:] = color
    frame[..., _FRAME:-_FRAME, _FRAME:-_FRAME, :] = shown
    return frame


def sheet(rows: Sequence[np.ndarray], gap: int = _GAP) -> np.ndarray:
    """Rows of tiles, each [m, h, w, 3], as one picture on white; rows may differ in length."""
    height, width = rows[0].shape[1:3]
    columns = max(len(row) for row in rows)
    picture = np.full((len(rows) * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, tile in enumerate(row):
            top, left = i * (height + gap), j * (width + gap)
            picture[top : top + height, left : left + width] = tile
    return picture


def task(
    support: np.ndarray, query: np.ndarray, wrong: np.ndarray | None = None, invert: bool = False, most: int = MOST
) -> np.ndarray:
    """One task, a row per label: support images framed in blue, then queries in gray.

    Args:
      support: [way, shot, h, w, c] uint8, or float32 in 0..1.
      query: [way, query, h, w, c], alike.
      wrong: [way, query] whether the prediction is wrong: framed in orange, with a marked corner.
      invert: whether to swap black and white.
      most: images of either part in a row.

    Returns:
      [H, W, 3] uint8.
    """
    left = framed(tiles(support[:, :most], invert), SUPPORT)
    right = framed(tiles(query[:, :most], invert), QUERY)
    if wrong is not None:
        chosen = wrong[:, :most].astype(bool)
        right[chosen] = _marked(right[chosen])
    parts = [sheet(list(part)) for part in (left, right)]
    space = np.full((len(parts[0]), 4 * _GAP, 3), 255, np.uint8)
    return np.concatenate([parts[0], space, parts[1]], axis=1)


def picture(shown: np.ndarray, alt: str, caption: str = "", much: int = _MUCH) -> Picture:
    """[h, w, 3] or [h, w, 1] uint8 as a picture of the page, in its own size; photographs of `much` bytes as JPEG."""
    exact, kind = png(shown), "png"
    if len(exact) > much:
        smaller = _jpeg(shown)
        exact, kind = (smaller, "jpeg") if 2 * len(smaller) < len(exact) else (exact, kind)
    return Picture(exact, kind, shown.shape[1], alt, caption)


def fitting(shown: np.ndarray, most: int) -> Picture:
    """[h, w, 3] or [h, w, 1] uint8 as PNG if it fits in so many bytes, else as JPEG of the best quality that does."""
    exact = png(shown)
    if len(exact) <= most:
        return Picture(exact, "png", shown.shape[1], "")
    for quality in _QUALITIES:
        smaller = _jpeg(shown, quality, sharp=False)
        if len(smaller) <= most:
            break
    return Picture(smaller, "jpeg", shown.shape[1], "")


def png(shown: np.ndarray) -> bytes:
    """[h, w, 3] or [h, w, 1] uint8 as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(shown[..., 0] if shown.shape[-1] == 1 else shown).save(file, "PNG")
    return file.getvalue()


def _jpeg(shown: np.ndarray, quality: int = _QUALITIES[0], sharp: bool = True) -> bytes:
    """[h, w, 3] or [h, w, 1] uint8 as a JPEG file; whether its colors are as sharp as its brightness."""
    from PIL import Image

    file, image = io.BytesIO(), Image.fromarray(shown[..., 0] if shown.shape[-1] == 1 else shown)
    image.save(file, "JPEG", quality=quality, subsampling=0 if sharp else 2)
    return file.getvalue()


def _marked(shown: np.ndarray) -> np.ndarray:
    """Framed tiles with the frame of a wrong prediction and a triangle in the upper right corner."""
    inner = shown[..., _FRAME:-_FRAME, _FRAME:-_FRAME, :]
    marked = framed(inner, WRONG)
    side = max(5, shown.shape[-2] // 4)
    for i in range(side):
        marked[..., i, marked.shape[-2] - side + i :, :] = WRONG
    return marked


def _resized(image: np.ndarray, most: int) -> np.ndarray:
    """[h, w, c] with 28 to `most` pixels on the longer side: pixels are repeated to enlarge, averaged to reduce."""
    from PIL import Image

    longest = max(image.shape[:2])
    if longest < _SMALL:
        times = -(-_SMALL // longest)
        return image.repeat(times, axis=0).repeat(times, axis=1)
    if longest <= most:
        return image
    size = [max(1, round(side * most / longest)) for side in image.shape[1::-1]]
    plain = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return np.asarray(plain.resize((size[0], size[1]), Image.Resampling.BOX)).reshape(size[1], size[0], -1)
