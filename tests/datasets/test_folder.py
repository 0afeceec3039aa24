import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cactus_tf
from cactus_tf.config import build_plan
from cactus_tf.config import flags as cli
from cactus_tf.contracts import DataContext
from cactus_tf.datasets import folder
from cactus_tf.datasets._io import depth, headers, picture_formats, preparing
from cactus_tf.datasets._io.listing import listing
from cactus_tf.main import main
from cactus_tf.runs.artifacts import Artifact


def put(root, *names, mode="RGB", size=(12, 9)):
    """Pictures of noise, different ones in each file."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(list(os.fsencode(name)))
        pixels = rng.integers(0, 256, (size[1], size[0], 3), np.uint8)
        Image.fromarray(pixels).convert(mode).save(path, "PNG")
    return root


def numbered(prefix, number, **how):
    return [f"{prefix}{i}.png" for i in range(number)]


def load(root, notes=None, **context):
    found = notes.append if notes is not None else lambda _: None
    return folder.load(root, DataContext(workers=1, report=found, **{"image_size": 8, **context}))


def names(image_set):
    return sorted(name.decode() for name in image_set.names)


def by_class(image_set):
    """The names of the files of each class."""
    partition = image_set.partitions[0]
    return [sorted(image_set.names[partition.cluster(c)].astype(str)) for c in range(len(partition.sizes))]


# Layouts


def test_every_picture_however_deep_is_for_training_and_has_no_label(tmp_path):
    data = load(put(tmp_path, "a.png", "cat/b.png", "cat/old/c.png", "dog/d.png"))
    assert names(data.train) == ["a.png", "cat/b.png", "cat/old/c.png", "dog/d.png"]
    assert data.train.partitions is None
    assert data.image_shape == (8, 8, 3)


def test_sub_folders_of_training_pictures_are_no_classes(tmp_path):
    assert load(put(tmp_path, "cat/1.png", "dog/2.png")).train.partitions is None


def test_without_labels_val_and_test_are_empty(tmp_path):
    data = load(put(tmp_path, "a.png", "b.png"))
    for split in (data.val, data.test):
        assert split.images.shape == (0, 8, 8, 3)
        assert split.partitions is None


def test_sub_folders_of_eval_dir_are_classes_in_the_order_of_their_names(tmp_path):
    put(tmp_path / "data", "a.png", "b.png")
    put(tmp_path / "eval", "dog/1.png", "cat/2.png", "cat/deep/3.png", "ant/4.png", "loose.png")
    notes = []
    data = load(tmp_path / "data", notes, eval_dir=tmp_path / "eval")
    assert by_class(data.test) == [["ant/4.png"], ["cat/2.png", "cat/deep/3.png"], ["dog/1.png"]]
    assert len(data.val) == 0
    assert notes[0]["classes"] == {"test": ["ant", "cat", "dog"]}
    assert notes[0]["skipped"] == [{"file": "loose.png", "reason": "lies in no class folder"}]


def test_train_val_and_test_are_honoured(tmp_path, caplog):
    put(
        tmp_path, "train/x/1.png", "train/y/2.png", "val/3.png", "val/4.png", "test/z/5.png", "test/6.png", "more/7.png"
    )
    put(tmp_path, "8.png")
    notes = []
    data = load(tmp_path, notes)
    assert by_class(data.train) == [["train/x/1.png"], ["train/y/2.png"]]
    assert (names(data.val), data.val.partitions) == (["val/3.png", "val/4.png"], None)
    assert by_class(data.test) == [["test/z/5.png"]]
    skipped = {s["file"]: s["reason"] for s in notes[0]["skipped"]}
    beside = "lies beside the subfolder train"
    assert skipped == {"test/6.png": "lies in no class folder", "more/7.png": beside, "8.png": beside}
    assert "3 files or folders left out" in caplog.text


def test_training_pictures_beside_sub_folders_have_no_labels(tmp_path):
    data = load(put(tmp_path, "train/x/1.png", "train/2.png"))
    assert (len(data.train), data.train.partitions) == (2, None)


def test_splits_share_no_file(tmp_path):
    put(tmp_path, *numbered("train/a/", 5), *numbered("val/b/", 4), *numbered("test/c/", 3))
    data = load(tmp_path)
    found = [names(split) for split in (data.train, data.val, data.test)]
    assert [len(split) for split in found] == [5, 4, 3]
    assert len({name for split in found for name in split}) == 12


def test_a_test_folder_without_a_train_folder_is_asked_about(tmp_path, complains):
    with complains("subfolder test", "rename test"):
        load(put(tmp_path, "a.png", "b.png", "test/c.png"))


def test_eval_dir_takes_the_place_of_test(tmp_path, caplog):
    put(tmp_path / "data", "train/1.png", "train/2.png", "test/a/3.png")
    put(tmp_path / "eval", "b/4.png")
    data = load(tmp_path / "data", eval_dir=tmp_path / "eval")
    assert names(data.test) == ["b/4.png"]
    assert "eval_dir takes the place of" in caplog.text


@pytest.mark.parametrize("place", ["test", "photos/evaluated", "link"])
def test_pictures_of_eval_dir_are_not_trained_on(tmp_path, place, caplog):
    put(tmp_path, "a.png", "photos/b.png", "photos/evaluated/x/1.png", "photos/evaluated/y/2.png")
    if place == "test":
        (tmp_path / "photos/evaluated").rename(tmp_path / "test")
    (tmp_path / "link").symlink_to(tmp_path / ("test" if place == "test" else "photos/evaluated"))
    notes = []
    with caplog.at_level("INFO"):
        data = load(tmp_path, notes, eval_dir=tmp_path / place)
    assert names(data.train) == ["a.png", "photos/b.png"]
    assert names(data.test) == ["x/1.png", "y/2.png"]
    assert notes[0]["of_eval_dir"] == 2  # the link is not read, its folder is read already
    assert "2 pictures of data_dir lie in eval_dir" in caplog.text


@pytest.mark.parametrize("data, evaluated", [("p", "p"), ("p/c", "p"), ("link", "p")])
def test_training_pictures_within_eval_dir_are_refused(tmp_path, data, evaluated, complains):
    put(tmp_path / "p", "c/1.png", "c/2.png", "d/3.png")
    (tmp_path / "link").symlink_to(tmp_path / "p")
    with complains("lies in eval_dir", "another folder"):
        load(tmp_path / data, eval_dir=tmp_path / evaluated)


@pytest.mark.parametrize("flag", ["data_dir", "eval_dir"])
def test_a_file_that_is_no_archive_is_refused_with_the_name_of_its_setting(tmp_path, flag, complains):
    put(tmp_path / "p", "c/1.png", "c/2.png")
    (tmp_path / "notes.txt").write_text("no pictures")
    places = {"data_dir": tmp_path / "p", "eval_dir": tmp_path / "p", flag: tmp_path / "notes.txt"}
    with complains(f"--{flag} {tmp_path}/notes.txt is one file", "name a folder or zip archive"):
        load(places["data_dir"], eval_dir=places["eval_dir"])


def test_a_neighbor_whose_name_begins_the_same_is_another_folder(tmp_path):
    put(tmp_path, "data/a/1.png", "data/a/2.png", "data2/a/3.png", "data2/a/4.png")
    assert len(load(tmp_path / "data", eval_dir=tmp_path / "data2").train) == 2
    assert len(load(tmp_path / "data2", eval_dir=tmp_path / "data").train) == 2


def archive(root, path, prefix=""):
    with zipfile.ZipFile(path, "w") as made:
        for file in sorted(root.rglob("*"), reverse=True):
            if file.is_file():
                made.write(file, prefix + str(file.relative_to(root)))
    return path


@pytest.mark.parametrize("prefix", ["", "photos/"])
def test_an_archive_gives_what_its_folder_gives(tmp_path, prefix):
    put(tmp_path / "data", "train/x/1.png", "train/y/2.png", "test/é/3.png")
    put(tmp_path / "eval", "u/4.png", "v/5.png")
    zips = [archive(tmp_path / name, tmp_path / f"{name}.zip", prefix) for name in ("data", "eval")]
    one, other = load(tmp_path / "data", eval_dir=tmp_path / "eval"), load(zips[0], eval_dir=zips[1])
    for split in ("train", "val", "test"):
        np.testing.assert_array_equal(getattr(one, split).images, getattr(other, split).images)
    assert by_class(other.test) == [[f"{prefix}u/4.png"], [f"{prefix}v/5.png"]]


def test_one_folder_around_the_splits_does_not_count(tmp_path):
    put(tmp_path, "photos/train/x/1.png", "photos/train/y/2.png", "photos/test/z/3.png")
    (tmp_path / "readme.txt").write_text("words")
    data = load(tmp_path)
    assert by_class(data.train) == [["photos/train/x/1.png"], ["photos/train/y/2.png"]]
    assert by_class(data.test) == [["photos/test/z/3.png"]]


def test_one_folder_around_val_alone_is_asked_about(tmp_path, complains):
    put(tmp_path, "photos/val/1.png", "photos/more/2.png")
    with complains(tmp_path / "photos", "rename val"):
        load(tmp_path)


@pytest.mark.parametrize(
    "files, warning",
    [
        (["photos/train/1.png", "photos/test/2.png", "more/3.png"], "{0}/photos has a subfolder train"),
        (["a/b/train/1.png", "a/b/test/2.png"], "name {0}/a/b as data_dir"),
        (["train/1.png", "train/2.png", "Test/3.png", "dev/4.png", "x/5.png"], "Test, dev beside train in {0} left"),
        (["Train/1.png", "Test/2.png"], "Test, Train in {0} are all trained on"),
        (["train/1.png", "train/2.png", "val/3.png", "x/4.png"], None),
        (["cat/1.png", "Test/2.png"], None),
        (["a/train/1.png", "b/train/2.png"], None),
        (["cat/1.png", "cat/train.png"], None),
    ],
)
def test_folders_that_look_like_splits_and_are_none_are_named(tmp_path, files, warning, caplog):
    load(put(tmp_path, *files))
    messages = [r.getMessage() for r in caplog.records if r.name == folder.log.name]
    assert len(messages) == (warning is not None)
    assert warning is None or warning.format(tmp_path) in messages[0]


def test_one_class_with_its_name_written_in_two_ways_is_one(tmp_path):
    put(tmp_path / "data", "a.png", "b.png")
    put(tmp_path / "eval", "e\u0301/1.png", "é/2.png", "f/3.png")
    notes = []
    data = load(tmp_path / "data", notes, eval_dir=tmp_path / "eval")
    assert data.test.partitions[0].sizes.tolist() == [1, 2]
    assert notes[0]["classes"]["test"] == ["f", "é"]


def test_order_and_content_depend_on_neither_names_nor_directory_order(tmp_path):
    put(tmp_path / "one", *numbered("", 6))
    (tmp_path / "other").mkdir()
    for i, file in enumerate(sorted((tmp_path / "one").iterdir(), reverse=True)):
        (tmp_path / "other" / f"{i}-renamed.png").write_bytes(file.read_bytes())
    np.testing.assert_array_equal(load(tmp_path / "one").train.images, load(tmp_path / "other").train.images)


# Sizes and colors


@pytest.mark.parametrize(
    "mode, size, shape",
    [("RGB", (12, 9), (84, 84, 3)), ("L", (64, 30), (28, 28, 1)), ("L", (30, 64), (28, 28, 1)),
     ("L", (65, 30), (84, 84, 1)), ("L", (30, 65), (84, 84, 1))],
)  # fmt: skip
def test_the_usual_size_is_that_of_small_gray_pictures_or_84(tmp_path, mode, size, shape):
    put(tmp_path, "a.png", "b.png", mode=mode, size=size)
    assert load(tmp_path, image_size=None).image_shape == shape


def test_half_of_the_gray_pictures_decide_on_the_size(tmp_path):
    put(tmp_path, *numbered("small", 3), mode="L", size=(20, 20))
    put(tmp_path, *numbered("large", 2), mode="L", size=(300, 20))
    assert load(tmp_path, image_size=None).image_shape == (28, 28, 1)


def test_one_training_picture_in_color_makes_all_color(tmp_path):
    put(tmp_path, *numbered("gray", 4), mode="L")
    put(tmp_path, "color.png")
    assert load(tmp_path).image_shape == (8, 8, 3)


def test_training_pictures_alone_decide_on_color(tmp_path):
    put(tmp_path / "data", "a.png", "b.png", mode="L")
    put(tmp_path / "eval", "x/1.png", "y/2.png")
    data = load(tmp_path / "data", eval_dir=tmp_path / "eval")
    assert data.train.images.shape[1:] == data.test.images.shape[1:] == (8, 8, 1)


def test_a_file_that_is_no_picture_decides_on_nothing(tmp_path):
    put(tmp_path, "a.png", "b.png", mode="L")
    (tmp_path / "c.png").write_text("words")
    notes = []
    assert load(tmp_path, notes).image_shape == (8, 8, 1)
    assert notes[0]["skipped"] == [{"file": "c.png", "reason": "is not a picture in a known format"}]


def test_extensions_do_not_matter_but_to_be_looked_at(tmp_path, caplog):
    put(tmp_path, "a.JPG", "b.webp")
    (tmp_path / "notes.txt").write_text("words")
    notes = []
    with caplog.at_level("INFO"):
        assert names(load(tmp_path, notes).train) == ["a.JPG", "b.webp"]
    assert notes[0]["other_files"] == 1
    assert "folder: 1 files with other extensions are passed over: 1 .txt, such as notes.txt" in caplog.text


@pytest.mark.parametrize("fit, black", [("crop", False), ("stretch", False), ("pad", True)])
def test_fit_says_what_becomes_of_oblong_pictures(tmp_path, fit, black):
    for name in ("a", "b"):
        Image.new("L", (40, 10), 200).save(tmp_path / f"{name}.png")
    images = load(tmp_path, options=folder.Options(fit=fit)).train.images
    assert (images.min() == 0) == black


def test_headers_are_read_without_the_rest_of_the_file(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (300, 400), np.uint8)
    for kind in ("png", "jpg", "gif", "bmp"):
        Image.fromarray(pixels).save(tmp_path / f"a.{kind}")
        with open(tmp_path / f"a.{kind}", "r+b") as file:
            file.truncate(5000)
        [entry] = listing(tmp_path, (f".{kind}",)).entries
        np.testing.assert_array_equal(headers.header(entry), [400, 300, True, *depth.SHALLOW])


# Bad input


@pytest.mark.parametrize(
    "arguments, words",
    [((None,), ("--data_dir",)), (("absent",), ("data_dir", "absent", "does not exist")),
     (("data", "absent"), ("eval_dir", "absent", "does not exist"))],
)  # fmt: skip
def test_what_is_not_there_is_one_line(tmp_path, monkeypatch, arguments, words, complains):
    monkeypatch.chdir(put(tmp_path, "data/a.png", "data/b.png"))
    with complains(*words):
        load(arguments[0], eval_dir=arguments[1] if len(arguments) > 1 else None)


def test_a_folder_without_pictures_says_what_was_looked_for(tmp_path, complains):
    (tmp_path / "a.tga").write_text("")
    (tmp_path / "b.mp4").write_text("")
    with complains("holds no pictures", ".jpg", ".webp", "2 other files: 1 .mp4, such as b.mp4; 1 .tga"):
        load(tmp_path)


def test_one_picture_is_too_few(tmp_path, complains):
    for name in ("train/a.png", "test/one/b.png", "test/two/c.png"):
        put(tmp_path, name)
    with complains("has too few training pictures: 1 (of 3 in all); add more, at least 2 are needed"):
        load(tmp_path)


def test_one_readable_picture_is_too_few(tmp_path, complains):
    put(tmp_path, "a.png")
    (tmp_path / "b.png").write_text("")
    with complains("only 1 picture could be read"):
        load(tmp_path)


def test_no_readable_picture_is_one_line(tmp_path, complains):
    for name in "ab":
        (tmp_path / f"{name}.png").write_text("words")
    with complains("not one of 2 training pictures could be read", "a.png"):
        load(tmp_path)


@pytest.mark.parametrize("evaluated, words", [(["a.png"], "no subfolders"), (["a/x.txt"], "holds no pictures")])
def test_an_eval_dir_without_classes_is_one_line(tmp_path, evaluated, words, complains):
    put(tmp_path / "data", "a.png", "b.png")
    put(tmp_path / "eval", *evaluated)
    with complains("eval_dir", words):
        load(tmp_path / "data", eval_dir=tmp_path / "eval")


def test_an_unknown_fit_is_one_line(tmp_path, complains):
    with complains("--folder_fit=squeeze", "crop, stretch, pad"):
        load(put(tmp_path, "a.png", "b.png"), options=folder.Options(fit="squeeze"))


def test_bad_pictures_are_left_out_with_a_summary(tmp_path, caplog):
    put(tmp_path, *numbered("", 3))
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[:-40])
    (tmp_path / "empty.jpg").write_bytes(b"")
    notes = []
    assert len(load(tmp_path, notes).train) == 3
    reasons = {s["file"]: s["reason"] for s in notes[0]["skipped"]}
    assert reasons == {"cut.png": "is truncated or damaged", "empty.jpg": "is empty"}
    assert "folder: 2 files or folders left out" in caplog.text


def test_classes_are_listed_as_they_are_numbered_and_those_without_a_picture_named(tmp_path, caplog):
    put(tmp_path / "data", *numbered("train/a/", 2), *numbered("train/b/", 2))
    put(tmp_path / "eval", "ant/1.png", "cat/2.png", "dog/3.png")
    (tmp_path / "eval/bad").mkdir()
    (tmp_path / "eval/bad/4.png").write_text("words")
    for name in ("cow", ".hidden"):
        (tmp_path / "eval" / name).mkdir()
    (tmp_path / "data/train/none").mkdir()
    notes = []
    data = load(tmp_path / "data", notes, eval_dir=tmp_path / "eval")
    assert by_class(data.test) == [["ant/1.png"], ["cat/2.png"], ["dog/3.png"]]
    assert notes[0]["classes"] == {"train": ["a", "b"], "test": ["ant", "cat", "dog"]}
    assert "folder: 1 test classes without a picture: cow" in caplog.text
    assert "folder: 1 test classes without a readable picture: bad" in caplog.text
    assert "folder: 1 train classes without a picture: none" in caplog.text


@pytest.mark.parametrize("extension", ["tif", "TIFF", "avif", "jfif"])
def test_pictures_of_any_format_that_pillow_reads_are_trained_on(tmp_path, extension):
    if f".{extension.lower()}" not in picture_formats.EXTENSIONS:
        pytest.skip("this Pillow does not read it")
    for i in range(3):
        pixels = np.random.default_rng(i).integers(0, 256, (9, 12, 3), np.uint8)
        kind = {"avif": "AVIF", "jfif": "JPEG"}.get(extension, "TIFF")
        Image.fromarray(pixels).save(tmp_path / f"{i}.{extension}", kind)
    assert load(tmp_path).train.images.std() > 10


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("around", ["", "top/"])
def test_a_class_whose_files_all_have_other_extensions_is_named(tmp_path, packed, around, caplog):
    put(tmp_path / "data", "a.png", "b.png")
    put(tmp_path / "eval", "ant/1.png", "bee/2.png")
    for i in range(3):
        path = tmp_path / "eval" / "cat" / f"{i}.heic-not"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    if packed or around:
        archive(tmp_path / "eval", tmp_path / "eval.zip", around)
    notes, place = [], tmp_path / ("eval.zip" if packed or around else "eval")
    assert by_class(load(tmp_path / "data", notes, eval_dir=place).test)[0] == [f"{around}ant/1.png"]
    assert "folder: 1 test classes without a picture: cat" in caplog.text
    assert "folder: eval_dir: 3 files with other extensions are passed over: 3 .heic-not, such as" in caplog.text
    assert notes[0]["other_files"] == 3


def test_a_class_that_was_added_without_a_picture_is_named_although_the_others_are_prepared(tmp_path, caplog):
    put(tmp_path / "data", "a.png", "b.png")
    put(tmp_path / "eval", "ant/1.png", "bee/2.png")
    store = Artifact(tmp_path, "data", {})
    for added in (False, True):
        if added:
            (tmp_path / "eval/cat").mkdir()
            (tmp_path / "eval/cat/1.tga").write_bytes(b"")
        caplog.clear()
        load(tmp_path / "data", cache=store.cache, folder=store.folder, eval_dir=tmp_path / "eval")
        assert ("1 test classes without a picture: cat" in caplog.text) == added
        assert ("1 .tga, such as cat/1.tga" in caplog.text) == added


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_split_whose_classes_all_lack_pictures_is_named(tmp_path, split, caplog):
    put(tmp_path, "train/a/1.png", "train/b/2.png")
    (tmp_path / split / "cat").mkdir(parents=True)
    load(tmp_path)
    assert f"folder: 1 {split} classes without a picture: cat" in caplog.text


@pytest.mark.parametrize(
    "files, classes, left_out",
    [
        (["test/ant/1.png", "test/bee/2.png"], ["ant", "bee"], []),
        (["top/ant/1.png", "top/bee/2.png", "docs/a.txt"], ["ant", "bee"], ["docs"]),
        (["ant/1.png", "bee/a.txt"], ["ant"], []),
        (["ant/1.png", "ant/more/2.png", "bee/a.txt"], ["ant"], []),
    ],
)
def test_the_folder_around_all_classes_of_an_archive_is_none(tmp_path, files, classes, left_out):
    put(tmp_path / "data", "a.png", "b.png")
    put(tmp_path / "eval", *[name for name in files if name.endswith("png")])
    for name in (name for name in files if name.endswith("txt")):
        (tmp_path / "eval" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "eval" / name).write_text("words")
    notes = []
    load(tmp_path / "data", notes, eval_dir=archive(tmp_path / "eval", tmp_path / "eval.zip"))
    assert notes[0]["classes"]["test"] == classes
    assert [s["file"] for s in notes[0]["skipped"]] == left_out


@pytest.mark.parametrize("packed", [False, True])
def test_folders_of_a_system_are_neither_classes_nor_trained_on(tmp_path, packed, caplog):
    put(tmp_path / "data", "a.png", "b.png", "@eaDir/a.png/SYNOPHOTO_THUMB_M.png", "lost+found/c.png")
    put(tmp_path / "eval", "ant/1.png", "bee/2.png", "@eaDir/x.png", "__MACOSX/ant/1.png", "ant/@eaDir/1.png/y.png")
    places = [tmp_path / name for name in ("data", "eval")]
    places = [archive(place, place.with_suffix(".zip")) for place in places] if packed else places
    notes = []
    with caplog.at_level("INFO"):
        data = load(places[0], notes, eval_dir=places[1])
    assert (names(data.train), names(data.test)) == (["a.png", "b.png"], ["ant/1.png", "bee/2.png"])
    assert (notes[0]["classes"], notes[0]["hidden"]) == ({"test": ["ant", "bee"]}, 5)
    assert "folder: 2 hidden or system files and folders are not looked at: @eaDir; lost+found" in caplog.text
    assert "without a picture" not in caplog.text


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_test_pictures_that_are_trained_on_are_counted(tmp_path, extension, caplog):
    put(tmp_path / "data", "a.png", "b.png", "c.png")
    put(tmp_path / "eval", "ant/1.png", "bee/2.png")
    with Image.open(tmp_path / "data/a.png") as image:
        image.save(tmp_path / f"eval/ant/copy{extension}")
    notes = []
    load(tmp_path / "data", notes, eval_dir=tmp_path / "eval")
    assert notes[0]["in_train"] == {"test": 1}
    assert "folder: 1 of 3 test images are in train, too" in caplog.text
    assert "val images" not in caplog.text


# Keeping


def test_what_is_kept_is_not_decoded_again(tmp_path, monkeypatch):
    put(tmp_path / "data", "a.png", "b.png")
    store = Artifact(tmp_path, "data", {})
    before = load(tmp_path / "data", cache=store.cache, folder=store.folder)
    for module, name in ((headers, "decode_files"), (preparing, "decode_files")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("decoded again"))
    after = load(tmp_path / "data", cache=store.cache, folder=store.folder)
    np.testing.assert_array_equal(before.train.images, after.train.images)


def test_a_stopped_preparation_goes_on(tmp_path, monkeypatch):
    put(tmp_path / "data", "a.png", "b.png")
    store, array, seen = Artifact(tmp_path, "data", {}), folder.array, []

    def stop(content, shape, fit, reduced, pixel_range):
        raise KeyboardInterrupt

    def header(entry):
        seen.append(entry.name)
        return np.array([9, 9, False, *depth.SHALLOW])

    monkeypatch.setattr(headers, "header", header)
    monkeypatch.setattr(folder, "array", stop)
    with pytest.raises(KeyboardInterrupt):
        load(tmp_path / "data", cache=store.cache, folder=store.folder)
    monkeypatch.setattr(folder, "array", array)
    assert len(load(tmp_path / "data", cache=store.cache, folder=store.folder).train) == 2
    assert seen == ["a.png", "b.png"]  # once


SCRIPT = """
print("once")
from cactus_tf import datasets
data = datasets.load("folder", data_dir="data")
print(data.train.images.shape[0])
"""


@pytest.mark.parametrize("way", ["file", "standard input"])
def test_a_script_that_loads_pictures_at_its_top_level_runs_once(way, tmp_path):
    put(tmp_path / "data", *numbered("", 40))
    (tmp_path / "script.py").write_text(SCRIPT)
    ran = subprocess.run(
        [sys.executable, "script.py" if way == "file" else "-"],
        input=SCRIPT, cwd=tmp_path, capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(Path(cactus_tf.__file__).parents[1])},
    )  # fmt: skip
    assert ran.stdout.split() == ["once", "40"]


def test_no_module_starts_processes_which_would_import_the_callers_script_again():
    for path in Path(cactus_tf.__file__).parent.rglob("*.py"):
        text = path.read_text()
        assert "multiprocessing" not in text and "ProcessPool" not in text, path


@pytest.fixture
def key(tmp_path):
    """The key of what the folders `data` and `eval` hold now."""
    put(tmp_path / "data", "a.png", "sub/b.png")
    put(tmp_path / "eval", "x/1.png", "y/2.png")

    def look(evaluated=True):
        folder.files_key.cache_clear()
        return folder.files_key(tmp_path / "data", tmp_path / "eval" if evaluated else None)

    return look


def test_the_key_is_looked_up_once(key, tmp_path):
    before = key()
    put(tmp_path / "data", "c.png")
    assert folder.files_key(tmp_path / "data", tmp_path / "eval") == before


@pytest.mark.parametrize("change", ["add", "remove", "rename", "size", "time"])
def test_another_training_file_is_another_key(key, tmp_path, change):
    before, file = key(), tmp_path / "data/sub/b.png"
    changes = {
        "add": lambda: put(tmp_path / "data", "sub/c.png"),
        "remove": lambda: (put(tmp_path / "data", "c.png"), file.unlink(), key())[1],
        "rename": lambda: file.rename(tmp_path / "data/sub/c.png"),
        "size": lambda: (file.write_bytes(file.read_bytes() + b"x"), os.utime(file, ns=(0, stamp))),
        "time": lambda: os.utime(file, ns=(0, stamp + 1000)),
    }
    stamp = file.stat().st_mtime_ns
    changes[change]()
    after = key()
    assert after["train"] != before["train"]
    assert after["rest"] == before["rest"]


def test_other_files_to_judge_on_leave_the_key_for_training(key, tmp_path):
    before = key()
    put(tmp_path / "eval", "y/3.png")
    assert key()["train"] == before["train"] == key(evaluated=False)["train"]
    assert len({key()["rest"], before["rest"], key(evaluated=False)["rest"]}) == 3


def test_the_place_of_the_files_is_not_in_the_key(key, tmp_path):
    before = key()
    (tmp_path / "data").rename(tmp_path / "moved")
    assert folder.files_key(tmp_path / "moved", tmp_path / "eval") == before


def test_artifacts_that_learn_depend_on_training_pictures_alone(key, tmp_path):
    key()
    flags = ["--dataset=folder", f"--data_dir={tmp_path / 'data'}"]
    made = [build_plan.make(cli.parse([*flags, *more])) for more in ([], [f"--eval_dir={tmp_path / 'eval'}"])]
    one, other = made
    assert one.data.key != other.data.key
    assert one.embedding.key == other.embedding.key
    assert one.partition.key == other.partition.key
    assert one.embedding.embeddings_key != other.embedding.embeddings_key


# The whole line


def run(tmp_path, *flags):
    """Exit code and workdir of a short run."""
    folder.files_key.cache_clear()
    short = ["--embedder=pixels", "--partitions=2", "--filters=4", "--steps=2", "--eval_episodes=5", "--image_size=16"]
    places = [f"--artifacts_dir={tmp_path / 'artifacts'}", f"--workdir={tmp_path / 'run'}"]
    return main(["--dataset=folder", f"--data_dir={tmp_path / 'data'}", *short, *places, *flags])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    put(root / "data", *numbered("", 60))
    for c in "abc":
        put(root / "eval", *numbered(f"{c}/", 10))
    put(root / "eval", *numbered("tiny/", 8))
    return root


def test_a_run_without_labels_ends_well_and_says_how_to_judge(photos, capsys):
    assert run(photos) == 0
    closing = capsys.readouterr().out.split("no accuracy")[-1]
    assert "--eval_dir=FOLDER" in closing
    assert not json.loads((photos / "run/results.json").read_text())["rows"]


def test_with_eval_dir_the_same_run_goes_on_and_is_evaluated(photos, capsys):
    assert run(photos, f"--eval_dir={photos / 'eval'}", "--eval_ways=3") == 0
    output = capsys.readouterr().out
    assert "2 steps, trained before" in output
    assert "too few images for 5-shot tasks, so these classes are left out: tiny (8 images)" in output
    rows = json.loads((photos / "run/results.json").read_text())["rows"]
    assert {(row["way"], row["shot"]) for row in rows} == {(3, 1), (3, 5)}


def test_a_class_with_too_few_images_for_its_way_is_named(photos, capsys):
    assert run(photos, f"--eval_dir={photos / 'eval'}", "--eval_ways=4") == 2
    output = capsys.readouterr().err
    assert "tiny (8 images)" in output
    assert "3 classes of test have 10 images or more" in output
    assert output.count("\n") == 1


def test_fewer_classes_than_the_way_is_one_line(photos, capsys):
    assert run(photos, f"--eval_dir={photos / 'eval'}", "--eval_ways=6") == 2
    assert "4 classes of test have 6 images or more" in capsys.readouterr().err


def test_another_picture_is_another_run(tmp_path, capsys):
    put(tmp_path / "data", *numbered("", 60))
    (tmp_path / "data/bad.png").write_bytes(b"")
    quick = "--algo=nearest_neighbours"
    assert run(tmp_path, quick) == 0

    def refusal():
        folder.files_key.cache_clear()
        assert run(tmp_path, quick) == 2
        return capsys.readouterr().err

    changed = f"belongs to another configuration (the pictures in {tmp_path / 'data'} changed: "
    os.utime(tmp_path / "data/0.png", ns=(0, 0))
    assert changed + "0 added, 0 removed; some have another size or time)" in refusal()
    put(tmp_path / "data", "more.png", "sub/1.png")
    (tmp_path / "data/0.png").unlink()
    assert changed + "2 added, 1 removed)" in refusal()
    folder.files_key.cache_clear()
    assert run(tmp_path, quick, f"--workdir={tmp_path / 'other'}", "--stage=prepare") == 0
    assert len(list((tmp_path / "artifacts").glob("data-*"))) == 2


def test_too_few_pictures_for_an_episode_is_one_line(tmp_path, capsys):
    put(tmp_path / "data", *numbered("", 20))
    assert run(tmp_path) == 2
    assert "an episode of protonets takes 30 images, and there are 20" in capsys.readouterr().err
