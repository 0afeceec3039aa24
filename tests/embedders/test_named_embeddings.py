"""Embeddings by file name: which row a picture finds, and what is refused."""

import unicodedata

import numpy as np
import pytest

from cactus_tf import embedders
from cactus_tf.config import keys
from cactus_tf.embedders import precomputed
from cactus_tf.errors import InputError

PICTURES = ["cats/1.jpg", "cats/2.jpg", "dogs/1.jpg"]
Z = np.array([[0, 1, 2], [3, 4, 5.5], [6, 7, 8]], np.float32)


def table(path, names=PICTURES, header="", delimiter=","):
    rows = [delimiter.join([name, *map(str, z)]) for name, z in zip(names, Z.tolist(), strict=True)]
    path.write_text("\n".join([*([header] if header else []), *rows]) + "\n", encoding="utf-8")
    return path


def embed(path, pictures=PICTURES):
    images = np.zeros((len(pictures), 8, 8, 3), np.uint8)
    names = np.array([name.encode() for name in pictures])
    return embedders.build("precomputed", dataset="folder", file=str(path)).fit(images, names=names).transform(
        images, names=names
    )  # fmt: skip


def refusal(path, pictures=PICTURES):
    with pytest.raises(InputError) as error:
        embed(path, pictures)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("header", ["", "file,a,b,c", ",0,1,2", "file,0,1,2"])
def test_a_csv_file_gives_each_picture_its_row(tmp_path, header):
    np.testing.assert_array_equal(embed(table(tmp_path / "z.csv", header=header), PICTURES[::-1]), Z[::-1])


@pytest.mark.parametrize(("name", "delimiter"), [("z.csv", ";"), ("z.tsv", "\t"), ("z.txt", "\t")])
def test_semicolons_and_tabs_separate_columns_too(tmp_path, name, delimiter):
    np.testing.assert_array_equal(embed(table(tmp_path / name, delimiter=delimiter)), Z)


@pytest.mark.parametrize("dtype", [str, bytes])
def test_an_archive_gives_each_picture_its_row(tmp_path, dtype):
    names = [name if dtype is str else name.encode() for name in PICTURES]
    np.savez(tmp_path / "z.npz", names=names, embeddings=Z.astype(np.float64))
    np.testing.assert_array_equal(embed(tmp_path / "z.npz", PICTURES[1:]), Z[1:])


@pytest.mark.parametrize(
    "names",
    [[f"./{p}" for p in PICTURES], [p.replace("/", "\\") for p in PICTURES], [f"/home/me/{p}" for p in PICTURES]],
)
def test_rows_may_have_more_folders_in_front_and_backslashes(tmp_path, names):
    np.testing.assert_array_equal(embed(table(tmp_path / "z.csv", names)), Z)


def test_pictures_in_folders_of_classes_find_rows_without_folders(tmp_path):
    path = table(tmp_path / "z.csv", ["a.jpg", "b.jpg", "c.jpg"])
    np.testing.assert_array_equal(embed(path, ["cats/c.jpg", "dogs/a.jpg"]), Z[[2, 0]])


def test_names_in_other_unicode_forms_are_the_same(tmp_path):
    name = "caf\u00e9.jpg"
    path = table(tmp_path / "z.csv", [unicodedata.normalize("NFD", name), "b.jpg", "c.jpg"])
    np.testing.assert_array_equal(embed(path, [name]), Z[:1])


def test_names_that_two_folders_share_are_told_apart_if_one_folder_has_them_all(tmp_path):
    path = table(tmp_path / "z.csv", ["train/1.jpg", "test/1.jpg", "train/2.jpg"])
    np.testing.assert_array_equal(embed(path, ["1.jpg", "2.jpg"]), Z[[0, 2]])


def test_rows_of_one_folder_are_taken_with_a_warning(tmp_path, caplog):
    embed(table(tmp_path / "z.csv", ["train/1.jpg", "test/1.jpg", "train/2.jpg"]), ["1.jpg", "2.jpg"])
    assert "the rows of train/ are taken, because it alone has all of these 2 pictures" in caplog.text


def test_a_first_row_whose_numbers_count_is_the_row_of_its_picture(tmp_path):
    (tmp_path / "z.csv").write_text("a.jpg,0,1\nb.jpg,5,6\n")
    np.testing.assert_array_equal(embed(tmp_path / "z.csv", ["a.jpg", "b.jpg"]), [[0, 1], [5, 6]])


