import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from cactus_tf.config import build_plan
from cactus_tf.config import flags as cli
from cactus_tf.contracts import DataContext
from cactus_tf.datasets import imagenet
from cactus_tf.datasets._io import decoding, rows
from cactus_tf.datasets._io.lazy import LazyImages
from cactus_tf.datasets.miniimagenet import ravi
from cactus_tf.errors import RunError
from cactus_tf.fewshot.episodes import gather
from cactus_tf.main import main
from cactus_tf.pipeline.preparation import prepare
from cactus_tf.utils.digests import digests

EACH, DIM = 6, 5  # images of a class, numbers of a feature
MINI = ravi.CLASSES["train"][:2]
TRAIN = sorted([*MINI, "n00000001", "n99999999"])
WNIDS = sorted([*TRAIN, *ravi.CLASSES["val"], *ravi.CLASSES["test"]])
TINY = DataContext(image_size=8)
MIXED = DataContext(image_size=8, mixed=True)


def options(**values):
    return DataContext(image_size=8, options=imagenet.Options(**values))


def picture(number):
    """A JPEG of one color that tells its number."""
    file = io.BytesIO()
    Image.new("RGB", (30, 20), (number % 13 * 19, number // 13 * 12, 77)).save(file, "JPEG", quality=95)
    return file.getvalue()


def names(wnid):
    return [f"{wnid}/{wnid}_{n}" for n in (9, 10, 100, 11, 2, 30)[:EACH]]


def write(root, content=picture, suffix=".JPEG", wnids=WNIDS):
    """Class folders, the last first."""
    for c, wnid in reversed(list(enumerate(wnids))):
        (root / wnid).mkdir(parents=True)
        for i, name in enumerate(names(wnid)):
            (root / f"{name}{suffix}").write_bytes(content(EACH * c + i))
    return root


def feature(number):
    file = io.BytesIO()
    np.save(file, np.random.default_rng(number).normal(size=DIM).astype(np.float32) + number // EACH)
    return file.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("imagenet"))


@pytest.fixture(scope="module")
def feature_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("features")
    write(folder / "imagenet" / "features", feature, ".npy")
    return folder


@pytest.fixture(scope="module")
def loaded(folder):
    return imagenet.load(folder, TINY)


def test_val_and_test_are_miniimagenets_classes_and_train_all_others(loaded):
    for images, wnids in (
        (loaded.train, TRAIN),
        (loaded.val, ravi.CLASSES["val"]),
        (loaded.test, ravi.CLASSES["test"]),
    ):
        assert images.images.shape == (EACH * len(wnids), 8, 8, 3)
        for c, wnid in enumerate(wnids):
            there = {images.names[i].decode() for i in images.partitions[0].cluster(c)}
            assert there == {f"{name}.JPEG" for name in names(wnid)}
    assert loaded.train.supervised is None


@pytest.mark.parametrize("root", ["train", "images_84x84", "imagenet/images_224x224", "ILSVRC/Data/CLS-LOC/train"])
def test_the_class_folders_may_lie_deeper(root, loaded, tmp_path):
    write(tmp_path / root)
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(
            getattr(imagenet.load(tmp_path, TINY), split).images, getattr(loaded, split).images
        )


def test_the_folder_of_the_wanted_size_comes_first(tmp_path):
    for side in (84, 224):
        write(tmp_path / "imagenet" / f"images_{side}x{side}")
    assert imagenet.locate(tmp_path, "images", 84).root.name == "images_84x84"
    assert imagenet.locate(tmp_path, "images", 224).root.name == "images_224x224"
    assert imagenet.locate(tmp_path, "images", 64).root.name == "images_224x224"


def test_originals_come_before_squares_of_another_size(tmp_path):
    for root in ("train", "images_84x84", "imagenet/images_224x224"):
        write(tmp_path / root)
    places = {side: imagenet.locate(tmp_path, "images", side).root.name for side in (64, 84, 224, 300)}
    assert places == {64: "train", 84: "images_84x84", 224: "images_224x224", 300: "train"}


@pytest.mark.parametrize("decode", imagenet.DECODES)
def test_enlarged_images_are_named(folder, decode, caplog):
    for side, warned in ((30, False), (31, True)):
        caplog.clear()
        imagenet.load(folder, DataContext(image_size=side, options=imagenet.Options(decode=decode)))
        assert (f"{folder} (such as 30x20) are enlarged to {side}x{side}" in caplog.text) == warned


def test_missing_classes_are_counted(folder, caplog):
    imagenet.load(folder, TINY)
    assert "40 class folders, ImageNet has 1000; of miniImageNet's 64 training classes 62 are missing" in caplog.text


def test_what_cannot_be_used_is_named(folder, tmp_path, complains):
    with complains("imagenet needs --data_dir", "does not download", "image-net.org"):
        imagenet.load()
    with complains("imagenet needs --data_dir"):
        imagenet.files_key(None, None)
    with complains("is not a folder"):
        imagenet.load(tmp_path / "nowhere")
    with complains("no class folders with images"):
        imagenet.load(tmp_path)
    with complains("no class folders with features"):
        imagenet.load(folder, DataContext(options=imagenet.Options(input="features")))
    for wrong in ({"input": "pixels"}, {"decode": "never"}):
        with complains(f"--imagenet_{next(iter(wrong))}={next(iter(wrong.values()))}"):
            imagenet.load(folder, options(**wrong))
    with complains("--image_size is for images"):
        imagenet.load(folder, options(input="features"))
    with complains("--imagenet_decode=lazily is for images"):
        imagenet.load(folder, DataContext(options=imagenet.Options(input="features", decode="lazily")))
    val = ravi.CLASSES["val"]
    write(tmp_path / "a", wnids=[w for w in WNIDS if w not in val[3:5]])
    with complains("lacks the val classes", val[3], val[4]):
        imagenet.load(tmp_path / "a", TINY)
    write(tmp_path / "b", wnids=[w for w in WNIDS if w not in TRAIN])
    with complains("no class to train on"):
        imagenet.load(tmp_path / "b", TINY)
    write(tmp_path / "c")
    for file in (tmp_path / "c" / val[0]).iterdir():
        file.write_bytes(b"")
    with complains("no files in the val classes", val[0]):
        imagenet.load(tmp_path / "c", TINY)


def test_bad_files_are_left_out_and_listed(tmp_path, loaded):
    write(tmp_path)
    bad, empty, text = (tmp_path / f"{name}.JPEG" for name in names("n00000001")[:3])
    noise = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)).save(noise, "JPEG")
    bad.write_bytes(noise.getvalue()[: len(noise.getvalue()) // 2])
    empty.write_bytes(b"")
    text.write_text("no picture")
    for decode, left in (("once", 3), ("lazily", 2)):  # what is damaged behind the header shows when it is decoded
        reported = {}
        context = DataContext(image_size=8, options=imagenet.Options(decode=decode), report=reported.update)
        data = imagenet.load(tmp_path, context)
        assert len(data.train) == len(loaded.train) - left
        reasons = {entry["file"]: entry["reason"] for entry in reported["skipped"]}
        assert reasons[f"n00000001/{empty.name}"] == "is empty"
        assert reasons[f"n00000001/{text.name}"] == "is not a picture in a known format"
        assert len(reasons) == left
    number = data.train.names.tolist().index(f"n00000001/{bad.name}".encode())
    with pytest.raises(RunError, match=f"{bad.name} is truncated or damaged"):
        data.train.images[number]


def test_names_may_have_any_characters_but_those_that_cannot_be_kept(tmp_path, loaded):
    write(tmp_path)
    folder = tmp_path / TRAIN[0]
    (folder / "\u00e9 \u4e2d,.jpg").write_bytes(picture(7))
    (folder / os.fsdecode(b"\xff.jpg")).write_bytes(picture(8))
    assert len(imagenet.load(tmp_path, TINY).train) == len(loaded.train) + 2
    reported = {}
    lazily = DataContext(image_size=8, options=imagenet.Options(decode="lazily"), report=reported.update)
    train = imagenet.load(tmp_path, lazily).train
    assert reported["skipped"] == [{"file": f"{TRAIN[0]}/\\udcff.jpg", "reason": "has a name that is not UTF-8"}]
    assert len(np.asarray(train.images)) == len(loaded.train) + 1


def test_a_link_to_a_folder_above_is_left_out(tmp_path, loaded):
    write(tmp_path)
    (tmp_path / TRAIN[0] / "loop").symlink_to(tmp_path / TRAIN[0])
    reported = {}
    assert len(imagenet.load(tmp_path, DataContext(image_size=8, report=reported.update)).train) == len(loaded.train)
    assert reported["skipped"] == [{"file": f"{TRAIN[0]}/loop", "reason": "link to a folder that contains it"}]


def test_a_stopped_preparation_resumes(folder, loaded, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "SHARD", 10)
    context = DataContext(image_size=8, folder=tmp_path, workers=1)
    flattened, decoded = decoding.flattened, []

    def stopping(image, channels):
        if len(decoded) == 35:  # within the second shard of val
            raise KeyboardInterrupt
        decoded.append(image)
        return flattened(image, channels)

    monkeypatch.setattr(decoding, "flattened", stopping)
    with pytest.raises(KeyboardInterrupt):
        imagenet.load(folder, context)
    again = []
    monkeypatch.setattr(decoding, "flattened", lambda *arguments: again.append(1) or flattened(*arguments))
    data = imagenet.load(folder, context)
    np.testing.assert_array_equal(data.test.images, loaded.test.images)
    assert len(again) == EACH * len(WNIDS) - 24 - 10  # all but the three shards of train and the first of val


def test_the_key_tells_other_names_and_not_the_place(folder, tmp_path):
    write(tmp_path / "images_84x84")
    assert imagenet.files_key(tmp_path, None) == imagenet.files_key(folder, None)
    write(tmp_path / "other" / "train")
    (tmp_path / "other" / "train" / f"{names(TRAIN[0])[0]}.JPEG").unlink()
    assert imagenet.files_key(tmp_path / "other", None) != imagenet.files_key(folder, None)


def test_the_fraction_is_in_no_key_of_the_arrays(folder):
    def key(*flags):
        return build_plan.make(cli.parse(["--dataset=imagenet", f"--data_dir={folder}", *flags])).data.key

    assert key("--supervised_fraction=0.5") == key()
    assert key("--imagenet_decode=lazily") != key()


# Decoding when an image is needed


@pytest.fixture(scope="module")
def lazy(folder):
    return imagenet.load(folder, options(decode="lazily"))


def test_lazy_images_are_the_decoded_ones_in_the_order_of_their_names(loaded, lazy):
    for split in ("train", "val", "test"):
        once, later = getattr(loaded, split), getattr(lazy, split)
        order = np.argsort(once.names)
        assert later.names.tolist() == once.names[order].tolist()
        np.testing.assert_array_equal(later.images[:], once.images[order])
        np.testing.assert_array_equal(later.partitions[0].sizes, once.partitions[0].sizes)


@pytest.mark.parametrize(
    "index",
    [0, -1, np.int64(3), slice(2, 9, 3), slice(None, None, 7), [4, 1, 1], np.array([[5, 0], [2, 2]]), np.zeros(0, int)],
)
def test_lazy_images_are_indexed_as_an_array_is(lazy, index):
    images, whole = lazy.train.images, np.asarray(lazy.train.images)
    np.testing.assert_array_equal(images[index], whole[index])
    assert images[index].dtype == np.uint8
    assert (images.shape, images.ndim, images.nbytes, len(images)) == (whole.shape, 4, whole.nbytes, len(whole))


def test_lazy_images_serve_where_arrays_do(lazy):
    images, whole = lazy.train.images, np.asarray(lazy.train.images)
    numbers = np.array([[3, 1], [20, 7]])
    np.testing.assert_array_equal(gather(images, numbers), whole[numbers])
    np.testing.assert_array_equal(digests(images), digests(whole))
    np.testing.assert_array_equal(images[np.arange(24) % 2 == 0], whole[::2])
    with pytest.raises(IndexError):
        images[24]


def test_lazy_images_are_decoded_once_while_they_are_kept(folder, lazy):
    decoded = []

    def decode(content):
        decoded.append(len(content))
        return decoding.array(content, (8, 8, 3), "stretch")

    images = LazyImages(folder, lazy.val.names, decode, (8, 8, 3))
    images[:8], images[3], images[[2, 7]]
    assert len(decoded) == 8
    images[3][:] = 0  # what is given away is the caller's
    np.testing.assert_array_equal(images[3], lazy.val.images[3])


# Features


def test_features_are_rows(feature_folder):
    data = imagenet.load(feature_folder, DataContext(options=imagenet.Options(input="features")))
    assert data.image_shape == (DIM,)
    assert data.train.images.dtype == np.float32
    for i in (0, 11, 23):
        expected = np.load(feature_folder / "imagenet" / "features" / data.train.names[i].decode())
        np.testing.assert_array_equal(data.train.images[i], expected)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros(DIM + 1, np.float32), "has 6 numbers, the others 5"),
        (np.zeros((1, DIM), np.float32), "has shape [1, 5], not one vector"),
        (np.zeros(DIM, np.int32), "holds int32, not floating-point numbers"),
        (np.array([0, np.nan, 0, 0, 0], np.float32), "holds NaN or infinity"),
        (np.array([1e300, 0, 0, 0, 0]), "holds NaN or infinity"),
        (np.array([{}] * DIM, object), "holds pickled objects, not numbers or strings"),
        (None, "is damaged or cut short (its header states float32 of shape [5], 148 bytes, and it has 145)"),
        (b"\x93NUMPY\x01\x00\x08\x00{'a': ''", "is not a .npy file, or its header is damaged"),
    ],
)
def test_bad_features_are_left_out_with_their_reason(array, reason, tmp_path):
    write(tmp_path, feature, ".npy")
    file = tmp_path / f"{names(TRAIN[1])[2]}.npy"
    if array is None:
        file.write_bytes(file.read_bytes()[:-3])
    elif isinstance(array, bytes):
        file.write_bytes(array)
    else:
        np.save(file, array)
    reported = {}
    imagenet.load(tmp_path, DataContext(options=imagenet.Options(input="features"), report=reported.update))
    assert reported["skipped"] == [{"file": str(file.relative_to(tmp_path)), "reason": reason}]


