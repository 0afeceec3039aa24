import io
import json
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cactus_tf.contracts import DataContext
from cactus_tf.datasets import miniimagenet
from cactus_tf.datasets.miniimagenet import ravi, split_lists
from cactus_tf.errors import InputError
from cactus_tf.main import main

EACH = 6  # images of a class in these tests
COUNTS = {split: len(wnids) for split, wnids in ravi.CLASSES.items()}
TINY = DataContext(image_size=8)


def jpeg(number, size=(84, 84)):
    """A JPEG of one color that tells its number."""
    file = io.BytesIO()
    Image.new("RGB", size, (number % 251, number // 251 % 251, 99)).save(file, "JPEG", quality=95)
    return file.getvalue()


def ravi_name(wnid, i):
    return f"{wnid}{i:08d}.jpg"


@pytest.fixture(scope="module")
def contents():
    """{(WordNet id, i): JPEG} of all 100 classes, i = 1 ... 6; no two pictures are equal."""
    wnids = sorted(ravi.SPLIT_OF)
    return {(w, i): jpeg(100 * i + c, (12, 8)) for c, w in enumerate(wnids) for i in range(1, EACH + 1)}


def write_lists(folder, name=ravi_name, numbers=range(1, EACH + 1)):
    folder.mkdir(parents=True, exist_ok=True)
    for split, wnids in ravi.CLASSES.items():
        rows = [f"{name(wnid, i)},{wnid}" for wnid in wnids for i in numbers]
        (folder / f"{split}.csv").write_text("\n".join(["filename,label", *rows]) + "\n")
    return folder


def write_all(folder, named, backwards=False):
    """Writes path -> bytes below a folder."""
    for path, content in sorted(named.items(), reverse=backwards):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def release(contents, tmp_path_factory):
    """The common release: lists and images/."""
    folder = write_lists(tmp_path_factory.mktemp("release"))
    return write_all(folder, {f"images/{ravi_name(w, i)}": content for (w, i), content in contents.items()})


@pytest.fixture(scope="module")
def loaded(release):
    return miniimagenet.load(release, TINY)


def assert_same(one, other):
    for split in ("train", "val", "test"):
        a, b = getattr(one, split), getattr(other, split)
        np.testing.assert_array_equal(a.images, b.images)
        np.testing.assert_array_equal(a.partitions[0].sizes, b.partitions[0].sizes)


def test_the_hundred_classes_are_disjoint_and_sorted():
    assert COUNTS == {"train": 64, "val": 16, "test": 20}
    assert len(ravi.SPLIT_OF) == 100
    for wnids in ravi.CLASSES.values():
        assert list(wnids) == sorted(wnids)


def test_each_split_has_its_own_classes_in_the_order_of_their_ids(loaded, contents):
    for split, wnids in ravi.CLASSES.items():
        images = getattr(loaded, split)
        assert images.images.shape == (COUNTS[split] * EACH, 8, 8, 3)
        np.testing.assert_array_equal(images.partitions[0].sizes, [EACH] * COUNTS[split])
        for c in (0, COUNTS[split] - 1):
            names = {images.names[i].decode() for i in images.partitions[0].cluster(c)}
            assert names == {ravi_name(wnids[c], i) for i in range(1, EACH + 1)}


def test_pictures_of_84_pixels_are_taken_as_they_are_and_others_resized_without_a_crop(tmp_path, contents):
    wnids = [ravi.CLASSES[split][0] for split in ravi.CLASSES]
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 100, 3), np.uint8))
    small = Image.fromarray(np.random.default_rng(1).integers(0, 256, (84, 84, 3), np.uint8))
    for wnid, split in zip(wnids, ravi.CLASSES, strict=True):
        folder = tmp_path / split / wnid
        folder.mkdir(parents=True)
        wide.save(folder / "a.png")
        small.save(folder / "b.png")
    images = miniimagenet.load(tmp_path).test.images
    expected = [np.asarray(wide.resize((84, 84), Image.Resampling.LANCZOS)), np.asarray(small)]
    assert {i.tobytes() for i in images} == {e.tobytes() for e in expected}


def test_an_archive_of_images_gives_what_the_folder_gives(release, loaded, tmp_path):
    write_lists(tmp_path)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for file in sorted((release / "images").iterdir(), reverse=True):
            archive.write(file, f"images/{file.name}")
    assert_same(miniimagenet.load(tmp_path, TINY), loaded)
    assert miniimagenet.files_key(tmp_path, None) == miniimagenet.files_key(release, None)


