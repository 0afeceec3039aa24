import csv
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cactus_tf.datasets.celeba.annotations import ATTRIBUTES, read_annotations, read_attributes, read_parts
from cactus_tf.errors import InputError

ROW = " ".join(["-1", " 1"] * 20)


def attribute_text(rows):
    """The official form of name -> 40 bools."""
    lines = [f"{name} {' '.join(f'{1 if v else -1:>2}' for v in values)}" for name, values in rows.items()]
    return "\n".join([str(len(rows)), " ".join(ATTRIBUTES) + " ", *lines, ""])


def csv_text(header, rows):
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *rows])
    return file.getvalue()


def attribute_csv(rows):
    numbers = [[name, *(1 if v else -1 for v in values)] for name, values in rows.items()]
    return csv_text(["image_id", *ATTRIBUTES], numbers)


HEADER = " ".join(ATTRIBUTES)


def write_list(folder, name, content):
    (folder / name).write_bytes(content)
    return folder / name


def official(*lines, count=None, names=HEADER):
    return "\n".join([str(len(lines) if count is None else count), names, *lines, ""]).encode()


def test_the_names_are_in_the_order_of_the_alphabet_and_forty():
    assert list(ATTRIBUTES) == sorted(ATTRIBUTES)
    assert len(ATTRIBUTES) == 40
    assert ATTRIBUTES[20] == "Male"
    assert ATTRIBUTES[30] == "Sideburns"


# In csv a name may have commas and quotes, in the official form no blanks.
NAMES = st.text(st.characters(exclude_categories=("Z", "C")), min_size=1, max_size=8)
TABLES = st.dictionaries(NAMES, st.lists(st.booleans(), min_size=40, max_size=40), max_size=4)


