import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cactus_tf.datasets._io.decoding import MOST_PIXELS, PILLOW_FORMATS, array, is_gray, opened
from cactus_tf.datasets._io.entries import UnreadableError

HEIGHT, WIDTH = 6, 10
COLOR, GRAY = (HEIGHT, WIDTH, 3), (HEIGHT, WIDTH, 1)


def noise(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def encoded(image, kind="PNG", **settings):
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def oriented(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.fixture
def unreadable():
    """unreadable(word): the block must raise an UnreadableError that says the word."""
    return lambda word: pytest.raises(UnreadableError, match=word)


# What EXIF orientation n says of stored pixels p, from the standard: which row and column of the scene is where.
TURNS = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: np.swapaxes(p, 0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: np.swapaxes(p[::-1, ::-1], 0, 1),
    8: lambda p: np.rot90(p, 1),
}


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("orientation", TURNS)
def test_pictures_are_turned_as_exif_says(orientation, kind):
    pixels = np.kron(noise(2, 4, 3), np.ones((8, 8, 1), np.uint8))  # in blocks, which JPEG keeps nearly as they are
    content = encoded(
        Image.fromarray(pixels), kind, exif=oriented(orientation), **({} if kind == "PNG" else {"quality": 100})
    )
    expected = TURNS[orientation](pixels)
    difference = array(content, expected.shape).astype(int) - expected
    assert np.abs(difference).mean() < (0.1 if kind == "PNG" else 12)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "1", "I;16"])
def test_every_mode_is_turned(mode):
    pixels = np.where(noise(4, 7) > 128, 255, 0).astype(np.uint8)
    image = Image.fromarray(pixels).convert("I;16" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(pixels.astype(np.uint16) * 257)
    made = array(encoded(image, exif=oriented(6)), (7, 4, 1))
    np.testing.assert_array_equal(made[..., 0], np.rot90(pixels, -1))


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\x7f", oriented(99).tobytes()])
def test_damaged_exif_is_not_heeded(exif):
    pixels = noise(*COLOR)
    np.testing.assert_array_equal(array(encoded(Image.fromarray(pixels), exif=exif), COLOR), pixels)


def test_transparent_pixels_show_white_paper():
    pixels = np.full((HEIGHT, WIDTH, 4), (200, 100, 0, 255), np.uint8)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 51
    made = array(encoded(Image.fromarray(pixels)), COLOR)
    assert made[0].tolist() == [[255, 255, 255]] * WIDTH
    np.testing.assert_allclose(made[1], np.broadcast_to([244, 224, 204], (WIDTH, 3)), atol=1)  # 255 - (255 - c) / 5
    assert made[2].tolist() == [[200, 100, 0]] * WIDTH


def test_gray_with_alpha_shows_white_paper():
    pixels = np.stack([np.full((HEIGHT, WIDTH), 40, np.uint8), np.full((HEIGHT, WIDTH), 255, np.uint8)], axis=-1)
    pixels[:3, :, 1] = 0
    made = array(encoded(Image.fromarray(pixels, "LA")), GRAY)[..., 0]
    assert np.unique(made[:3]).tolist() == [255]
    assert np.unique(made[3:]).tolist() == [40]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_color_of_a_palette_shows_white_paper(kind):
    numbers = np.zeros((HEIGHT, WIDTH), np.uint8)
    numbers[:2] = 1
    image = Image.fromarray(numbers, "P")
    image.putpalette([10, 20, 30, 70, 80, 90, 1, 2, 3])
    made = array(encoded(image, kind, transparency=1), COLOR)
    assert np.unique(made[:2]).tolist() == [255]
    assert made[2:].reshape(-1, 3).tolist() == [[10, 20, 30]] * (4 * WIDTH)


@pytest.mark.parametrize("mode, key, shown", [("RGB", (9, 9, 9), [255] * 3), ("L", 9, [255]), ("I;16", 2304, [255])])
def test_a_transparent_value_without_a_palette_shows_white_paper(mode, key, shown):
    size = (WIDTH, HEIGHT)
    image = Image.new(mode, size, key)
    made = array(encoded(image, transparency=key), (HEIGHT, WIDTH, len(shown)))
    assert made[0, 0].tolist() == shown


def test_cmyk_becomes_rgb():
    image = Image.new("CMYK", (WIDTH, HEIGHT), (255, 0, 0, 0))  # cyan
    made = array(encoded(image, "JPEG", quality=95), COLOR)
    np.testing.assert_allclose(made.reshape(-1, 3), np.broadcast_to([0, 255, 255], (60, 3)), atol=12)


def test_of_16_bits_of_gray_the_upper_8_stay():
    deep = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 1000
    np.testing.assert_array_equal(array(encoded(Image.fromarray(deep)), GRAY)[..., 0], deep // 256)


def test_one_bit_is_black_or_white():
    bits = noise(HEIGHT, WIDTH) > 128
    np.testing.assert_array_equal(array(encoded(Image.fromarray(bits)), GRAY)[..., 0], np.uint8(255) * bits)


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ((250, 0, 0), (0, 250, 0))]
    content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=100)
    assert np.abs(array(content, COLOR).astype(int) - [250, 0, 0]).max() < 12


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "JPEG"])
def test_every_format_is_read(kind):
    image = Image.new("RGB", (WIDTH, HEIGHT), (0, 128, 255))
    assert np.abs(array(encoded(image, kind), COLOR).astype(int) - [0, 128, 255]).max() < 8


def test_color_becomes_gray_by_luminance():
    made = array(encoded(Image.new("RGB", (WIDTH, HEIGHT), (255, 0, 0))), GRAY)
    assert np.unique(made).tolist() == [76]  # 0.299 x 255