def test_a_tree_gives_what_the_lists_give(release, loaded, contents, tmp_path):
    named = {f"{ravi.SPLIT_OF[w]}/{w}/{ravi_name(w, i)}": content for (w, i), content in contents.items()}
    write_all(tmp_path, named, backwards=True)
    assert_same(miniimagenet.load(tmp_path, TINY), loaded)
    assert miniimagenet.files_key(tmp_path, None) == miniimagenet.files_key(release, None)


NUMBERS = [3, 10, 25, 100, 101, 2000]  # of ImageNet's names; not in order as text


def imagenet_files(contents):
    """ImageNet's own names: the i-th smallest number is Ravi's image i."""
    return {f"{w}/{w}_{NUMBERS[i - 1]}.JPEG": content for (w, i), content in contents.items()}


@pytest.mark.parametrize("above", ["", "train/"])
def test_ravis_counter_is_the_place_in_imagenets_folder_by_number(above, loaded, contents, tmp_path):
    write_lists(tmp_path)
    write_all(tmp_path, {f"{above}{name}": content for name, content in imagenet_files(contents).items()})
    write_all(tmp_path, {f"{above}n00000001/n00000001_1.JPEG": jpeg(1)})
    assert_same(miniimagenet.load(tmp_path, TINY), loaded)


def test_lists_may_name_imagenets_files_directly(loaded, contents, tmp_path):
    write_lists(tmp_path, lambda wnid, i: f"{wnid}_{NUMBERS[i - 1]}.JPEG")
    write_all(tmp_path, imagenet_files(contents))
    assert_same(miniimagenet.load(tmp_path, TINY), loaded)


def test_without_lists_the_first_images_by_number_are_taken_with_a_warning(contents, tmp_path, monkeypatch, caplog):
    write_all(tmp_path, imagenet_files(contents))
    monkeypatch.setattr(ravi, "IMAGES", 5)
    val = miniimagenet.load(tmp_path, TINY).val
    wnid = ravi.CLASSES["val"][0]
    names = {val.names[i].decode() for i in val.partitions[0].cluster(0)}
    assert names == {f"{wnid}/{wnid}_{n}.JPEG" for n in NUMBERS[:5]}
    assert "which are not Ravi and Larochelle's" in caplog.text


def test_counts_that_differ_are_said(loaded, release, caplog):
    miniimagenet.load(release, TINY)
    first = ravi.CLASSES["train"][0]
    assert f"64 train classes do not have 600 images: {first} has 6" in caplog.text


def test_rows_that_break_a_rule_and_absent_or_bad_files_are_left_out_and_listed(
    release, loaded, contents, tmp_path, caplog
):
    write_lists(tmp_path)
    (tmp_path / "images").mkdir()
    for file in (release / "images").iterdir():
        (tmp_path / "images" / file.name).symlink_to(file)
    first, last = ravi.CLASSES["val"][0], ravi.CLASSES["val"][-1]
    for wnid in (first, last):
        (tmp_path / "images" / ravi_name(wnid, 1)).unlink()
    (tmp_path / "images" / ravi_name(last, 1)).write_bytes(contents[last, 1][:100])
    (tmp_path / "images" / "again").mkdir()
    (tmp_path / "images" / "again" / ravi_name(first, 2)).write_bytes(b"x")
    with open(tmp_path / "val.csv", "a") as file:
        file.write(f"{ravi_name(last, 3)},{last}\nx.jpg,n00000000\nonly one\n{ravi_name(last, 2)},{first}\n\n")
    reported = {}
    data = miniimagenet.load(tmp_path, DataContext(image_size=8, report=reported.update))
    sizes = data.val.partitions[0].sizes
    assert (sizes[0], sizes[-1], sizes.sum()) == (EACH - 1, EACH - 1, 16 * EACH - 2)
    np.testing.assert_array_equal(data.train.images, loaded.train.images)
    reasons = {entry["file"]: entry["reason"] for entry in reported["skipped"]}
    end = 16 * EACH + 1
    assert reasons == {
        "val.csv, line 2": f"names {first}00000001, which does not exist",
        f"val.csv, line {end + 1}": f"repeats {last}00000003 of val.csv, line {end - EACH + 3}",
        f"val.csv, line {end + 2}": "has label 'n00000000', which is not a WordNet id of miniImageNet",
        f"val.csv, line {end + 3}": "has 1 columns, expected 2",
        f"val.csv, line {end + 4}": f"labels {last}00000002 as {first}",
        ravi_name(last, 1): "is truncated or damaged",
        f"again/{ravi_name(first, 2)}": f"has the same name as {ravi_name(first, 2)}",
    }
    assert "7 files or folders left out" in caplog.text
    assert miniimagenet.files_key(tmp_path, None) != miniimagenet.files_key(release, None)


