import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cactus_tf.datasets import omniglot
from cactus_tf.datasets._io.preparing import Labeled, in_order
from cactus_tf.main import main

# As the specification lists them: floor((i + 0.5) * 105 / 28).
NEAREST = [1, 5, 9, 13, 16, 20, 24, 28, 31, 35, 39, 43, 46, 50, 54, 58, 61, 65, 69, 73, 76, 80, 84, 88, 91, 95, 99, 103]
FOLDERS = {1: "images_background/Latin/character01", 964: "images_background/Tifinagh/character55"}
FOLDERS |= {965: "images_evaluation/Angelic/character01", 1623: "images_evaluation/ULOG/character26"}


def png(ink):
    """A 1-bit PNG of a [height, width] bool array: black ink on white paper."""
    file = io.BytesIO()
    Image.fromarray(~ink).convert("1").save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def drawings():
    """Name -> ink of 4 characters with 3 drawings each, two of either archive."""
    rng = np.random.default_rng(0)
    names = [f"{folder}/{number:04}_{i:02}.png" for number, folder in FOLDERS.items() for i in (1, 2, 3)]
    return {name: rng.random((105, 105)) < 0.3 for name in names}


def write_archives(folder, contents):
    """Writes name -> bytes as the two official archives."""
    for part in ("images_background", "images_evaluation"):
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as archive:
            archive.writestr(f"{part}/", b"")
            for name, content in contents.items():
                if name.startswith(part):
                    archive.writestr(name, content)
    return folder


def write_folders(folder, contents):
    """Writes name -> bytes as the folders that the archives unpack to."""
    for name, content in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def contents(drawings):
    return {name: png(ink) for name, ink in drawings.items()}


