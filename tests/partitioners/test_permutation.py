import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cactus_tf.partitioners.random import permutation as _permutation
from cactus_tf.partitioners.random.permutation import Permutation


@pytest.fixture(params=["drawn", "computed"])
def way(request, monkeypatch):
    """Both ways of making a permutation, whatever its size."""
    monkeypatch.setattr(_permutation, "_DRAWN", 10**9 if request.param == "drawn" else 0)
    return request.param


def permutation(size, seed=0):
    return Permutation(size, np.random.default_rng(seed))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(size=st.integers(1, 3000), seed=st.integers(0, 1000))
def test_every_number_comes_up_once(way, size, seed):
    np.testing.assert_array_equal(np.sort(permutation(size, seed)(np.arange(size))), np.arange(size))


def test_a_number_goes_to_the_same_place_whatever_is_asked_beside_it(way):
    whole = permutation(1000)(np.arange(1000))
    np.testing.assert_array_equal(permutation(1000)(np.array([7, 999, 0])), whole[[7, 999, 0]])


@pytest.mark.parametrize("size", [100, 1025])
def test_where_a_number_goes_is_uniform_over_seeds(way, size):
    seeds = 2000
    places = np.array([permutation(size, seed)(np.array([0, size - 1])) for seed in range(seeds)])
    for column in places.T:
        groups = np.bincount(7 * column // size, minlength=7)  # seven groups of nearly the same width
        widths = np.bincount(7 * np.arange(size) // size) / size
        chi = ((groups - seeds * widths) ** 2 / (seeds * widths)).sum()
        assert chi < 22.5  # 6 degrees of freedom, once in a thousand times


def test_where_two_numbers_go_is_independent_but_for_being_distinct(way):
    size, seeds = 1000, 2500
    places = np.array([permutation(size, seed)(np.array([1, 2])) for seed in range(seeds)])
    assert (places[:, 0] != places[:, 1]).all()
    groups = np.bincount(5 * (places[:, 0] // 200) + places[:, 1] // 200, minlength=25).reshape(5, 5)
    expected = seeds * np.where(np.eye(5), 199, 200) / (5 * 999)
    assert ((groups - expected) ** 2 / expected).sum() < 51.2  # 24 degrees of freedom, once in a thousand times
