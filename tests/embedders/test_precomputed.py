"""Embeddings computed elsewhere find their images, or say which they miss."""

import pickle
import re
import unicodedata
import zipfile

import numpy as np
import pytest

from cactus_tf import embedders
from cactus_tf.embedders import precomputed
from cactus_tf.errors import InputError

RNG = np.random.default_rng(0)
IMAGES = {split: RNG.integers(0, 256, (n, 6, 6, 1), np.uint8) for split, n in (("train", 30), ("val", 8), ("test", 9))}
Z = {split: RNG.normal(size=(len(images), 5)).astype(np.float32) for split, images in IMAGES.items()}


def write(folder, form="omniglot_5_{}.npz", key="Z", order=None, **changes):
    """The three archives, rows in a random order, with `changes` to the arrays of train."""
    for split, images in IMAGES.items():
        rows = np.random.default_rng(1).permutation(len(images))
        arrays = {"X": images[rows], "Y": rows, key: Z[split][rows], **(changes if split == "train" else {})}
        np.savez(folder / form.format(split), **{k: v for k, v in arrays.items() if v is not None})
    return folder


def build(folder, dataset="omniglot"):
    return embedders.build("precomputed", dataset=dataset, dir=str(folder))


def refusal(folder, dataset="omniglot"):
    with pytest.raises(InputError) as error:
        build(folder, dataset).fit(IMAGES["train"])
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("form", "key"),
    [
        ("omniglot_256_{}.npz", "Z"),
        ("omniglot.u-200_{}.npz", "Z"),
        ("omniglot.10_{}.npz", "Z_raw"),
        ("omniglot.10_{}.npz", "Z"),
    ],
)
def test_rows_in_any_order_find_their_images_in_every_split(tmp_path, form, key):
    embedder = build(write(tmp_path, form, key)).fit(IMAGES["train"])
    for split, images in IMAGES.items():
        rows = embedder.transform(images)
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, Z[split])


def test_infogan_archives_that_hold_both_give_the_raw_output(tmp_path):
    write(tmp_path, "omniglot.10_{}.npz", "Z_raw")
    with np.load(tmp_path / "omniglot.10_train.npz") as there:
        np.savez(tmp_path / "omniglot.10_train.npz", Z=np.zeros((30, 5)), **there)
    np.testing.assert_array_equal(build(tmp_path).transform(IMAGES["train"]), Z["train"])


def test_copies_of_an_image_share_a_row(tmp_path):
    write(
        tmp_path,
        X=np.concatenate([IMAGES["train"], IMAGES["train"][:3]]),
        Z=np.concatenate([Z["train"], Z["train"][:3]]),
    )
    asked = IMAGES["train"][[2, 2, 5]]
    np.testing.assert_array_equal(build(tmp_path).transform(asked), Z["train"][[2, 2, 5]])


def test_a_double_beyond_float32_is_refused_instead_of_becoming_infinite(tmp_path):
    z = Z["train"].astype(np.float64)
    z[3, 1] = 1e39
    assert "as float32: 1 of 30 embeddings are NaN or infinite; remove those images" in refusal(write(tmp_path, Z=z))


def test_fortran_ordered_arrays_are_read_as_they_are_meant(tmp_path):
    write(tmp_path, X=np.asfortranarray(IMAGES["train"]), Z=np.asfortranarray(Z["train"]))
    np.testing.assert_array_equal(build(tmp_path).transform(IMAGES["train"]), Z["train"])


def test_unknown_images_are_counted(tmp_path):
    embedder = build(write(tmp_path)).fit(IMAGES["train"])
    some = np.concatenate([IMAGES["val"], 255 - IMAGES["val"][:3]])
    with pytest.raises(InputError, match=r"3 of 11 images are in none of omniglot_5_test\.npz, omniglot_5_train\.npz"):
        embedder.transform(some)


def test_archives_of_other_images_are_refused_at_the_fit(tmp_path):
    assert "30 of 30 images are in none" in refusal(write(tmp_path, X=255 - IMAGES["train"]))


def test_archives_of_another_size_are_refused(tmp_path):
    for path in write(tmp_path).iterdir():
        with np.load(path) as there:
            np.savez(path, X=there["X"][:, :4], Z=there["Z"])
    assert "hold 4x6x1 images, these are 6x6x1" in refusal(tmp_path)


