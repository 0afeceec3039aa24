import io

import numpy as np
import pytest
from PIL import Image

from cactus_tf.report import tiles


@pytest.mark.parametrize(("side", "shown"), [(8, 32), (28, 28), (84, 64), (224, 64)])
def test_images_are_shown_at_a_size_for_eyes(side, shown):
    assert tiles.tiles(np.zeros((3, side, side, 1), np.uint8)).shape == (3, shown, shown, 3)


def test_images_that_are_not_square_keep_their_proportions():
    assert tiles.tiles(np.zeros((1, 200, 100, 3), np.uint8)).shape == (1, 64, 32, 3)


def test_enlarged_pixels_are_the_old_ones_repeated():
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    np.testing.assert_array_equal(tiles.tiles(image)[0, ::2, ::2, 0], image[0, ..., 0])


def test_ink_on_paper_swaps_black_and_white():
    image = np.full((1, 28, 28, 1), 10, np.uint8)
    assert (tiles.tiles(image, invert=True) == 245).all()


def test_a_sheet_has_its_tiles_where_they_belong_and_white_elsewhere():
    rows = [np.full((n, 2, 2, 3), n, np.uint8) for n in (1, 2)]
    whole = tiles.sheet(rows, gap=1)[..., 0].tolist()
    assert whole == [
        [1, 1, 255, 255, 255],
        [1, 1, 255, 255, 255],
        [255] * 5,
        [2, 2, 255, 2, 2],
        [2, 2, 255, 2, 2],
    ]


def colors(picture):
    return {tuple(int(x) for x in pixel) for pixel in picture.reshape(-1, 3)}


def test_support_images_and_queries_have_frames_of_their_own():
    picture = tiles.task(np.zeros((2, 1, 28, 28, 1), np.uint8), np.zeros((2, 3, 28, 28, 1), np.uint8))
    assert picture.shape == (67, 32 + 12 + 3 * 35 - 3, 3)
    assert colors(picture[:, :32]) == {tiles.SUPPORT, (0, 0, 0), (255, 255, 255)}
    assert colors(picture[:, 44:]) == {tiles.QUERY, (0, 0, 0), (255, 255, 255)}


def test_exactly_the_wrong_answers_are_marked():
    wrong = np.array([[False, True], [False, False]])
    shapes = np.zeros((2, 1, 28, 28, 1), np.uint8), np.zeros((2, 2, 28, 28, 1), np.uint8)
    picture = tiles.task(*shapes, wrong)
    marked = (picture == tiles.WRONG).all(axis=-1)
    assert marked[:32, 44 + 35 :].sum() > 2 * 4 * 30  # its frame, and the corner
    assert marked.sum() == marked[:32, 44 + 35 :].sum()


def test_a_png_holds_the_picture():
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(tiles.png(picture)))), picture)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(tiles.png(picture[..., :1])))), picture[..., 0])


def test_a_large_photograph_is_a_jpeg_and_a_drawing_stays_exact():
    rng = np.random.default_rng(0)
    smooth = np.asarray(Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8)).resize((600, 600), Image.BICUBIC))
    photograph = np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)
    picture = tiles.picture(photograph, "a photograph")
    assert picture.kind == "jpeg"
    assert picture.source.startswith("data:image/jpeg;base64,")
    shown = np.asarray(Image.open(io.BytesIO(picture.data)))
    assert np.abs(shown.astype(float) - photograph).mean() < 4
    assert tiles.picture(photograph[:5], "a small one").kind == "png"
    assert tiles.picture(np.where(photograph < 128, 0, 255).astype(np.uint8)[::30].repeat(30, 0), "ink").kind == "png"


def test_a_sheet_of_noise_is_a_picture_of_the_page_too():
    noise = np.random.default_rng(0).integers(0, 256, (600, 400, 3), np.uint8)
    assert tiles.picture(noise, "noise").kind in ("png", "jpeg")


def test_a_picture_fits_its_bytes_and_is_exact_where_it_can_be():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (200, 200, 3), np.uint8)
    ink = np.where(noise[::10, ::10] < 128, 0, 255).astype(np.uint8)
    assert tiles.fitting(ink, 20_000).kind == "png"
    sizes = [len(tiles.fitting(noise, most).data) for most in (10_000, 20_000, 40_000)]
    assert sizes == sorted(sizes)
    assert all(size <= most for size, most in zip(sizes, (10_000, 20_000, 40_000), strict=True))
    assert tiles.fitting(noise, 40_000).kind == "jpeg"
