"""Stored arrays are read whole or refused by one line that names the file."""

import io
import zipfile

import numpy as np
import pytest

from cactus_tf.errors import InputError
from cactus_tf.utils import arrays

EXAMPLES = {
    "floats": np.arange(6, dtype=np.float32).reshape(2, 3),
    "Fortran's order": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "names": np.array([b"a", b"bcd"]),
    "strings": np.array(["ä", "bcd"]),
    "no images": np.zeros((0, 28, 28, 1), np.uint8),
    "no features": np.zeros((0, 2048), np.float32),
    "no numbers": np.zeros((3, 0), np.float32),
    "a number": np.array(3),
    "big-endian": np.arange(3, dtype=">i4"),
    "bools": np.array([True, False]),
}


def npy(header: bytes, data: bytes = b"") -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data


def stating(shape: str, descr: str = "'|u1'") -> bytes:
    return b"{'descr': %s, 'fortran_order': False, 'shape': %s}" % (descr.encode(), shape.encode())


def pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}], object), allow_pickle=True)
    return file.getvalue()


DAMAGED = {
    "empty": b"",
    "text": b"1 2 3\n",
    "header cut": npy(stating("(3,)"))[:30],
    "an open string": npy(b"{'descr': '''|u1, 'shape': (3,)"),  # tokenize.TokenError
    "deeply nested": npy(b"(" * 9000),
    "zero bytes": npy(b"{'descr': '|u1'\0}"),
    "longer than its numbers": npy(stating("(3,)"), b"abcd"),
    "shorter than its numbers": npy(stating("(3,)"), b"ab"),
    "a negative size": npy(stating("(-1,)"), b"ab"),
    "sizes whose product overflows": npy(stating(f"({2**32}, {2**32})")),
    "rows without numbers": npy(stating("(1000000000000, 0, 28, 1)")),
    "values of no size": npy(stating("(1000000000000,)", "'|S0'")),
    "a structure": npy(stating("(1,)", "[('a', '|u1')]"), b"a"),
    "pickled": pickled(),
    "a header of 4 GB": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
    "an unknown version": b"\x93NUMPY\x09\x00\x00\x00",
}


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("mapped", [False, True])
def test_a_whole_array_is_read_as_numpy_wrote_it(tmp_path, name, mapped):
    np.save(tmp_path / "a.npy", EXAMPLES[name])
    read = arrays.read_array(tmp_path / "a.npy", mapped=mapped)
    np.testing.assert_array_equal(read, EXAMPLES[name])
    assert read.dtype == EXAMPLES[name].dtype


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_gives_its_arrays_by_name_in_their_order(tmp_path, save):
    save(tmp_path / "a.npz", **EXAMPLES)
    read = arrays.read_archive(tmp_path / "a.npz")
    assert list(read) == list(EXAMPLES)
    for name, array in EXAMPLES.items():
        np.testing.assert_array_equal(read[name], array)
    assert list(arrays.read_archive(tmp_path / "a.npz", ["names"])) == ["names"]


@pytest.mark.parametrize("name", DAMAGED)
@pytest.mark.parametrize("mapped", [False, True])
def test_a_damaged_array_is_refused_by_one_line_that_names_its_file(tmp_path, name, mapped):
    (tmp_path / "a.npy").write_bytes(DAMAGED[name])
    with pytest.raises(InputError, match=r"^[^\n]*a\.npy [^\n]*; fetch it$"):
        arrays.read_array(tmp_path / "a.npy", mapped=mapped, remedy="fetch it")


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_array_in_an_archive_is_refused_by_its_name(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("X.npy", DAMAGED[name])
    with pytest.raises(InputError, match=r"^X of [^\n]*a\.npz [^\n]*; fetch it$"):
        arrays.read_archive(tmp_path / "a.npz", remedy="fetch it")


def test_every_flipped_byte_of_an_archive_is_noticed_or_changes_no_array(tmp_path):
    array = np.random.default_rng(0).integers(0, 256, 60, np.uint8)
    np.savez_compressed(tmp_path / "a.npz", X=array)
    whole = (tmp_path / "a.npz").read_bytes()
    noticed = 0
    for i in range(len(whole)):
        (tmp_path / "b.npz").write_bytes(whole[:i] + bytes([whole[i] ^ 0x10]) + whole[i + 1 :])
        try:
            np.testing.assert_array_equal(arrays.read_archive(tmp_path / "b.npz", ["X"])["X"], array)
        except InputError:
            noticed += 1
    assert noticed > len(whole) / 2


@pytest.mark.parametrize("read", [arrays.read_array, arrays.read_archive])
def test_what_is_no_file_is_named(tmp_path, read):
    (tmp_path / "folder").mkdir()
    for name in ("folder", "gone"):
        with pytest.raises(InputError, match=f"{name} cannot be read"):
            read(tmp_path / name)


def test_an_array_that_an_archive_lacks_is_named_beside_those_it_has(tmp_path):
    np.savez(tmp_path / "a.npz", Z=np.zeros(3))
    with pytest.raises(InputError, match=r"X of .* is not in the archive, which holds Z"):
        arrays.read_archive(tmp_path / "a.npz", ["X"])


@pytest.mark.parametrize("largest", [0.4, 1e6])
def test_the_scale_of_distinct_rows_is_not_that_of_the_first_ones(largest):
    rows = np.concatenate([np.zeros(1500), np.linspace(0, largest, 500)])[:, None].astype(np.float32)
    assert arrays.first_distinct(rows, 400) == (400, (0, 1))
