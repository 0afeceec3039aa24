import gzip
import json

import numpy as np
import pytest

from cactus_tf.datasets import mnist
from cactus_tf.datasets._io.preparing import Labeled, in_order
from cactus_tf.main import main

TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = mnist.FILES


def idx(array, kind=8):
    """The bytes of an idx file."""
    return bytes([0, 0, kind, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


def some_images(n, seed):
    rng = np.random.default_rng(seed)
    return Labeled(rng.integers(0, 256, (n, 28, 28, 1), np.uint8), rng.integers(0, 10, n).astype(np.int32))


@pytest.fixture(scope="module")
def small():
    return {"train": some_images(30, 0), "test": some_images(20, 1)}


def contents(official):
    """File name -> bytes."""
    arrays = [array for data in official.values() for array in (data.images[..., 0], data.labels.astype(np.uint8))]
    return {name: idx(array) for name, array in zip(mnist.FILES, arrays, strict=True)}


def write(folder, files):
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def packed(files):
    return {f"{name}.gz": gzip.compress(content, 1) for name, content in files.items()}


def assert_same_data(one, other):
    for part in ("train", "test"):
        for a, b in zip(in_order(one[part]), in_order(other[part]), strict=True):
            np.testing.assert_array_equal(a, b)


LAYOUTS = {
    "plain": lambda name: name,
    "a dot": lambda name: name.replace("-idx", ".idx"),
    "in a folder of its name": lambda name: f"{name}/{name}",
    "a dot in a folder of its name": lambda name: f"{name}/{name.replace('-idx', '.idx')}",
    "of torchvision": lambda name: f"MNIST/raw/{name}",
    "a folder in between": lambda name: f"mnist/{name}",
}


@pytest.mark.parametrize("pack", [dict, packed], ids=["plain", "gz"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_files_are_read_as_people_have_them(small, tmp_path, pack, layout):
    for name, content in pack(contents(small)).items():
        path = tmp_path / LAYOUTS[layout](name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    assert_same_data(mnist.locate(tmp_path)(), small)


def test_contents_say_whether_a_file_is_compressed(small, tmp_path):
    plain_named_gz = {f"{name}.gz": content for name, content in contents(small).items()}
    assert_same_data(mnist.locate(write(tmp_path, plain_named_gz))(), small)


def test_a_folder_in_the_place_of_a_file_is_missing(small, tmp_path, complains):
    files = contents(small)
    del files[TEST_IMAGES]
    (write(tmp_path, files) / TEST_IMAGES).mkdir()
    with complains(f"does not hold {TEST_IMAGES}"):
        mnist.load(tmp_path)


@pytest.mark.parametrize("pack", [dict, packed], ids=["plain", "gz"])
def test_files_are_read_with_and_without_gz(small, tmp_path, pack):
    read = mnist.locate(write(tmp_path, pack(contents(small))))()
    for part, data in small.items():
        np.testing.assert_array_equal(read[part].images, data.images)
        np.testing.assert_array_equal(read[part].labels, data.labels)
        assert (read[part].images.dtype, read[part].labels.dtype) == (np.uint8, np.int32)


def test_tensorflow_datasets_holds_the_same_data_as_the_files(small, tmp_path):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def records(builder, split, **unused):
        data = small[split].take(np.random.default_rng(2).permutation(len(small[split].labels)))
        return tf.data.Dataset.from_tensor_slices({"image": data.images, "label": data.labels.astype(np.int64)})

    with tfds.testing.mock_data(as_dataset_fn=records):
        downloaded = mnist.locate(None)()
    assert_same_data(downloaded, mnist.locate(write(tmp_path, contents(small)))())


def test_records_of_tensorflow_datasets_have_the_expected_form():
    import tensorflow_datasets as tfds

    with tfds.testing.mock_data(num_examples=3):
        official = mnist.locate(None)()
    for data in official.values():
        assert data.images.shape == (3, 28, 28, 1)
        assert (data.images.dtype, data.labels.dtype) == (np.uint8, np.int32)


@pytest.fixture(scope="module")
def whole():
    """60,000 and 10,000 images; the first bytes of each spell its own number."""
    numbers = np.arange(70_000, dtype=">u4")
    images = np.zeros((70_000, 784), np.uint8)
    images[:, :4] = numbers.view(np.uint8).reshape(-1, 4)
    labels = (numbers * 7919 % 10).astype(np.int32)
    data = Labeled(images.reshape(-1, 28, 28, 1), labels)
    return {"train": data.take(np.arange(60_000)), "test": data.take(np.arange(60_000, 70_000))}


def spelled(images):
    return images.reshape(len(images), -1)[:, :4].copy().view(">u4").ravel().astype(int)


def test_loading_gives_three_disjoint_splits_of_ten_digits(whole, tmp_path):
    splits = mnist.load(write(tmp_path, contents(whole)))
    train, val, test = (spelled(s.images) for s in (splits.train, splits.val, splits.test))
    assert (len(train), len(val), len(test)) == (50_000, 10_000, 10_000)
    assert sorted([*train, *val]) == list(range(60_000))
    assert sorted(test) == list(range(60_000, 70_000))
    for numbers, split in ((train, splits.train), (val, splits.val), (test, splits.test)):
        clusters = split.partitions[0].assignments(len(split))
        np.testing.assert_array_equal(clusters, numbers * 7919 % 10)
        assert splits.image_shape == (28, 28, 1)


def test_the_split_is_that_of_seed_42_on_the_ordered_images(whole):
    ordered = sorted(range(60_000), key=lambda i: (i * 7919 % 10, i))
    np.random.RandomState(42).shuffle(ordered)
    splits = mnist.split(whole)
    assert spelled(splits["train"].images).tolist() == ordered[:50_000]
    assert spelled(splits["val"].images).tolist() == ordered[50_000:]


def test_the_order_of_the_source_does_not_matter(whole):
    shuffled = {part: data.take(np.random.default_rng(3).permutation(len(data.labels))) for part, data in whole.items()}
    one, other = mnist.split(whole), mnist.split(shuffled)
    for name in one:
        np.testing.assert_array_equal(in_order(one[name]).images, in_order(other[name]).images)


def test_missing_files_are_named_before_anything_is_read(small, tmp_path, complains):
    with complains("data_dir", tmp_path, *mnist.FILES, "https://"):
        mnist.load(tmp_path)
    write(tmp_path, contents(small))
    (tmp_path / TEST_LABELS).unlink()
    with complains(f"does not hold {TEST_LABELS} or {TEST_LABELS}.gz", f"it holds {TEST_IMAGES}, {TRAIN_IMAGES}"):
        mnist.locate(tmp_path)


def test_too_few_images_say_what_was_found(small, tmp_path, complains):
    with complains("30 train and 20 test", "60000 and 10000"):
        mnist.load(write(tmp_path, contents(small)))


@pytest.mark.parametrize("pack", [dict, packed], ids=["plain", "gz"])
@pytest.mark.parametrize("share", [0.0, 0.0005, 0.5, 0.999])
def test_a_truncated_file_is_named(small, tmp_path, complains, pack, share):
    files = pack(contents(small))
    name = next(name for name in files if name.startswith(TRAIN_IMAGES))
    write(tmp_path, files | {name: files[name][: int(share * len(files[name]))]})
    with complains(tmp_path / name, "get it again", "https://"):
        mnist.load(tmp_path)


def test_a_damaged_gz_is_named(small, tmp_path, complains):
    files = packed(contents(small))
    damaged = bytearray(files[f"{TRAIN_IMAGES}.gz"])
    damaged[len(damaged) // 2] ^= 1
    write(tmp_path, files | {f"{TRAIN_IMAGES}.gz": bytes(damaged)})
    with complains(tmp_path / f"{TRAIN_IMAGES}.gz", "damaged"):
        mnist.load(tmp_path)


WRONG = {
    "not idx": ({TRAIN_IMAGES: b"GIF89a" * 100}, TRAIN_IMAGES, "does not begin with two zero bytes"),
    "floats": ({TRAIN_IMAGES: idx(np.zeros((30, 28, 28), np.float32), kind=0x0D)}, TRAIN_IMAGES, "0x0d"),
    "32x32": ({TEST_IMAGES: idx(np.zeros((20, 32, 32), np.uint8))}, TEST_IMAGES, "(20, 32, 32)"),
    "labels for images": ({TEST_IMAGES: idx(np.zeros(20, np.uint8))}, TEST_IMAGES, "(20,)"),
    "too few labels": ({TEST_LABELS: idx(np.zeros(19, np.uint8))}, TEST_LABELS, "(19,)"),
    "label 10": ({TEST_LABELS: idx(np.full(20, 10, np.uint8))}, TEST_LABELS, "label 10"),
    "sizes that overflow": ({TRAIN_IMAGES: b"\0\0\x08\x08" + b"\x80\0\0\0" * 8}, TRAIN_IMAGES, f"{36 + 2**248} bytes"),
    "255 sizes": ({TRAIN_IMAGES: b"\0\0\x08\xff" + b"\xff" * 1020}, TRAIN_IMAGES, "bytes expected"),
    "bytes after the end": ({TRAIN_LABELS: idx(np.zeros(30, np.uint8)) + b"x"}, TRAIN_LABELS, "38 bytes expected, 39"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_of_another_kind_is_named(small, tmp_path, complains, case):
    replaced, name, word = WRONG[case]
    write(tmp_path, contents(small) | replaced)
    with complains(tmp_path / name, word, "https://"):
        mnist.load(tmp_path)


def test_real_mnist_has_the_official_counts(official):
    splits = mnist.load(official("mnist"))
    sizes = {name: getattr(splits, name).partitions[0].sizes for name in ("train", "val", "test")}
    assert {name: int(s.sum()) for name, s in sizes.items()} == {"train": 50_000, "val": 10_000, "test": 10_000}
    # Images per digit 0..9 as the official label files have them.
    official_counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert (sizes["train"] + sizes["val"]).tolist() == official_counts
    assert sizes["test"].tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert round(float(splits.test.images.mean()), 3) == 33.791


@pytest.mark.slow
def test_a_run_learns_from_the_files_and_is_evaluated(tmp_path, capsys):
    data_dir = tmp_path / "data"
    data_dir.mkdir()
    write(data_dir, contents({"train": some_images(60_000, 0), "test": some_images(10_000, 1)}))
    short = ["--embedder=pixels", "--pixels_dims=4", "--clusters=12", "--partitions=1", "--algo=protonets"]
    short += ["--filters=4", "--way=5", "--steps=2", "--eval_episodes=3", "--eval_ways=5", "--eval_shots=1"]
    places = [f"--data_dir={data_dir}", f"--workdir={tmp_path / 'run'}", f"--artifacts_dir={tmp_path}"]
    assert main(["--dataset=mnist", *short, *places]) == 0, capsys.readouterr().err
    [row] = json.loads((tmp_path / "run/results.json").read_text())["rows"]
    assert (row["dataset"], row["algo"], row["way"], row["shot"], row["episodes"]) == ("mnist", "protonets", 5, 1, 3)
    assert 0 <= row["accuracy"] <= 1