def assert_same_data(one, other):
    for a, b in zip(in_order(one), in_order(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_drawings_are_sampled_at_the_listed_rows_and_columns(drawings):
    assert omniglot.SAMPLED.tolist() == NEAREST
    ink = next(iter(drawings.values()))
    expected = [[255 if ink[row, column] else 0 for column in NEAREST] for row in NEAREST]
    np.testing.assert_array_equal(omniglot.sample(ink)[:, :, 0], expected)


def test_sampling_is_pillows_nearest_neighbor(drawings):
    ink = np.stack(list(drawings.values()))
    expected = [
        np.asarray(Image.fromarray(i.astype(np.uint8) * 255).resize((28, 28), Image.Resampling.NEAREST)) for i in ink
    ]
    np.testing.assert_array_equal(omniglot.sample(ink)[..., 0], expected)
    assert omniglot.sample(ink).dtype == np.uint8


def test_class_and_pixels_of_a_drawing_come_from_its_file(drawings, contents, tmp_path):
    data = omniglot.locate(write_archives(tmp_path, contents))()
    expected = Labeled(
        np.stack([omniglot.sample(ink) for ink in drawings.values()]),
        np.array([int(Path(name).name[:4]) - 1 for name in drawings], np.int32),
    )
    assert_same_data(data, expected)


def test_archives_and_unpacked_folders_hold_the_same_data(contents, tmp_path):
    (tmp_path / "zips").mkdir()
    zipped = omniglot.locate(write_archives(tmp_path / "zips", contents))()
    unpacked = omniglot.locate(write_folders(tmp_path / "folders", contents))()
    assert_same_data(zipped, unpacked)


def test_tensorflow_datasets_holds_the_same_data_as_the_archives(drawings, contents, tmp_path):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def records(builder, split, **unused):
        folder = {"train": "images_background", "test": "images_evaluation"}[split]
        names = [name for name in drawings if name.startswith(folder)]
        paper = np.stack([~drawings[name] for name in names]).astype(np.uint8) * 255
        labels = np.array([int(Path(name).name[:4]) - 1 for name in names], np.int64)
        return tf.data.Dataset.from_tensor_slices({"image": np.stack([paper] * 3, axis=-1), "label": labels})

    with tfds.testing.mock_data(as_dataset_fn=records):
        downloaded = omniglot.locate(None)()
    assert_same_data(downloaded, omniglot.locate(write_archives(tmp_path, contents))())


def test_records_of_tensorflow_datasets_have_the_expected_form():
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=4):
        data = omniglot.locate(None)()
    assert data.images.shape == (8, 28, 28, 1)
    assert data.images.dtype == np.uint8
    assert data.labels.dtype == np.int32


def test_the_order_of_the_archive_does_not_matter(contents, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one = omniglot.locate(write_archives(tmp_path / "a", contents))()
    other = omniglot.locate(write_archives(tmp_path / "b", dict(reversed(contents.items()))))()
    assert_same_data(one, other)


def test_other_files_beside_the_drawings_are_passed_over(contents, tmp_path):
    litter = {"images_background/.DS_Store": b"x", "images_background/Latin/character01/._0001_01.png": b"x"}
    (tmp_path / "zips").mkdir()
    clean = omniglot.locate(write_archives(tmp_path / "zips", contents))()
    littered = omniglot.locate(write_folders(tmp_path / "folders", contents | litter))()
    assert_same_data(clean, littered)


@pytest.fixture(scope="module")
def one_image_per_class():
    """All 1623 classes; the pixels of class c spell c in binary."""
    numbers = np.arange(1623)
    images = np.zeros((1623, 28, 28, 1), np.uint8)
    images[:, 0, :11, 0] = 255 * ((numbers[:, np.newaxis] >> np.arange(11)) & 1)
    return Labeled(images, numbers.astype(np.int32))


def spelled(images):
    """The class numbers that images of `one_image_per_class` spell."""
    return (images[:, 0, :11, 0] // 255).astype(int) @ (1 << np.arange(11))


def test_class_numbers_map_to_the_authors_labels(one_image_per_class):
    splits = omniglot.split(one_image_per_class)
    label = np.zeros(1623, int)
    for data in splits.values():
        label[spelled(data.images)] = data.labels
    assert label[:10].tolist() == [135, 481, 836, 1226, 629, 1168, 1592, 816, 926, 271]
    assert sorted(label) == list(range(1623))


def test_splits_have_the_authors_shares_of_both_archives(one_image_per_class):
    splits = omniglot.split(one_image_per_class)
    classes = {name: spelled(data.images) for name, data in splits.items()}
    shares = {name: ((c < 964).sum(), (c >= 964).sum()) for name, c in classes.items()}
    assert shares == {"train": (664, 436), "val": (54, 46), "test": (246, 177)}
    assert len(np.concatenate(list(classes.values()))) == len(set(np.concatenate(list(classes.values())))) == 1623


@pytest.fixture(scope="module")
def whole(one_image_per_class, tmp_path_factory):
    """Archives with all 32,460 drawings, those of one class alike."""
    contents = {}
    for c, image in enumerate(one_image_per_class.images):
        ink = np.zeros((105, 105), bool)
        ink[np.ix_(NEAREST, NEAREST)] = image[:, :, 0] > 0
        part, content = "images_background" if c < 964 else "images_evaluation", png(ink)
        contents |= {f"{part}/Latin/character01/{c + 1:04}_{i:02}.png": content for i in range(1, 21)}
    return write_archives(tmp_path_factory.mktemp("whole"), contents)


def test_loading_gives_the_documented_splits_clusters_and_labels(whole, one_image_per_class):
    kept = {}

    class Cache:
        def __call__(self, name, make):
            return kept.setdefault(name, make())

    splits = omniglot.load(whole, omniglot.DataContext(Cache()))
    permutation = np.random.RandomState(42).permutation(1623)
    for name, first, clusters in (("train", 0, 1100), ("val", 1100, 100), ("test", 1200, 423)):
        image_set, labels = getattr(splits, name), kept[f"{name}-labels"]
        assert image_set.images.shape == (20 * clusters, 28, 28, 1)
        assert image_set.partitions[0].sizes.tolist() == [20] * clusters
        np.testing.assert_array_equal(labels, np.repeat(np.arange(first, first + clusters), 20))
        np.testing.assert_array_equal(permutation[spelled(image_set.images)], labels)


def test_a_missing_drawing_is_counted(complains):
    labels = np.repeat(np.arange(1623, dtype=np.int32), 20)
    assert omniglot.complete(Labeled(labels, labels)).labels is labels
    with complains("32459 images", "19 of character 0008", "32460", "data_dir"):
        omniglot.complete(Labeled(labels[1:], np.delete(labels, 145)))


def test_missing_files_are_named_before_anything_is_read(contents, tmp_path, complains):
    with complains("data_dir", tmp_path, "images_background.zip", "images_evaluation.zip", "brendenlake/omniglot"):
        omniglot.load(tmp_path)
    write_archives(tmp_path, contents)
    (tmp_path / "images_evaluation.zip").unlink()
    with complains("does not hold images_evaluation.zip"):
        omniglot.locate(tmp_path)


def test_a_data_dir_that_is_no_folder_is_named(tmp_path, complains):
    with complains(tmp_path / "nowhere", "not a folder", "images_background.zip"):
        omniglot.load(tmp_path / "nowhere")


def test_an_incomplete_data_set_says_what_was_found(contents, tmp_path, complains):
    with complains("12 images", "3 of character 0001", "32460"):
        omniglot.load(write_archives(tmp_path, contents))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_archive_is_named(contents, tmp_path, complains, share):
    path = write_archives(tmp_path, contents) / "images_evaluation.zip"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with complains(path, "truncated or damaged", "https://"):
        omniglot.load(tmp_path)


def test_a_changed_byte_within_an_archive_is_noticed(contents, tmp_path, complains):
    path = write_archives(tmp_path, contents) / "images_background.zip"
    damaged = bytearray(path.read_bytes())
    damaged[damaged.index(b"IDAT") + 20] ^= 1
    path.write_bytes(damaged)
    with complains(path, "damaged", "0001_01.png"):
        omniglot.load(tmp_path)


def test_archives_with_backslashes_are_read(drawings, contents, tmp_path):
    write_archives(tmp_path, contents)
    expected = omniglot.locate(tmp_path)()
    for part in ("images_background", "images_evaluation"):
        with zipfile.ZipFile(tmp_path / f"{part}.zip", "w") as archive:
            for name, content in contents.items():
                if name.startswith(part):
                    info = zipfile.ZipInfo()
                    info.filename = name.replace("/", "\\")
                    archive.writestr(info, content)
    assert_same_data(omniglot.locate(tmp_path)(), expected)


@pytest.mark.parametrize("place", ["python", "omniglot-py"])
def test_folders_of_other_sources_are_found(contents, tmp_path, place):
    (tmp_path / place).mkdir()
    assert len(omniglot.locate(write_archives(tmp_path / place, contents).parent)().labels) == 12


def bomb():
    """A small PNG of 9,000 x 9,000 black pixels."""
    file = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(file, "PNG")
    return file.getvalue()


def test_a_png_bomb_is_refused_before_it_is_decoded(contents, tmp_path, complains, monkeypatch):
    name = next(iter(contents))
    write_archives(tmp_path, contents | {name: bomb()})
    monkeypatch.setattr(Image.Image, "convert", lambda *_: pytest.fail("decoded"))
    with complains(name, "9000x9000 pixels"):
        omniglot.load(tmp_path)


def test_a_drawing_of_many_bytes_is_refused_before_it_is_read(contents, tmp_path, complains):
    name = next(iter(contents))
    path = write_archives(tmp_path, contents) / "images_background.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(1 << 21))
    with complains(path, f"holds {name} of more than 1,048,576 bytes"):
        omniglot.load(tmp_path)


def test_a_damaged_archive_of_another_method_is_named(contents, tmp_path, complains):
    name = next(iter(contents))
    path = write_archives(tmp_path, contents) / "images_background.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr(name, contents[name])
        start = archive.start_dir
    damaged = bytearray(path.read_bytes())
    damaged[start // 2 : start // 2 + 20] = bytes(20)
    path.write_bytes(damaged)
    with complains(path, "truncated or damaged"):
        omniglot.load(tmp_path)


@pytest.mark.parametrize(("length", "reason"), [(0, "empty"), (20, "damaged"), (60, "damaged"), (300, "damaged")])
def test_a_truncated_drawing_is_named(contents, tmp_path, complains, length, reason):
    name = next(iter(contents))
    write_folders(tmp_path, contents | {name: contents[name][:length]})
    with complains(name, reason, "https://"):
        omniglot.load(tmp_path)


def test_a_drawing_of_another_size_is_named(contents, tmp_path, complains):
    name = next(iter(contents))
    write_archives(tmp_path, contents | {name: png(np.zeros((28, 30), bool))})
    with complains(name, "30x28", "105x105"):
        omniglot.load(tmp_path)


def test_a_drawing_of_an_unknown_character_is_named(contents, tmp_path, complains):
    name = "images_evaluation/ULOG/character27/1624_01.png"
    write_archives(tmp_path, contents | {name: png(np.zeros((105, 105), bool))})
    with complains(name, "0001..1623"):
        omniglot.load(tmp_path)


@pytest.fixture(scope="module")
def scribbles(tmp_path_factory):
    """Archives with 32,460 drawings of coarse noise, no two alike."""
    contents = {}
    for number in range(1, 1624):
        part = "images_background" if number < 965 else "images_evaluation"
        for i in range(1, 21):
            coarse = np.random.default_rng([number, i]).random((15, 15)) < 0.3
            ink = np.kron(coarse, np.ones((7, 7), bool))
            contents[f"{part}/Latin/character01/{number:04}_{i:02}.png"] = png(ink)
    return write_archives(tmp_path_factory.mktemp("scribbles"), contents)


@pytest.mark.slow
def test_a_run_learns_from_the_archives_and_is_evaluated(scribbles, tmp_path, capsys):
    short = ["--embedder=pixels", "--pixels_dims=4", "--clusters=20", "--partitions=1", "--algo=protonets"]
    short += ["--filters=4", "--way=5", "--steps=2", "--eval_episodes=3", "--eval_ways=5", "--eval_shots=1"]
    places = [f"--data_dir={scribbles}", f"--workdir={tmp_path / 'run'}", f"--artifacts_dir={tmp_path}"]
    assert main(["--dataset=omniglot", *short, *places]) == 0, capsys.readouterr().err
    [row] = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    assert (row["dataset"], row["algo"], row["way"], row["shot"], row["episodes"]) == ("omniglot", "protonets", 5, 1, 3)
    assert 0 <= row["accuracy"] <= 1


def test_real_omniglot_has_the_authors_counts_values_and_means(official):
    splits = omniglot.load(official("omniglot"))
    for name, images, mean in (("train", 22_000, 20.476), ("val", 2_000, 20.173), ("test", 8_460, 20.756)):
        image_set = getattr(splits, name)
        assert image_set.images.shape == (images, 28, 28, 1)
        assert np.unique(image_set.images).tolist() == [0, 255]
        assert set(image_set.partitions[0].sizes) == {20}
        assert round(float(image_set.images.mean()), 3) == mean
