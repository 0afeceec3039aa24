"""CelebA from generated pictures of the official size, in every layout; PNG bytes in .jpg files keep pixels exact."""

import io
import json
import logging
import zipfile

import numpy as np
import pytest
from PIL import Image

from cactus_tf.contracts import DataContext
from cactus_tf.datasets import celeba
from cactus_tf.datasets._io import decoding, rows
from cactus_tf.datasets.celeba.annotations import ATTRIBUTES
from cactus_tf.main import main

PICTURES = {"train": 40, "val": 25, "test": 30}
TOTAL = sum(PICTURES.values())
PARTS = np.repeat([0, 1, 2], list(PICTURES.values()))


def encoded(pixels, form="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def coarse(rng, width=178, height=218):
    """A picture of random coarse patches."""
    patches = Image.fromarray(rng.integers(0, 256, (7, 6, 3), np.uint8))
    return np.asarray(patches.resize((width, height), Image.Resampling.NEAREST))


class Release:
    """Pictures with their attributes: `pictures` name -> bytes, `attributes` [n, 40] bool, `parts` [n]."""

    def __init__(self, number, parts, seed=0, form="PNG"):
        rng = np.random.default_rng(seed)
        self.names = [f"{i + 1:06}.jpg" for i in range(number)]
        options = {"compress_level": 1} if form == "PNG" else {}
        self.pictures = {name: encoded(coarse(rng), form, **options) for name in self.names}
        self.attributes, self.parts = rng.random((number, 40)) < 0.4, parts

    def lists(self, separator=" "):
        """Texts of both lists below their headers."""
        numbers = np.where(self.attributes, "1", "-1")
        attributes = [separator.join([name, *row]) for name, row in zip(self.names, numbers, strict=True)]
        parts = [f"{name}{separator}{part}" for name, part in zip(self.names, self.parts, strict=True)]
        return attributes, parts

    def of(self, split):
        """Names and own attributes of a split."""
        rows = np.flatnonzero(self.parts == list(celeba.OFFICIAL).index(split))
        return [self.names[i] for i in rows], self.attributes[rows][:, celeba.OWN[split]]


@pytest.fixture(scope="module")
def release():
    return Release(TOTAL, PARTS)


def write_pictures(folder, contents):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def write_zip(path, contents):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("img_align_celeba/", b"")
        for name, content in contents.items():
            archive.writestr(f"img_align_celeba/{name}", content)


def write_lists(folder, release, attributes="list_attr_celeba.txt", parts="list_eval_partition.txt"):
    rows, numbers = release.lists()
    for name, lines in ((attributes, [str(len(rows)), " ".join(ATTRIBUTES), *rows]), (parts, numbers)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join([*lines, ""]))


def flat(folder, release, pictures=None):
    write_pictures(folder / "img_align_celeba", release.pictures if pictures is None else pictures)
    write_lists(folder, release)
    return folder


def zipped(folder, release):
    write_zip(folder / "img_align_celeba.zip", release.pictures)
    write_lists(folder, release)
    return folder


def official_folders(folder, release):
    write_zip(folder / "Img" / "img_align_celeba.zip", dict(reversed(release.pictures.items())))
    write_lists(folder, release, "Anno/list_attr_celeba.txt", "Eval/list_eval_partition.txt")
    return folder


def kaggle(folder, release):
    write_pictures(folder / "img_align_celeba" / "img_align_celeba", release.pictures)
    attributes, parts = release.lists(",")
    attributes = ["image_id," + ",".join(ATTRIBUTES), *attributes]
    (folder / "list_attr_celeba.csv").write_text("\n".join(attributes))
    (folder / "list_eval_partition.csv").write_text("\n".join(["image_id,partition", *parts]))
    return folder


class Kept:
    """A context that stores arrays, and the reports that it receives."""

    def __init__(self, folder=None, **settings):
        self.arrays, self.notes = {}, {}
        self.context = DataContext(self.cache, folder, report=self.notes.update, **settings)

    def cache(self, name, make):
        if name not in self.arrays:
            self.arrays[name] = np.asarray(make())
        return self.arrays[name]

    def load(self, data_dir):
        splits = celeba.load(data_dir, self.context)
        self.arrays = {name: np.array(array) for name, array in self.arrays.items()}
        return splits

    def without_names(self):
        return {name: array.tolist() for name, array in self.arrays.items() if not name.endswith("-names")}


def small(**settings):
    return Kept(image_size=12, **settings)


@pytest.fixture(scope="module")
def expected(release, tmp_path_factory):
    """All arrays of the flat layout."""
    kept = small()
    kept.load(flat(tmp_path_factory.mktemp("flat"), release))
    return kept.without_names()


def test_the_official_numbers_and_attributes():
    assert sum(celeba.OFFICIAL.values()) == 202_599
    own = {split: ATTRIBUTES[part] for split, part in celeba.OWN.items()}
    assert {split: (len(names), names[0], names[-1]) for split, names in own.items()} == {
        "train": (20, "5_o_Clock_Shadow", "High_Cheekbones"),
        "val": (10, "Male", "Rosy_Cheeks"),
        "test": (10, "Sideburns", "Young"),
    }


def test_every_row_is_a_picture_of_the_split_with_the_splits_own_attributes(release, tmp_path):
    kept = Kept()
    splits = kept.load(flat(tmp_path, release))
    assert splits.image_shape == (84, 84, 3)
    for split in PICTURES:
        names, attributes = release.of(split)
        found = getattr(splits, split)
        assert sorted(found.names.astype(str)) == names
        order = [names.index(name.decode()) for name in found.names]
        pixels = [celeba.image_array(release.pictures[names[i]], 178, 84) for i in order]
        np.testing.assert_array_equal(found.images, pixels)
        np.testing.assert_array_equal(kept.arrays[f"{split}-labels"], attributes[order])
        pools, own = found.partitions, attributes[order]
        codes = own[:, pools.triples[0]].astype(int) @ [4, 2, 1]
        np.testing.assert_array_equal(pools[0].cluster(1), np.flatnonzero(codes == pools.patterns[0]))
        np.testing.assert_array_equal(pools[0].cluster(0), np.flatnonzero(codes == 7 - pools.patterns[0]))


@pytest.mark.parametrize("layout", [zipped, official_folders, kaggle])
def test_every_layout_gives_the_same_arrays(layout, release, expected, tmp_path):
    kept = small()
    kept.load(layout(tmp_path, release))
    assert kept.without_names() == expected


@pytest.mark.parametrize("crop", celeba.CROPS)
def test_pictures_are_cut_in_the_middle_and_resized_with_smoothing(crop, release):
    content = release.pictures["000001.jpg"]
    picture = Image.open(io.BytesIO(content))
    box = {"square": (0, 20, 178, 198), "none": (0, 0, 178, 218), "face146": (16, 36, 162, 182)}
    box = (box | {"face108": (35, 55, 143, 163)})[crop]
    smooth = picture.crop(box).resize((84, 84), Image.Resampling.LANCZOS)
    how = celeba.decoding_of(DataContext(options=celeba.Options(crop)))
    assert how.shape == (84, 84, 3)
    np.testing.assert_array_equal(how.decode(content), np.asarray(smooth))


def test_gray_pictures_become_colored():
    gray = np.random.default_rng(0).integers(0, 256, (218, 178), np.uint8)
    image = celeba.image_array(encoded(gray), 178, 84)
    assert image.shape == (84, 84, 3)
    np.testing.assert_array_equal(image[..., 0], image[..., 2])


def test_an_unknown_crop_is_answered_with_those_there_are(release, tmp_path, complains):
    with complains("--celeba_crop=round", *celeba.CROPS):
        celeba.load(flat(tmp_path, release, {}), DataContext(options=celeba.Options("round")))


@pytest.fixture
def downloads():
    """downloads(release): as if tensorflow-datasets had downloaded it, in an order of its own."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def of(release):
        def records(builder, split, **unused):
            names = np.array([n for n, p in zip(release.names, release.parts, strict=True) if celeba_name(p) == split])
            rows = np.random.default_rng(2).permutation(len(names))
            values = release.attributes[release.parts == list(celeba.TFDS.values()).index(split)][rows]
            features = {name: values[:, i] for i, name in enumerate(ATTRIBUTES)}
            return tf.data.Dataset.from_tensor_slices(
                {"image": [release.pictures[name] for name in names[rows]], "attributes": features}
            )

        return tfds.testing.mock_data(as_dataset_fn=records)

    return of


def celeba_name(part):
    return list(celeba.TFDS.values())[part]


def test_tensorflow_datasets_gives_the_same_arrays_as_the_files(release, expected, downloads, tmp_path):
    kept = small(folder=tmp_path)
    with downloads(release):
        splits = kept.load(None)
    assert kept.without_names() == expected
    assert splits.train.names is None
    assert list(tmp_path.iterdir()) == []


def test_jpeg_pixels_are_the_same_from_both_sources(downloads, tmp_path):
    release = Release(12, np.repeat([0, 1, 2], 4), form="JPEG")
    files, downloaded = Kept(), Kept()
    files.load(flat(tmp_path, release))
    with downloads(release):
        downloaded.load(None)
    assert files.without_names() == downloaded.without_names()


def test_records_of_tensorflow_datasets_have_the_expected_form():
    import tensorflow_datasets as tfds

    kept = small()
    with tfds.testing.mock_data(num_examples=3):
        kept.load(None)
    for split, attributes in (("train", 20), ("val", 10), ("test", 10)):
        assert kept.arrays[f"{split}-images"].shape == (3, 12, 12, 3)
        assert kept.arrays[f"{split}-labels"].shape == (3, attributes)


def test_a_record_that_is_no_picture_is_left_out(downloads, caplog):
    release = Release(30, np.repeat([0, 1, 2], 10))
    release.pictures["000003.jpg"] = b""
    kept = small()
    with downloads(release), caplog.at_level(logging.WARNING):
        splits = kept.load(None)
    assert len(splits.train) == 9
    assert "1 files or folders left out: record" in caplog.text
    assert [note["reason"] for note in kept.notes["skipped"]] == ["is empty"]


def test_pictures_alike_are_ordered_by_their_attributes_whatever_the_source(downloads, tmp_path):
    release = Release(30, np.repeat([0, 1, 2], 10))
    release.pictures = dict.fromkeys(release.names, release.pictures["000001.jpg"])
    files, downloaded = small(), small()
    files.load(flat(tmp_path, release))
    with downloads(release):
        downloaded.load(None)
    assert files.without_names() == downloaded.without_names()


def test_what_is_kept_is_not_read_again(release, tmp_path, monkeypatch):
    kept = small()
    first = kept.load(flat(tmp_path, release))
    monkeypatch.setattr(celeba, "find", None)
    again = kept.load(tmp_path)
    np.testing.assert_array_equal(first.test.images, again.test.images)
    assert len(first.test.partitions) == len(again.test.partitions) > 0


def test_missing_pictures_are_counted_and_listed_and_the_others_used(release, tmp_path, caplog):
    absent = release.names[5:15] + release.names[-2:]
    there = {name: content for name, content in release.pictures.items() if name not in absent}
    kept = small()
    with caplog.at_level(logging.WARNING):
        splits = kept.load(flat(tmp_path, release, there))
    assert [len(splits.train), len(splits.val), len(splits.test)] == [30, 25, 28]
    lacking = 202_599 - 83
    assert f"celeba: {lacking:,} pictures are missing" in caplog.text
    assert "such as 000006.jpg; using 30 of 162,770 train, 25 of 19,867 val, 28 of 19,962 test" in caplog.text
    assert kept.notes == {"skipped": [], "missing": {"number": lacking, "files": absent}}


def test_a_split_without_pictures_has_no_partitions(release, tmp_path):
    only = {name: release.pictures[name] for name in release.names[:40]}
    splits = small().load(flat(tmp_path, release, only))
    assert (len(splits.train), len(splits.val), len(splits.test)) == (40, 0, 0)
    assert splits.test.partitions is None


@pytest.mark.parametrize("kept_in_folder", [0, 30])
def test_an_empty_or_partial_folder_beside_the_whole_archive_is_passed_over(
    kept_in_folder, release, expected, tmp_path, caplog
):
    zipped(tmp_path, release)
    partial = {name: release.pictures[name] for name in release.names[:kept_in_folder]}
    write_pictures(tmp_path / "img_align_celeba", partial)
    kept = small()
    kept.load(tmp_path)
    assert kept.without_names() == expected
    assert f"{kept_in_folder} in img_align_celeba, {TOTAL} in img_align_celeba.zip; reading" in caplog.text


def test_a_whole_folder_beside_a_damaged_archive_is_read(release, expected, tmp_path):
    flat(tmp_path, release)
    (tmp_path / "img_align_celeba.zip").write_bytes(b"PK")
    kept = small()
    kept.load(tmp_path)
    assert kept.without_names() == expected


@pytest.mark.parametrize("layout", [flat, zipped])
def test_pictures_of_half_the_size_are_cut_alike_and_have_a_key_of_their_own(
    layout, release, tmp_path, monkeypatch, caplog
):
    half = Release(TOTAL, PARTS)
    for name, content in release.pictures.items():
        with Image.open(io.BytesIO(content)) as picture:
            half.pictures[name] = encoded(np.asarray(picture.resize((89, 109), Image.Resampling.BOX)))
    whole, small_copies = celeba.load(flat(tmp_path / "a", release)), celeba.load(layout(tmp_path / "b", half))
    assert "pictures are 89x109 pixels instead of 178x218" in caplog.text
    difference = np.sort(whole.train.images.mean(axis=(1, 2, 3))) - np.sort(
        small_copies.train.images.mean(axis=(1, 2, 3))
    )
    assert np.abs(difference).max() < 1
    monkeypatch.setattr(celeba, "OFFICIAL", PICTURES)
    celeba.files_key.cache_clear()
    assert celeba.files_key(tmp_path / "a", None) is None
    assert celeba.files_key(tmp_path / "b", None) is not None


def test_no_picture_for_training_is_an_error(release, tmp_path, complains):
    only = {name: release.pictures[name] for name in release.names[40:]}
    with complains(tmp_path / "img_align_celeba", "no picture", "for training", "https://"):
        celeba.load(flat(tmp_path, release, only))


def test_files_that_cannot_be_used_are_named_and_the_others_used(release, tmp_path, caplog):
    folder = flat(tmp_path, release) / "img_align_celeba"
    (folder / "000001.jpg").write_bytes(b"")
    (folder / "000002.jpg").write_bytes(release.pictures["000002.jpg"][:900])
    (folder / "000003.jpg").write_bytes(encoded(coarse(np.random.default_rng(0), 84, 84)))
    (folder / "000004.jpg").write_bytes(b"GIF87a, or so it says")
    (folder / "Bjørk 笑.jpg").write_bytes(release.pictures["000005.jpg"])
    (folder / "again").mkdir()
    (folder / "again" / "000006.jpg").write_bytes(release.pictures["000007.jpg"])
    (folder / "circle").symlink_to(folder)
    (folder / "readme.txt").write_text("not a picture")
    kept = small()
    with caplog.at_level(logging.WARNING):
        splits = kept.load(tmp_path)
    assert len(splits.train) == 36
    reasons = {note["file"]: note["reason"] for note in kept.notes["skipped"]}
    assert reasons == {
        "000001.jpg": "is empty",
        "000002.jpg": "is truncated or damaged",
        "000003.jpg": "is 84x84 pixels, and aligned pictures are 178x218 or of the same shape",
        "000004.jpg": reasons["000004.jpg"],
        "Bjørk 笑.jpg": "is not in list_eval_partition.txt",
        "again/000006.jpg": reasons["again/000006.jpg"],
        "circle": "link to a folder that contains it",
        "img_align_celeba": "holds other files: 1 .txt, such as readme.txt",
    }
    assert "damaged" in reasons["000004.jpg"] or "not a picture" in reasons["000004.jpg"]
    assert "has the name of 000006.jpg" in reasons["again/000006.jpg"]
    assert "8 files or folders left out" in caplog.text
    json.dumps(kept.notes)


def test_an_archive_whose_paths_leave_their_folder_is_refused(release, tmp_path, complains):
    with zipfile.ZipFile(zipped(tmp_path, release) / "img_align_celeba.zip", "a") as archive:
        archive.writestr("../000001.jpg", b"x")
    with complains("img_align_celeba.zip", "../000001.jpg", "leaves its folder"):
        celeba.load(tmp_path)


def test_a_damaged_archive_is_named(release, tmp_path, complains):
    path = zipped(tmp_path, release) / "img_align_celeba.zip"
    path.write_bytes(path.read_bytes()[:5000])
    with complains(path, "damaged"):
        celeba.load(tmp_path)


def test_missing_files_are_named_before_anything_is_read(release, tmp_path, complains):
    with complains("data_dir", tmp_path, "img_align_celeba.zip", "list_attr_celeba.txt", "list_eval", "https://"):
        celeba.locate(tmp_path)
    flat(tmp_path, release, {})
    (tmp_path / "list_eval_partition.txt").unlink()
    with complains("does not hold list_eval_partition.txt"):
        celeba.load(tmp_path)


def test_a_broken_list_is_named_with_its_line(release, tmp_path, complains):
    path = flat(tmp_path, release) / "list_attr_celeba.txt"
    path.write_text(path.read_text().replace("\n000002.jpg ", "\n000002.jpg 0 "))
    with complains(path, "line 4", "41 values after the name, expected 40"):
        celeba.load(tmp_path)


def test_a_stopped_preparation_goes_on(release, tmp_path, monkeypatch):
    monkeypatch.setattr(rows, "SHARD", 16)
    data_dir, scratch, calls = flat(tmp_path / "data", release), tmp_path / "kept", []
    flattened = decoding.flattened

    def stopping(image, channels):
        calls.append(1)
        if len(calls) == 36:
            raise KeyboardInterrupt
        return flattened(image, channels)

    monkeypatch.setattr(decoding, "flattened", stopping)
    with pytest.raises(KeyboardInterrupt):
        small(folder=scratch, workers=1).load(data_dir)
    kept = small(folder=scratch)
    kept.load(data_dir)
    assert len(calls) == 36 + TOTAL - 32  # the two shards that were whole are not made again
    uninterrupted = small()
    uninterrupted.load(data_dir)
    assert kept.without_names() == uninterrupted.without_names()


def test_a_key_tells_partial_sets_apart_and_nothing_else(release, tmp_path, monkeypatch):
    keys = {
        "flat": celeba.files_key(flat(tmp_path / "flat", release), None),
        "zip": celeba.files_key(zipped(tmp_path / "zip", release), None),
        "kaggle": celeba.files_key(kaggle(tmp_path / "kaggle", release), None),
    }
    assert len(set(keys.values())) == 1
    assert keys["flat"] is not None
    fewer = dict(list(release.pictures.items())[1:])
    assert celeba.files_key(flat(tmp_path / "fewer", release, fewer), None) not in (None, keys["flat"])
    other = Release(TOTAL, PARTS, seed=1)
    assert celeba.files_key(flat(tmp_path / "other", other), None) not in (None, keys["flat"])
    other.attributes[:] = True  # only the names tell
    partial = set()
    for absent in other.names[:2]:
        there = {name: b"" for name in other.names if name != absent}
        partial.add(celeba.files_key(flat(tmp_path / absent, other, there), None))
    assert len(partial) == 2
    monkeypatch.setattr(celeba, "OFFICIAL", PICTURES)
    celeba.files_key.cache_clear()
    assert celeba.files_key(tmp_path / "flat", None) is celeba.files_key(None, None) is None
    celeba.files_key.cache_clear()


def keyed(data_dir):
    """The key of what the folder holds now."""
    celeba.files_key.cache_clear()
    return celeba.files_key(data_dir, None)


def test_a_repaired_picture_of_a_partial_set_is_another_key(release, tmp_path):
    file = flat(tmp_path, release) / "img_align_celeba" / "000003.jpg"
    file.write_bytes(release.pictures[file.name][:900])
    damaged = keyed(tmp_path)
    file.write_bytes(release.pictures[file.name])
    assert keyed(tmp_path) != damaged


def test_a_set_with_an_empty_picture_is_not_complete(release, tmp_path, monkeypatch):
    monkeypatch.setattr(celeba, "OFFICIAL", PICTURES)
    file = flat(tmp_path, release) / "img_align_celeba" / "000003.jpg"
    assert keyed(tmp_path) is None
    file.write_bytes(b"")
    assert keyed(tmp_path) is not None
    celeba.files_key.cache_clear()


def test_kept_arrays_that_lack_pictures_of_a_complete_set_are_named_each_time(release, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(celeba, "OFFICIAL", PICTURES)
    celeba.files_key.cache_clear()
    data_dir, kept = flat(tmp_path / "data", release), small(folder=tmp_path / "kept")
    (data_dir / "img_align_celeba" / "000003.jpg").write_bytes(b"no picture")
    for _ in range(2):
        caplog.clear()
        kept.load(data_dir)
        assert f"{tmp_path / 'kept'} lacks 1 of 95 pictures" in caplog.text
        assert "delete it" in caplog.text
    caplog.clear()
    (data_dir / "img_align_celeba" / "000003.jpg").write_bytes(release.pictures["000003.jpg"])
    small(folder=tmp_path / "again").load(data_dir)
    assert "lacks" not in caplog.text
    celeba.files_key.cache_clear()


def test_pools_are_counted_beside_the_papers(release, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        splits = small().load(flat(tmp_path, release))
    count = sum((pool.sizes >= 6).all() for pool in splits.train.partitions)
    assert 0 < count < len(splits.train.partitions)
    assert f"{count:,} train pools with 6 images a side (the paper: 4,287)" in caplog.text
    assert "val pools with 10 images a side (the paper: 391)" in caplog.text
    assert "test pools with 10 images a side (the paper: 402)" in caplog.text


# The whole line, from a command line


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Official files of 210 pictures."""
    return flat(tmp_path_factory.mktemp("faces"), Release(210, np.repeat([0, 1, 2], 70), seed=5))


SHORT = [
    *("--dataset=celeba", "--image_size=28", "--embedder=pixels", "--clusters=6", "--partitions=2", "--filters=4"),
    *("--query=2", "--steps=3", "--tasks_per_step=1", "--eval_episodes=5", "--eval_shots=1", "--eval_query=2"),
]


def run(faces, workplace, *flags):
    folder = workplace / "run"
    return main([*SHORT, f"--data_dir={faces}", f"--workdir={folder}", f"--artifacts_dir={workplace}", *flags]), folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "learners"),
    [
        (["--partitioner=labels", "--algo=protonets"], ["protonets"]),
        (["--celeba_crop=face108", "--algo=protonets,nearest_neighbours"], ["protonets", "nearest_neighbours"]),
    ],
    ids=["pools", "clusters"],
)
def test_a_run_learns_from_pools_or_clusters_and_is_evaluated_on_pools(faces, tmp_path, flags, learners, capsys):
    code, folder = run(faces, tmp_path, *flags)
    assert code == 0, capsys.readouterr().err
    rows = json.loads((folder / "results.json").read_text())["rows"]
    assert {(row["way"], row["shot"], row["episodes"]) for row in rows} == {(2, 1, 5)}
    assert [row["algo"] for row in rows] == learners
    assert all((folder / name).stat().st_size > 0 for name in ("clusters.png", "tasks.png", "accuracy.png"))
    prepared = next(path for path in tmp_path.glob("data-*/prepared.json"))
    assert json.loads(prepared.read_text())["missing"]["number"] == 202_599 - 210


def test_a_learner_with_more_ways_than_a_pool_has_sides_is_refused(faces, tmp_path, capsys):
    assert run(faces, tmp_path, "--partitioner=labels", "--algo=protonets", "--way=3")[0] == 2
    assert "the largest partition has 2 clusters; way is 3" in capsys.readouterr().err