@given(rows=TABLES)
def test_both_forms_of_the_attributes_are_read_back(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("lists")
    for name, text in (("list.txt", attribute_text(rows)), ("list.CSV", attribute_csv(rows))):
        found = read_attributes(write_list(folder, name, text.encode()))
        assert {name: list(map(bool, values)) for name, (_, values) in found.items()} == rows
        first = 3 if name == "list.txt" else 2
        assert [line for line, _ in found.values()] == list(range(first, first + len(rows)))


@given(rows=st.dictionaries(NAMES, st.integers(0, 2), max_size=5), end=st.sampled_from(["\n", "\r\n"]))
def test_both_forms_of_the_parts_are_read_back(tmp_path_factory, rows, end):
    folder = tmp_path_factory.mktemp("lists")
    text = "".join(f"{name} {part}{end}" for name, part in rows.items())
    found = read_parts(write_list(folder, "list.txt", text.encode()))
    assert {name: code[0] for name, (_, code) in found.items()} == rows
    text = csv_text(["image_id", "partition"], rows.items()).replace("\n", end)
    found = read_parts(write_list(folder, "list.csv", text.encode()))
    assert {name: code[0] for name, (_, code) in found.items()} == rows


@given(data=st.data())
def test_a_list_that_was_tampered_with_is_read_or_refused_in_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("lists")
    content = bytearray(official(f"1.jpg {ROW}", f"2.jpg {ROW}"))
    start = data.draw(st.integers(0, len(content)))
    end = start + data.draw(st.integers(0, 60))
    content[start:end] = data.draw(st.binary(max_size=4) | st.sampled_from([b"\n", b" 1", b",", b'"', b"\n\n"]))
    for read in (read_attributes, read_parts):
        for name in ("list.txt", "list.csv"):
            try:
                read(write_list(folder, name, bytes(content)))
            except InputError as error:
                assert str(error).startswith(f"{folder}/list.")
                assert "\n" not in str(error)


def test_a_byte_order_mark_blank_lines_and_foreign_line_ends_do_no_harm(tmp_path):
    content = b"\xef\xbb\xbf" + official(f"1.jpg {ROW}", "").replace(b"2\n", b"1\n", 1).replace(b"\n", b"\r\n")
    assert list(read_attributes(write_list(tmp_path, "list.txt", content))) == ["1.jpg"]


SWAPPED = " ".join([*ATTRIBUTES[:3], ATTRIBUTES[4], ATTRIBUTES[3], *ATTRIBUTES[5:]])
WRONG = {
    "nothing": (b"", "line 1", "must be the number of pictures"),
    "no count": (official(f"1.jpg {ROW}", count="x"), "line 1", "must be the number of pictures"),
    "a count beyond counting": (official(f"1.jpg {ROW}", count="9" * 5000), "line 1", "number of pictures"),
    "another count": (official(f"1.jpg {ROW}", count=7), "1 pictures", "line 1 says 7"),
    "39 names": (official(names=" ".join(ATTRIBUTES[:39])), "line 2", "39 attribute names", "40"),
    "names in another order": (official(names=SWAPPED), "line 2", "attribute 4 is Bald", "Bags_Under_Eyes"),
    "39 values": (official(f"1.jpg {ROW}", f"2.jpg {ROW[3:]}"), "line 4", "39 values", "40"),
    "41 values": (official(f"1.jpg {ROW} 1"), "line 3", "41 values"),
    "a value of 0": (official(f"1.jpg {ROW[:-1]}0"), "line 3", "Young is 0", "-1 or 1"),
    "a name twice": (official(f"1.jpg {ROW}", f"2.jpg {ROW}", f"1.jpg {ROW}"), "line 5", "1.jpg is already in line 3"),
    "not text": (official(f"1.jpg {ROW}", "\xe9.jpg").replace(b"\xc3", b""), "line 4", "UTF-8"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_broken_list_of_attributes_is_named_with_line_and_rule(case, tmp_path, complains):
    content, *words = WRONG[case]
    with complains(tmp_path / "list.txt", *words):
        read_attributes(write_list(tmp_path, "list.txt", content))


WRONG_CSV = {
    "no header": (b"", "line 1", "0 attribute names"),
    "a value of 0": (attribute_csv({"1.jpg": [True] * 40}).replace(",1\n", ",0\n").encode(), "line 2", "Young is 0"),
    "a huge field": (attribute_csv({"1" * 200_000: [True] * 40}).encode(), "line 2", "field"),
}


@pytest.mark.parametrize("case", WRONG_CSV)
def test_a_broken_csv_of_attributes_is_named_with_line_and_rule(case, tmp_path, complains):
    content, *words = WRONG_CSV[case]
    with complains("list.csv", *words):
        read_attributes(write_list(tmp_path, "list.csv", content))


WRONG_PARTS = {
    "part 3": (b"1.jpg 0\n2.jpg 3\n", "line 2", "the split is 3, must be 0 or 1 or 2"),
    "one column": (b"1.jpg 0\n\n2.jpg\n", "line 3", "0 values"),
    "three columns": (b"1.jpg 0 0\n", "line 1", "2 values"),
    "a name twice": (b"1.jpg 0\n1.jpg 0\n", "line 2", "1.jpg is already in line 1"),
}


@pytest.mark.parametrize("case", WRONG_PARTS)
def test_a_broken_list_of_parts_is_named_with_line_and_rule(case, tmp_path, complains):
    content, *words = WRONG_PARTS[case]
    with complains("list.txt", *words):
        read_parts(write_list(tmp_path, "list.txt", content))


def write(folder, attributes, parts):
    (folder / "attr.txt").write_bytes(attributes)
    (folder / "part.txt").write_bytes(parts)
    return folder / "attr.txt", folder / "part.txt"


def test_the_lists_are_joined_by_name_whatever_their_order(tmp_path):
    lines = [f"{name} {'1 ' * number}{'-1 ' * (40 - number)}" for name, number in (("c", 3), ("a", 1), ("b", 2))]
    found = read_annotations(*write(tmp_path, official(*lines), b"b 1\nc 2\na 0\n"))
    assert found.names == ["a", "b", "c"]
    assert found.attributes.sum(axis=1).tolist() == [1, 2, 3]
    assert found.parts.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found.attributes[2], np.arange(40) < 3)


def test_a_name_that_only_one_list_has_is_named_with_its_line(tmp_path, complains):
    paths = write(tmp_path, official(f"1.jpg {ROW}", f"2.jpg {ROW}"), b"1.jpg 0\n")
    with complains(f"{paths[0]}, line 4", paths[1], "no line for 2.jpg", "one release"):
        read_annotations(*paths)
    paths = write(tmp_path, official(f"1.jpg {ROW}"), b"3.jpg 2\n1.jpg 0\n")
    with complains(f"{paths[1]}, line 1", paths[0], "no line for 3.jpg"):
        read_annotations(*paths)


def test_a_list_that_cannot_be_read_is_named(tmp_path, complains):
    paths = write(tmp_path, official(f"1.jpg {ROW}"), b"1.jpg 0\n")
    paths[1].unlink()
    paths[1].mkdir()
    with complains(paths[1], "cannot be read", "directory"):
        read_annotations(*paths)