def test_missing_classes_are_counted(release, tmp_path, caplog):
    for split, wnids in ravi.CLASSES.items():
        for wnid in wnids[:3]:
            write_all(tmp_path, {f"{split}/{wnid}/a.jpg": jpeg(1, (8, 8))})
    assert len(miniimagenet.load(tmp_path, TINY).val) == 3
    assert "13 of 16 val classes are missing" in caplog.text


def test_a_split_without_an_image_is_refused(tmp_path, complains):
    for split, wnids in ravi.CLASSES.items():
        write_all(tmp_path, {f"{split}/{wnids[0]}/{'a.txt' if split == 'test' else 'a.jpg'}": jpeg(1)})
    with complains("no image of the 20 test classes"):
        miniimagenet.load(tmp_path, TINY)


def test_the_first_row_without_a_file_is_named_where_no_row_has_one(tmp_path, complains):
    write_lists(tmp_path)
    write_all(tmp_path, {"images/cat.jpg": jpeg(1)})
    with complains(
        "no image of the 64 train classes (train.csv, line 2 names n0153282900000001, which does not exist)"
    ):
        miniimagenet.load(tmp_path, TINY)


@pytest.mark.parametrize("above", ["images\\", "C:\\data\\images\\", "images/", ".\\"])
def test_folders_before_a_name_in_a_list_do_not_matter(above, release, loaded, tmp_path):
    write_lists(tmp_path, lambda wnid, i: above + ravi_name(wnid, i))
    (tmp_path / "images").symlink_to(release / "images")
    assert_same(miniimagenet.load(tmp_path, TINY), loaded)


@pytest.mark.parametrize("below", ["split", "splits"])
def test_lists_may_lie_in_a_folder(below, release, loaded, tmp_path):
    write_lists(tmp_path / below)
    (tmp_path / "images").symlink_to(release / "images")
    assert_same(miniimagenet.load(tmp_path, TINY), loaded)


def test_an_empty_folder_of_images_beside_the_archive_is_passed_over(contents, loaded, tmp_path):
    write_lists(tmp_path)
    (tmp_path / "images").mkdir()
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for (wnid, i), content in contents.items():
            archive.writestr(f"images/{ravi_name(wnid, i)}", content)
    assert_same(miniimagenet.load(tmp_path, TINY), loaded)


@pytest.mark.parametrize("layout", ["{wnid}/{name}", "train/{wnid}/{name}", "images/{name}", "images/{wnid}/{name}"])
def test_ravis_own_names_need_no_lists(layout, contents, loaded, tmp_path, caplog):
    named = {layout.format(wnid=w, name=ravi_name(w, i)): content for (w, i), content in contents.items()}
    assert_same(miniimagenet.load(write_all(tmp_path, named), TINY), loaded)
    assert "Larochelle" not in caplog.text


def test_a_class_in_another_splits_folder_or_list_is_refused(release, tmp_path, complains):
    wnid = ravi.CLASSES["test"][0]
    for split, wnids in ravi.CLASSES.items():
        write_all(tmp_path, {f"{split}/{wnids[0]}/a.jpg": jpeg(1)})
    write_all(tmp_path, {f"val/{wnid}/a.jpg": jpeg(2)})
    with complains(wnid, "is a test class"):
        miniimagenet.load(tmp_path, TINY)
    with complains("train.csv, line 2", wnid, "is a test class", "not a train class"):
        read_list(tmp_path, f"filename,label\n{ravi_name(wnid, 1)},{wnid}\n", "train")


def test_what_lacks_is_named(tmp_path, complains, release):
    with complains("miniimagenet needs --data_dir", "images.zip"):
        miniimagenet.load()
    with complains("nowhere", "is not a folder"):
        miniimagenet.load(tmp_path / "nowhere")
    with complains("does not hold miniImageNet, but nothing"):
        miniimagenet.load(tmp_path)
    write_all(tmp_path, {"images/cat.jpg": jpeg(1)})
    with complains("has images but not train.csv", "cat.jpg does not begin with a class, as n0153282900000005.jpg"):
        miniimagenet.load(tmp_path, TINY)
    (tmp_path / "val.csv").write_bytes(b"\xff\xfe")
    with complains("lacks train.csv and test.csv"):
        miniimagenet.locate(tmp_path)
    with complains("val.csv cannot be read (not UTF-8)"):
        split_lists.read(tmp_path / "val.csv", "val", [])


def read_list(folder, text, split="val", skipped=()):
    (folder / f"{split}.csv").write_bytes(text.encode())
    return split_lists.read(folder / f"{split}.csv", split, skipped if isinstance(skipped, list) else [])