# The supervised mixture


def supervised_names(data):
    """For each cluster the numbers in the names of its images."""
    partition = data.train.supervised[0]
    return [
        {int(data.train.names[i].decode().rsplit("_")[-1].split(".")[0]) for i in partition.cluster(c)}
        for c in range(len(partition.sizes))
    ]


def test_the_true_partition_has_the_first_images_of_miniimagenets_classes_by_number(folder, monkeypatch):
    monkeypatch.setattr(ravi, "IMAGES", 3)
    data = imagenet.load(folder, MIXED)
    assert supervised_names(data) == [{2, 9, 10}] * 2
    partition = data.train.supervised[0]
    for c, wnid in enumerate(MINI):
        assert all(data.train.names[i].startswith(wnid.encode()) for i in partition.cluster(c))


def test_the_true_partition_follows_the_lists_where_there_are_some(tmp_path):
    write(tmp_path)
    rows = {split: [f"{wnids[0]}_9.JPEG,{wnids[0]}"] for split, wnids in ravi.CLASSES.items()}
    rows["train"] = [
        f"{MINI[0]}_30.JPEG,{MINI[0]}",
        f"{MINI[0]}00000006.jpg,{MINI[0]}",
        f"{MINI[1]}00000002.jpg,{MINI[1]}",
    ]
    (tmp_path / "miniimagenet_splits").mkdir()
    for split, lines in rows.items():
        (tmp_path / "miniimagenet_splits" / f"{split}.csv").write_text("\n".join(["filename,label", *lines]))
    assert supervised_names(imagenet.load(tmp_path, MIXED)) == [{30, 100}, {9}]


