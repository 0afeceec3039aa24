"""Pictures of more than 8 bits are read in the range that their data set uses."""

import io
import logging
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cactus_tf.contracts import DataContext
from cactus_tf.datasets import folder
from cactus_tf.datasets._io import depth
from cactus_tf.datasets._io.decoding import array, eight_bits, opened
from cactus_tf.datasets._io.depth import PixelRange

SIDE = 16
RAMP = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE)  # 0..255
COLORS = np.stack([RAMP, RAMP[::-1], 255 - RAMP], axis=-1)
GRAY, GRAY_ALPHA, RGB, RGBA = 0, 4, 2, 6  # color types of PNG


def png(pixels, color=GRAY):
    """The bytes of a PNG file of 16 bits a channel; Pillow writes gray ones only."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", pixels.shape[1], pixels.shape[0], 16, color, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def encoded(image, **settings):
    file = io.BytesIO()
    image.save(file, "PNG", **settings)
    return file.getvalue()


def found(*contents):
    """[n, 3] the extremes of these files."""
    rows = []
    for content in contents:
        with opened(content) as image:
            rows.append(depth.extremes(image))
    return np.array(rows, np.float64)


def load(root, contents, **context):
    root.mkdir()
    for i, content in enumerate(contents):
        (root / f"{i}.png").write_bytes(content)
    notes = []
    data = folder.load(root, DataContext(workers=1, report=notes.append, image_size=SIDE, **context))
    return data, notes[0]


@pytest.mark.parametrize("bits", range(8, 17))
@pytest.mark.parametrize("color", [GRAY, RGB])
def test_numbers_of_n_bits_lose_the_lower_n_minus_8(bits, color):
    wide = (RAMP if color == GRAY else COLORS) << (bits - 8)
    content = png(wide + (wide > 0) * (2 ** (bits - 8) - 1), color)
    pixel_range = depth.used_range(found(content))
    assert pixel_range == PixelRange(0, 2**bits - 1)
    channels = 1 if color == GRAY else 3
    read = array(content, (SIDE, SIDE, channels), pixel_range=pixel_range)
    np.testing.assert_array_equal(read.squeeze(), RAMP if color == GRAY else COLORS)


@pytest.mark.parametrize("color", [GRAY, RGB])
def test_pictures_of_16_bits_are_read_as_before(color):
    pixels = (RAMP if color == GRAY else COLORS) * 257
    shape = (SIDE, SIDE, 1 if color == GRAY else 3)
    content = png(pixels, color)
    read = array(content, shape, pixel_range=depth.used_range(found(content)))
    np.testing.assert_array_equal(read, array(content, shape))
    np.testing.assert_array_equal(read.squeeze(), pixels >> 8)


@pytest.mark.parametrize("color", [GRAY_ALPHA, RGBA])
def test_alpha_has_16_bits_whatever_the_range_of_the_colors(color):
    alpha = np.where(RAMP < 100, 0, 65535).astype(np.uint16)
    colors = [RAMP * 16] if color == GRAY_ALPHA else list(np.moveaxis(COLORS * 16, -1, 0))
    content = png(np.stack([*colors, alpha], axis=-1), color)
    read = array(content, (SIDE, SIDE, 3), pixel_range=PixelRange(0, 4095))
    expected = np.where(RAMP[..., None] < 100, 255, RAMP[..., None] if color == GRAY_ALPHA else COLORS)
    np.testing.assert_array_equal(read, np.broadcast_to(expected, read.shape))


def test_the_value_that_marks_transparent_pixels_is_white_and_no_part_of_the_range():
    pixels = np.where(RAMP == 7, 65535, RAMP * 16).astype(np.uint16)
    content = encoded(Image.fromarray(pixels), transparency=65535)
    pixel_range = depth.used_range(found(content))
    assert pixel_range == PixelRange(0, 4095)
    np.testing.assert_array_equal(array(content, (SIDE, SIDE, 1), pixel_range=pixel_range)[..., 0],
                                  np.where(RAMP == 7, 255, RAMP))  # fmt: skip


def test_deep_pictures_are_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.fromarray(RAMP * 16), exif=exif)
    read = array(content, (SIDE, SIDE, 1), pixel_range=PixelRange(0, 4095))
    np.testing.assert_array_equal(read[..., 0], np.rot90(RAMP, -1))


def test_floats_and_signed_numbers_fill_the_range_that_they_use():
    assert depth.used_range(np.array([[0.0, 0.9, 0.5]])) == PixelRange(0, 1)
    assert depth.used_range(np.array([[-1000.0, 3000.0, 40.0]])) == PixelRange(-1000, 3000)
    assert depth.used_range(np.array([[0.0, 200.5, 40.0]])) == PixelRange(0, 255)
    numbers = np.array([-1000.0, 0.0, 3000.0, 9000.0, np.nan, np.inf, -np.inf], np.float32)
    assert depth.scaled(numbers, PixelRange(-1000, 3000)).tolist() == [0, 64, 255, 255, 0, 255, 0]
    assert depth.scaled(np.float32([0, 0.5, 1]), PixelRange(0, 1)).tolist() == [0, 128, 255]


def test_pictures_of_8_bits_have_no_range_and_keep_their_bytes():
    content = encoded(Image.fromarray(RAMP.astype(np.uint8)))
    assert depth.used_range(found(content)) is None
    assert eight_bits(content, PixelRange(0, 4095)) is content


def test_all_pictures_of_a_data_set_have_one_range_which_is_said_and_kept(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    data, notes = load(tmp_path / "a", [png(RAMP), png(RAMP * 4), png(RAMP * 16)])
    assert sorted(int(image.max()) for image in data.train.images) == [15, 63, 255]
    assert notes["pixel_range"] == (0, 4095)
    assert "3 pictures of 16 bits or more hold values up to 4080, read as 12-bit numbers" in caplog.text


def test_pictures_of_8_bits_stay_as_they_are_among_deep_ones(tmp_path):
    shallow = RAMP.astype(np.uint8) // 2
    data, _ = load(tmp_path / "a", [encoded(Image.fromarray(shallow)), png(RAMP * 16)])
    images = {image.tobytes() for image in data.train.images}
    assert images == {shallow.tobytes(), RAMP.astype(np.uint8).tobytes()}


def test_a_data_set_of_8_bits_notes_no_range(tmp_path):
    pictures = [encoded(Image.fromarray(np.roll(RAMP, i).astype(np.uint8))) for i in range(2)]
    assert "pixel_range" not in load(tmp_path / "a", pictures)[1]


def test_evaluated_pictures_are_read_in_the_range_of_training(tmp_path, caplog):
    (tmp_path / "eval/b").mkdir(parents=True)
    (tmp_path / "eval/b/0.png").write_bytes(png(RAMP))
    (tmp_path / "eval/b/1.png").write_bytes(png(RAMP * 64))
    data, _ = load(tmp_path / "a", [png(RAMP * 16), png(np.roll(RAMP, 9) * 16)], eval_dir=tmp_path / "eval")
    assert sorted(int(image.max()) for image in data.test.images) == [15, 255]
    assert "folder test: values of 1 of these pictures are outside this range and are cut off" in caplog.text


def test_a_warning_names_pictures_that_stay_dark(tmp_path, caplog):
    load(tmp_path / "a", [png(RAMP), png(RAMP[::-1]), png(RAMP * 257)])
    assert "folder train: half of these pictures are dark" in caplog.text


def test_a_warning_names_a_data_set_whose_brightest_pixel_is_dark(tmp_path, caplog):
    load(tmp_path / "a", [encoded(Image.fromarray(np.roll(RAMP, i).astype(np.uint8) // 16)) for i in range(2)])
    assert "folder: the brightest pixel of 2 training pictures is 15 of 255" in caplog.text
