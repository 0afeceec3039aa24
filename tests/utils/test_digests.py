import numpy as np

from cactus_tf.utils.digests import digest, digests, in_both


def test_equal_rows_have_equal_digests_and_others_do_not():
    rows = np.array([[1, 2], [1, 2], [2, 1]], np.uint8)
    found = digests(rows)
    assert found[0] == found[1] != found[2]
    assert found[0].tobytes() == digest(rows[0])


def test_rows_that_are_also_in_another_array_are_counted_as_often_as_they_occur():
    one, other = digests(np.array([[1], [1], [2], [3]])), digests(np.array([[3], [1], [4]]))
    assert (in_both(one, other), in_both(other, one)) == (3, 2)
    assert in_both(one, digests(np.zeros((0, 1)))) == 0