def test_a_mixture_without_any_of_these_classes_is_refused(tmp_path, complains):
    write(tmp_path, wnids=[w for w in WNIDS if w not in MINI])
    with complains("--supervised_fraction", "none of miniImageNet's 64 training classes"):
        imagenet.load(tmp_path, MIXED)


def test_a_run_asks_for_the_true_partition_only_where_it_mixes_it_in(folder, tmp_path):
    def prepared(*flags):
        places = [f"--data_dir={folder}", f"--artifacts_dir={tmp_path}"]
        plan = build_plan.make(cli.parse(["--dataset=imagenet", "--image_size=8", *places, *flags]))
        return prepare(plan.data, tmp_path)

    assert prepared().train.supervised is None
    assert len(prepared("--supervised_fraction=0.5").train.supervised[0].sizes) == len(MINI)


# The command line


def run(tmp_path, *flags):
    places = [f"--workdir={tmp_path / 'run'}", f"--artifacts_dir={tmp_path / 'artifacts'}"]
    short = ["--dataset=imagenet", "--shot=1", "--query=2", "--steps=3", "--eval_shots=1", "--eval_episodes=4"]
    return main([*short, *places, *flags])


def results(tmp_path):
    return json.loads((tmp_path / "run" / "results.json").read_text())["rows"]


