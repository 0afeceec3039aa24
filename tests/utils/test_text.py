import pytest

from cactus_tf.utils.text import shortened


@pytest.mark.parametrize("letters", [10, 13])
def test_a_long_name_keeps_its_beginning_and_its_end(letters):
    name = "Tifinagh-character36"
    kept = shortened(name, letters)
    head, tail = kept.split("…")
    assert len(kept) == letters
    assert len(head) >= 4
    assert name.startswith(head)
    assert name.endswith(tail)
    assert tail.endswith("36")


def test_a_name_that_fits_stays_as_it_is():
    assert shortened("ten letter", 10) == "ten letter"