REFUSED = [
    ("a.jpg,1,2\nb.jpg,1\n", "z.csv, line 2 has 1 numbers and the lines before 2: make all rows alike"),
    ("a.jpg,1,2\nb.jpg,1,x\n", "z.csv, line 2: 'x' is not a number; after the file name, write numbers"),
    ("a.jpg;1,5;2\nb.jpg;1,5;2\n", "z.csv, line 1: '1,5' is not a number; after the file name, write numbers"),
    ("a.jpg;1,5\nb.jpg;1,5\n", "z.csv, line 2: '1,5' is not a number; after the file name, write numbers"),
    ("name,z\na.jpg,0.5\nb.jpg,nan\n", "1 of 2 rows have NaN or infinite numbers, the first line 3 (b.jpg)"),
    ("a.jpg,1\nb.jpg,1e99\n", "1 of 2 rows have NaN or infinite numbers, the first line 2 (b.jpg)"),
    ("a.jpg,1\nb.jpg,2\na.jpg,3\n", "z.csv, line 3: a.jpg is also in line 1: name each picture once"),
    ("caf\u00e9.jpg,1\ncafe\u0301.jpg,2\n", "line 2: caf\u00e9.jpg is also in line 1: name each picture once"),
    ("a.jpg,1\n,2\n", "z.csv, line 2 has no file name"),
    ("name\na.jpg\n", "line 2 has no numbers"),
    ("", "z.csv has no rows: it must be a .csv file"),
    ("x/cats/1.jpg,1\ny/cats/1.jpg,2\ncats/2.jpg,2\ndogs/1.jpg,2\n",
     "cats/1.jpg fits several rows, such as x/cats/1.jpg and y/cats/1.jpg, which differ only by folder: name each row"),
    ("1.jpg,1\n2.jpg,2\n", "the row 1.jpg fits two pictures, cats/1.jpg and dogs/1.jpg: name each row"),
    ("pets/1.jpg,1\n", "lacks 3 of 3 pictures, the first cats/1.jpg, but has pets/1.jpg: add their rows, and name"),
    ("cats/1.jpeg,1\n", "lacks 3 of 3 pictures, the first cats/1.jpg, but has cats/1.jpeg: add"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line"), REFUSED, ids=[line[:40] for _, line in REFUSED])
def test_a_table_that_cannot_be_used_is_refused_in_one_line(tmp_path, text, line):
    (tmp_path / "z.csv").write_text(text, encoding="utf-8")
    assert line in refusal(tmp_path / "z.csv")


def test_a_table_in_another_encoding_is_refused_in_one_line(tmp_path):
    (tmp_path / "z.csv").write_bytes("caf\u00e9.jpg,1\n".encode("latin-1"))
    assert "cannot be read" in refusal(tmp_path / "z.csv")


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"embeddings": Z}, "names of "),
        ({"names": np.array(PICTURES, object), "embeddings": Z}, "pickled objects"),
        ({"names": PICTURES[:2], "embeddings": Z}, "has 2 names and 3 embeddings: save one name for each row"),
        ({"names": PICTURES, "embeddings": Z[:, 0]}, "embeddings are float32 of shape [3]; save numbers"),
        ({"names": [1, 2, 3], "embeddings": Z}, "names are int64 of shape [3]; save [n] strings"),
        ({"names": PICTURES, "embeddings": np.full_like(Z, np.nan)}, "the first row 0 (cats/1.jpg)"),
    ],
)
def test_an_archive_that_cannot_be_used_is_refused_in_one_line(tmp_path, arrays, line):
    np.savez(tmp_path / "z.npz", **arrays)
    assert line in refusal(tmp_path / "z.npz")


@pytest.mark.parametrize(
    ("name", "line"), [("z.csv", "does not exist"), (".", "is a folder"), ("z.pkl", "another kind")]
)
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path, name, line):
    (tmp_path / "z.pkl").write_bytes(b"")
    assert line in refusal(tmp_path / name)


def test_images_that_are_not_files_are_refused(tmp_path):
    embedder = embedders.build("precomputed", file=str(table(tmp_path / "z.csv")))
    with pytest.raises(InputError, match="these images have none: take pictures"):
        embedder.fit(np.zeros((3, 8, 8, 1), np.uint8))


def test_the_key_depends_on_what_the_file_holds_and_not_on_its_place(tmp_path):
    def key(path):
        return keys.member("embedders", "precomputed", precomputed.Options(file=str(path)))

    path = table(tmp_path / "z.csv")
    first = key(path)
    assert key(path.rename(tmp_path / "moved.csv")) == first
    assert key(table(tmp_path / "z.csv", [*PICTURES[:2], "new.jpg"])) != first


def test_a_file_beside_a_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="both given: leave one out"):
        precomputed.fingerprint(precomputed.Options(dir=str(tmp_path), file=str(table(tmp_path / "z.csv"))))


def test_a_loaded_embedder_finds_rows_that_were_added_and_refuses_longer_ones(tmp_path):
    path, images = table(tmp_path / "z.csv"), np.zeros((1, 8, 8, 3), np.uint8)
    names = np.array([PICTURES[0].encode()])
    embedders.build("precomputed", file=str(path)).fit(images, names=names).save(tmp_path / "saved")
    path.write_text(path.read_text() + "new.jpg,1,1,1\n")
    loaded = embedders.build("precomputed").load(tmp_path / "saved")
    np.testing.assert_array_equal(loaded.transform(images, names=np.array([b"new.jpg"])), [[1, 1, 1]])
    path.write_text("cats/1.jpg,1\n")
    with pytest.raises(InputError, match="has rows of 1 numbers, and the embedder was fitted on rows of 3"):
        embedders.build("precomputed").load(tmp_path / "saved").transform(images, names=names)


def test_a_centered_embedder_looks_names_up_too(tmp_path):
    images, names = np.zeros((3, 8, 8, 3), np.uint8), np.array([name.encode() for name in PICTURES])
    embedder = embedders.build("precomputed", file=str(table(tmp_path / "z.csv")), norm="centered")
    z = embedder.fit(images, names=names).transform(images, names=names)
    centered = Z - Z.mean(axis=0)
    np.testing.assert_allclose(z, centered / np.linalg.norm(centered, axis=1, keepdims=True), atol=1e-6)