@pytest.mark.parametrize(
    "mode, kind, gray",
    [("1", "PNG", 1), ("L", "PNG", 1), ("LA", "PNG", 1), ("I;16", "PNG", 1), ("L", "JPEG", 1),
     ("RGB", "PNG", 0), ("RGBA", "PNG", 0), ("P", "PNG", 0), ("CMYK", "JPEG", 0), ("RGB", "WEBP", 0)],
)  # fmt: skip
def test_gray_is_recognized_by_the_format(mode, kind, gray):
    with opened(encoded(Image.new(mode, (8, 8)), kind)) as image:
        found = is_gray(image)
    assert found == gray


# Oblong pictures: a black one with a white middle third.


@pytest.fixture
def striped():
    pixels = np.zeros((30, 90), np.uint8)
    pixels[:, 30:60] = 255
    return encoded(Image.fromarray(pixels))


def test_crop_keeps_the_middle(striped):
    assert np.unique(array(striped, (30, 30, 1), "crop")).tolist() == [255]


def test_stretch_keeps_all_of_it(striped):
    made = array(striped, (30, 30, 1), "stretch")[15, :, 0]
    assert [made[5], made[15], made[25]] == [0, 255, 0]


def test_pad_keeps_all_of_it_between_black_bars(striped):
    made = array(striped, (30, 30, 1), "pad")[..., 0]
    assert made[:10].max() == made[20:].max() == 0
    assert [made[15, 5], made[15, 15], made[15, 25]] == [0, 255, 0]


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
@pytest.mark.parametrize("size", [(1, 1), (3000, 1), (1, 3000)])
def test_lines_and_points_are_pictures_too(size, fit):
    made = array(encoded(Image.new("L", size, 200)), (28, 28, 1), fit)
    assert made.shape == (28, 28, 1)
    assert made.max() == 200


# Damage


def test_an_empty_file_is_said_to_be(unreadable):
    with unreadable("is empty"):
        array(b"", COLOR)


@pytest.mark.parametrize("content", [b"just some words, longer than a header", b"%PDF-1.4", b"II*\0" + bytes(60)])
def test_what_is_no_picture_is_said_to_be(content, unreadable):
    with unreadable("not a picture in a known format"):
        array(content, COLOR)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *parts):
    """A PNG that claims a size and holds next to nothing, or these chunks."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    parts = parts or (chunk(b"IDAT", zlib.compress(bytes(100))),)
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(parts) + chunk(b"IEND", b"")


def test_a_chunk_of_no_kind_within_the_pixels_is_damage(unreadable):
    """Pillow raises a SyntaxError here."""
    pixels = zlib.compress(bytes(HEIGHT * (3 * WIDTH + 1)))
    whole = png(WIDTH, HEIGHT, chunk(b"IDAT", pixels[:4]), chunk(b"IDAT", pixels[4:]))
    assert array(whole, COLOR).max() == 0
    with unreadable("is truncated or damaged"):
        array(png(WIDTH, HEIGHT, chunk(b"IDAT", pixels[:4]), chunk(b"\xb2\xfa3\1", pixels[4:])), COLOR)


@pytest.mark.parametrize("width, height", [(50_000, 50_000), (10_001, 10_000), (1, 1 << 30)])
def test_a_decompression_bomb_is_refused_unopened(width, height, unreadable):
    with warnings.catch_warnings(), unreadable(f"more than {MOST_PIXELS:,} pixels"):
        warnings.simplefilter("error")
        array(png(width, height), COLOR)


@pytest.mark.parametrize(
    "content",
    [png(0, 5), png(5, 0), b"GIF89a" + bytes(4) + b"\x80\0\0" + bytes(6) + b",\0\0\0\0\0\0\0\0\0\2\1\0\0;",
     b"BM" + struct.pack("<IHHIIiiHHIIIIII", 54, 0, 0, 54, 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0)],
    ids=["png-0x5", "png-5x0", "gif", "bmp"],
)  # fmt: skip
def test_a_picture_without_pixels_is_refused(content):
    with pytest.raises(UnreadableError):
        array(content, COLOR)


WHOLE = {kind: encoded(Image.fromarray(noise(24, 24, 3)), kind) for kind in PILLOW_FORMATS}


@settings(deadline=None, max_examples=40)
@given(kind=st.sampled_from(PILLOW_FORMATS), part=st.floats(0, 0.97))
def test_a_truncated_picture_is_refused_wherever_it_is_cut(kind, part):
    content = WHOLE[kind]
    with pytest.raises(UnreadableError):
        array(content[: int(part * len(content))], COLOR)


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(PILLOW_FORMATS),
    flips=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), min_size=1, max_size=6),
)
def test_a_damaged_picture_is_read_or_refused_and_nothing_else(kind, flips):
    content = bytearray(WHOLE[kind])
    for place, bits in flips:
        content[place % len(content)] ^= bits
    with contextlib.suppress(UnreadableError):
        assert array(bytes(content), COLOR).shape == COLOR


@pytest.mark.parametrize("fit", ["crop", "stretch", "pad"])
def test_reduced_decoding_is_nearly_the_same_and_turned_alike(fit):
    pixels = np.asarray(Image.fromarray(noise(5, 8, 3)).resize((640, 400), Image.Resampling.BICUBIC))
    content = encoded(Image.fromarray(pixels), "JPEG", quality=95, exif=oriented(6))
    whole, reduced = (array(content, (28, 28, 3), fit, reduced=r).astype(int) for r in (False, True))
    assert np.abs(whole - reduced).mean() < 1.5
    assert (whole != reduced).any()  # it was


def test_reduced_decoding_leaves_small_pictures_alone():
    content = encoded(Image.fromarray(noise(40, 40, 3)), "JPEG")
    np.testing.assert_array_equal(array(content, (28, 28, 3), reduced=True), array(content, (28, 28, 3)))