@pytest.mark.parametrize("header", ["", "label,filename", "filename;label", "filename,label,more"])
def test_another_header_is_refused(header, tmp_path, complains):
    with complains("val.csv, line 1", "expected 'filename,label'"):
        read_list(tmp_path, f"{header}\n")


def test_a_list_that_is_not_csv_is_refused(tmp_path, complains):
    with complains("val.csv, line 2", "not CSV (field larger"):
        read_list(tmp_path, "filename,label\n" + "a" * 200_000)


def test_the_key_follows_names_and_sizes_and_not_the_order_of_the_lists(tmp_path):
    def key(folder, numbers, last=b"abc"):
        write_lists(tmp_path / folder, numbers=numbers)
        named = {f"images/{ravi_name(wnids[0], i)}": b"a" for wnids in ravi.CLASSES.values() for i in (1, 2)}
        write_all(tmp_path / folder, {**named, f"images/{ravi_name(ravi.CLASSES['test'][0], 2)}": last})
        return miniimagenet.files_key(tmp_path / folder, None)

    assert key("one", (1, 2)) == key("two", (2, 1))
    assert key("three", (1, 2), b"abcd") != key("one", (1, 2))
    assert key("four", (1,)) != key("one", (1, 2))


def test_an_archive_whose_paths_leave_it_is_refused(tmp_path, complains):
    write_lists(tmp_path)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        archive.writestr("../../x.jpg", jpeg(1))
    with complains("../../x.jpg", "leaves its folder"):
        miniimagenet.load(tmp_path, TINY)


CELLS = st.sampled_from(
    [*ravi.CLASSES["val"][:2], "n1", "", "a,b", 'a"b', "é.jpg", "n0185567200000001.jpg", "a\nb", "\0"]
)


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.lists(CELLS, max_size=3), max_size=6))
def test_any_rows_give_images_and_reasons_one_for_each(tmp_path_factory, rows):
    import csv

    text = io.StringIO()
    csv.writer(text).writerows([["filename", "label"], *rows])
    skipped = []
    found = read_list(tmp_path_factory.mktemp("list"), text.getvalue(), skipped=skipped)
    assert len(found) + len(skipped) == len([row for row in rows if row])
    assert all(row.wnid in ravi.CLASSES["val"] for row in found)
    assert len({row.stem for row in found}) == len(found)


@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(codec="utf-8")))
def test_any_text_is_read_or_refused_in_words(tmp_path_factory, text):
    try:
        read_list(tmp_path_factory.mktemp("list"), text)
    except InputError as error:
        assert str(error).startswith("val.csv, line ")


def test_the_same_files_in_another_layout_are_not_prepared_again(release, contents, tmp_path):
    write_all(tmp_path / "tree", {f"{ravi.SPLIT_OF[w]}/{w}/{ravi_name(w, i)}": c for (w, i), c in contents.items()})
    write_all(write_lists(tmp_path / "imagenet"), imagenet_files(contents))
    for folder in (release, tmp_path / "tree", tmp_path / "imagenet"):
        flags = ["--dataset=miniimagenet", f"--data_dir={folder}", "--image_size=8", "--stage=prepare", "--quiet"]
        places = [f"--workdir={tmp_path / 'run'}", f"--artifacts_dir={tmp_path / 'artifacts'}"]
        assert main([*flags, *places, "--algo=nearest_neighbours", "--eval_shots=1", "--eval_query=2"]) == 0
    prepared = sorted((tmp_path / "artifacts").glob("data-*"))
    assert len(prepared) == 2  # ImageNet's names are other names
    assert all(json.loads((folder / "prepared.json").read_text())["skipped"] == [] for folder in prepared)
    pixels = [np.load(folder / "test-images.npy") for folder in prepared]
    np.testing.assert_array_equal(*pixels)


def test_a_run_from_the_command_line(release, tmp_path, capsys):
    flags = ["--dataset=miniimagenet", f"--data_dir={release}", "--image_size=28", "--embedder=pixels"]
    flags += ["--algo=nearest_neighbours", "--eval_shots=1,4", "--eval_query=2", "--eval_episodes=5"]
    places = [f"--workdir={tmp_path / 'run'}", f"--artifacts_dir={tmp_path / 'artifacts'}"]
    assert main([*flags, *places]) == 0
    rows = json.loads((tmp_path / "run" / "results.json").read_text())["rows"]
    assert [(row["algo"], row["way"]) for row in rows] == [("nearest_neighbours", 5)] * 2
    assert len(os.listdir(tmp_path / "artifacts")) == 3
    capsys.readouterr()
    assert main([*flags, *places, "--eval_shots=50"]) == 2
    assert "0 classes of test have" in capsys.readouterr().err