def objects(n):
    return np.array([{"row": i} for i in range(n)], object)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"X": IMAGES["train"].astype(np.float32)}, "X of .* must be uint8 .*, not float32"),
        ({"X": IMAGES["train"][..., 0]}, "give gray images a last axis of 1"),
        ({"X": IMAGES["train"].transpose(0, 3, 1, 2)}, r"channels first; transpose\(0, 2, 3, 1\)"),
        ({"Z": Z["train"][:-1]}, "holds 30 images but 29 embeddings"),
        ({"Z": Z["train"][..., None]}, r"of shape \[30, 5, 1\]; embeddings are numbers of shape \[n, dim\]"),
        ({"Z": Z["train"][:, 0]}, r"of shape \[30\]"),
        ({"Z": np.where(np.arange(30)[:, None] == 4, np.nan, Z["train"])}, "1 of 30 embeddings are NaN or infinite"),
        ({"Z": Z["train"].astype(str)}, "embeddings are numbers"),
        ({"Z": Z["train"][:, :4]}, "maps 6x6x1 to 4 numbers, the others 6x6x1 to 5"),
        ({"Z": None}, "has no Z, only X, Y"),
        ({"X": None}, "has no X, only Y, Z"),
        ({"Z": objects(30)}, "Z of .* is damaged, cut short or pickled"),
        ({"X": objects(30)}, "X of .* is damaged, cut short or pickled"),
    ],
)
def test_archives_of_another_form_are_refused_in_one_line(tmp_path, changes, message):
    assert re.search(message, refusal(write(tmp_path, **changes)))


def test_pickled_labels_of_an_archive_do_no_harm(tmp_path):
    np.testing.assert_array_equal(build(write(tmp_path, Y=objects(30))).transform(IMAGES["train"]), Z["train"])


def test_a_truncated_archive_is_named(tmp_path):
    path = write(tmp_path) / "omniglot_5_val.npz"
    path.write_bytes(path.read_bytes()[:-200])
    assert f"{path} is damaged, cut short" in refusal(tmp_path)


def test_an_archive_with_a_flipped_byte_is_named(tmp_path):
    path = write(tmp_path) / "omniglot_5_train.npz"
    data = bytearray(path.read_bytes())
    data[600] ^= 0xFF  # inside the pixels of X
    path.write_bytes(data)
    assert f"{path} is damaged" in refusal(tmp_path)


def test_a_pickle_in_disguise_is_not_opened(tmp_path):
    write(tmp_path)
    (tmp_path / "omniglot_5_train.npz").write_bytes(pickle.dumps({"X": 1}))
    assert "is damaged, cut short or pickled" in refusal(tmp_path)


def test_a_missing_folder_or_file_is_reported_with_the_expected_names(tmp_path):
    assert "is not a folder; it must be one that holds {dataset}_{dims}_{split}.npz" in refusal(tmp_path / "nowhere")
    assert "needs omniglot_{dims}_{split}.npz, omniglot.u-" in refusal(tmp_path)
    assert "holds no embeddings of the training images" in refusal(write(tmp_path), dataset="mnist")
    with pytest.raises(InputError, match="precomputed needs precomputed_dir"):
        embedders.build("precomputed").fit(IMAGES["train"])


def test_two_archives_of_one_split_are_refused(tmp_path):
    write(tmp_path)
    assert "holds both" in refusal(write(tmp_path, "omniglot_6_{}.npz"))


def test_archives_of_several_data_sets_lie_side_by_side(tmp_path):
    write(tmp_path)
    write(tmp_path, "mnist_5_{}.npz", Z=np.zeros((30, 5)))
    np.testing.assert_array_equal(build(tmp_path).transform(IMAGES["train"]), Z["train"])
    np.testing.assert_array_equal(build(tmp_path, "mnist").transform(IMAGES["train"]), 0)


# Plain arrays


def plain(folder, **changes):
    for split, rows in {**Z, **changes}.items():
        np.save(folder / f"{split}.npy", rows)
    return folder


def test_plain_arrays_go_to_the_split_of_as_many_images(tmp_path):
    embedder = build(plain(tmp_path)).fit(IMAGES["train"])
    for split, images in IMAGES.items():
        np.testing.assert_array_equal(embedder.transform(images), Z[split])


def test_plain_arrays_of_as_many_rows_are_refused(tmp_path):
    embedder = build(plain(tmp_path, test=Z["val"])).fit(IMAGES["train"])
    with pytest.raises(InputError, match=r"val and test in .* both have 8 rows"):
        embedder.transform(IMAGES["val"])