def test_a_run_with_cluster_files_and_a_mixture_on_lazily_decoded_images(folder, tmp_path, capsys):
    stems = [name.split("/")[1] for wnid in TRAIN for name in names(wnid)]
    (tmp_path / "train_k4.json").write_text(json.dumps({stem: i // EACH for i, stem in enumerate(stems)}))
    flags = [
        f"--data_dir={folder}",
        "--image_size=28",
        "--imagenet_decode=lazily",
        "--supervised_fraction=0.5",
    ]
    flags += ["--partitioner=cluster_files", f"--cluster_files_dir={tmp_path}", "--cluster_files_sizes=4"]
    assert run(tmp_path, *flags, "--algo=protonets", "--way=2", "--filters=4", "--eval_query=2") == 0
    (row,) = results(tmp_path)
    assert (row["embedder"], row["partitioner"]) == ("none", "cluster_files")
    assert row["options"]["supervised_fraction"] == 0.5
    assert row["options"]["cluster_files_sizes"] == [4]
    assert "clusters" not in row["options"]
    assert "true labels with probability 0.5" in capsys.readouterr().out


def test_a_run_on_features(feature_folder, tmp_path, capsys):
    flags = [f"--data_dir={feature_folder}", "--imagenet_input=features", "--clusters=3", "--way=2", "--filters=4"]
    assert run(tmp_path, *flags) == 2
    assert "add --on_embeddings" in capsys.readouterr().err
    assert run(tmp_path, *flags, "--on_embeddings", "--stage=prepare") == 0
    assert run(tmp_path, *flags, "--on_embeddings", "--eval_query=2") == 0
    assert "the features are the embeddings" in capsys.readouterr().out
    protonets, neighbors = results(tmp_path)
    assert protonets["embedder"] == neighbors["embedder"] == "features"
    assert neighbors["accuracy"] > 0.7  # classes lie apart by one standard deviation in each of five numbers
    assert not (tmp_path / "run" / "clusters.png").exists()
