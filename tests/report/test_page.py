import base64
import re

import pytest

from cactus_tf.report.page import Picture, Section, Table, render

PICTURE = Picture(b"abc", "png", 30, 'a "picture"', "its caption")


def test_every_text_is_escaped():
    page = render("<title>", "a & b", [Section("<b>", ["<i>"], [Table(["<th>"], [["<td>"]])], preformatted="<pre>")])
    assert not re.search(r"<(b|i|th|td)><", page)
    for text in ("&lt;title&gt;", "a &amp; b", "&lt;b&gt;", "&lt;i&gt;", "&lt;th&gt;", "&lt;td&gt;", "&lt;pre&gt;"):
        assert text in page


def test_a_picture_is_inside_the_page_with_its_words():
    page = render("t", "s", [Section("one", pictures=[PICTURE])])
    [encoded] = re.findall(r'<img src="data:image/png;base64,([^"]*)"', page)
    assert base64.b64decode(encoded) == b"abc"
    assert 'alt="a &#34;picture&#34;"' in page
    assert "<figcaption>its caption</figcaption>" in page


def test_a_cell_may_be_a_picture():
    page = render("t", "s", [Section("one", tables=[Table(["name", "look"], [["x", PICTURE]])])])
    assert re.search(r'<td class="name">\s*<img src="data:', page)


def test_columns_of_words_are_told_from_those_of_numbers():
    page = render("t", "s", [Section("one", tables=[Table(["a", "b", "c"], [["x", "1", "y"]], names=(0, 2))])])
    assert re.findall(r'<t[hd]( scope="col")?( class="name")?>(\w)', page) == [
        (' scope="col"', ' class="name"', "a"),
        (' scope="col"', "", "b"),
        (' scope="col"', ' class="name"', "c"),
        ("", ' class="name"', "x"),
        ("", "", "1"),
        ("", ' class="name"', "y"),
    ]


@pytest.mark.parametrize("empty", ["<p>", "<table", "<div", "<figure", "<pre"])
def test_a_part_that_is_not_there_leaves_no_empty_box(empty):
    assert empty not in render("t", "", [Section("one")]).split("</header>")[1]


def test_a_picture_without_a_caption_has_no_empty_line_below_it():
    page = render("t", "s", [Section("one", pictures=[PICTURE._replace(caption="")])])
    assert "<figure" in page
    assert "<figcaption" not in page


def test_the_page_names_nothing_on_the_network_and_runs_nothing():
    page = render("t", "s", [Section("one", ["text"], pictures=[PICTURE])])
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "url(" not in page