def test_plain_arrays_of_no_fitting_number_of_rows_are_refused(tmp_path):
    assert "has rows for train 29, val 8, test 9 images, not for 30" in refusal(plain(tmp_path, train=Z["train"][:29]))


@pytest.mark.parametrize(
    ("rows", "message"),
    [(Z["train"][:, :3], "must be alike"), (Z["train"][0], "of shape [5]"), (objects(30), "pickled")],
)
def test_plain_arrays_of_another_form_are_refused(tmp_path, rows, message):
    assert message in refusal(plain(tmp_path, train=rows))


def test_a_truncated_plain_array_is_named(tmp_path):
    path = plain(tmp_path) / "train.npy"
    path.write_bytes(path.read_bytes()[:-20])
    assert f"{path} is damaged" in refusal(tmp_path)


@pytest.mark.parametrize("change", [b"'", b"(", b"\0"])
def test_a_damaged_header_of_a_plain_array_is_named(tmp_path, change):
    path = plain(tmp_path) / "train.npy"
    content = path.read_bytes()
    path.write_bytes(content[:12] + change + content[13:])
    assert f"{path} " in refusal(tmp_path)


def test_a_shape_without_numbers_is_refused_at_once(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 0, 28, 1)}"
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(write(tmp_path) / "omniglot_5_train.npz", "w") as archive:
        archive.writestr("X.npy", content)
        archive.writestr("Z.npy", content)
    assert "X of" in refusal(tmp_path)
    assert "its header states uint8 of shape [1000000000000, 0, 28, 1]" in refusal(tmp_path)


FILES = {split: [f"{split}/é{i}.png" for i in range(len(images))] for split, images in IMAGES.items()}


def named(folder, **changes):
    """Plain arrays in a random order, with the list of their files."""
    for split, files in FILES.items():
        rows = np.random.default_rng(1).permutation(len(files))
        np.save(folder / f"{split}.npy", Z[split][rows])
        text = "\n".join(unicodedata.normalize("NFD", files[row]) for row in rows)
        (folder / f"{split}.txt").write_text(changes.get(split, text), "utf-8")
    return build(folder)


def names(split, rows=slice(None)):
    return np.array([name.encode() for name in FILES[split][rows]])


def test_plain_arrays_find_image_files_by_their_names_in_any_order(tmp_path):
    embedder = named(tmp_path).fit(IMAGES["train"], names=names("train"))
    for split, images in IMAGES.items():
        np.testing.assert_array_equal(
            embedder.transform(images[::-1], names(split, slice(None, None, -1))), Z[split][::-1]
        )


def test_image_files_are_not_matched_by_their_number_alone(tmp_path):
    with pytest.raises(InputError, match=r"train\.npy have no names.* add train\.txt .* such as train/é0\.png"):
        build(plain(tmp_path)).fit(IMAGES["train"], names=names("train"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\n".join(["other.png", *FILES["train"][1:]]), r"train\.txt lacks 1 of 30 images, the first train/é0\.png"),
        ("\n".join(FILES["train"][:-1]), r"train\.txt has 29 lines and train\.npy 30 rows"),
        (
            "\n".join([*FILES["train"][:-1], FILES["train"][3]]),
            r"line 30: train/é3\.png is also in line 4: name each picture once",
        ),
    ],
)
def test_a_list_that_does_not_name_every_image_once_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        named(tmp_path, train=text).fit(IMAGES["train"], names=names("train"))


# What artifacts are named by


def test_the_fingerprint_follows_the_contents_and_not_the_place(tmp_path):
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    marks = [
        precomputed.fingerprint(precomputed.Options(dir=str(write(folder, **changes))))
        for folder, changes in zip(folders, [{}, {}, {"Z": Z["train"] + 1}], strict=True)
    ]
    assert marks[0] == marks[1]
    assert marks[0] != marks[2]
    assert marks[0]["omniglot_5_val.npz"] == marks[2]["omniglot_5_val.npz"]


def test_a_saved_one_remembers_the_folder(tmp_path):
    (tmp_path / "archives").mkdir()
    build(write(tmp_path / "archives")).fit(IMAGES["train"]).save(tmp_path / "model")
    loaded = embedders.build("precomputed").load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.transform(IMAGES["test"]), Z["test"])


def test_a_relative_folder_is_found_from_elsewhere_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "archives").mkdir()
    write(tmp_path / "archives")
    build("archives").fit(IMAGES["train"]).save(tmp_path / "model")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    np.testing.assert_array_equal(build("archives").load(tmp_path / "model").transform(IMAGES["test"]), Z["test"])
