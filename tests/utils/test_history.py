"""A learning curve is only a picture: a damaged one stops nothing."""

import pytest

from cactus_tf.utils import history


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"3",
        b"step,loss\n1,\n",
        b"step,loss\nx,1\n",
        b"step\ninf\n",
        b"step,loss\n1,2,3\n",
        b"a\0b\n1\n",
        b"\xff\xfe",
    ],
)
def test_a_damaged_curve_is_read_as_none(tmp_path, content):
    (tmp_path / "history.csv").write_bytes(content)
    assert history.read(tmp_path / "history.csv") == []


def test_a_folder_in_the_place_of_a_curve_is_replaced(tmp_path):
    (tmp_path / "history.csv").mkdir()
    curve = history.Curve(tmp_path / "history.csv", 0, 1)
    curve.add(1, {"loss": 2.0})
    curve.write()
    assert history.read(tmp_path / "history.csv") == [{"step": 1, "loss": 2.0}]
