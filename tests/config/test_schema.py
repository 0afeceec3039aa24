"""Saved settings are read by one function, which checks names, types and ranges."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest

from cactus_tf.config.schema import from_saved, option
from cactus_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Example:
    shape: tuple[int, ...] = option(dataclasses.MISSING, "of an image", low=1, high=100)
    rate: float = option(0.1, "of learning", low=0)
    steps: int | None = option(None, "of training", low=1)
    flag: bool = option(False, "whether")
    name: str = option("a", "of it")
    others: Mapping[str, Any] = option(None, "settings")


GOOD = {"shape": [28, 28, 1]}


def test_a_field_that_is_not_saved_has_its_default():
    assert from_saved(Example, GOOD) == Example((28, 28, 1))


@pytest.mark.parametrize("saved", [{"rate": 1}, {"steps": None}, {"steps": 3}, {"others": {"a": []}}, {"others": None}])
def test_values_of_the_declared_types_are_read(saved):
    name, value = next(iter(saved.items()))
    assert getattr(from_saved(Example, {**GOOD, **saved}), name) == value


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"shape": 28}, "shape is 28, and it must be a list, each entry a whole number"),
        ({"shape": ["28"]}, r"shape is \('28',\), and it must be a list"),
        ({"shape": [28, True]}, "shape is"),
        ({"shape": [0, 28]}, "shape=0: it must be at least 1 and at most 100"),
        ({"shape": [10**12]}, "shape=1000000000000: it must be"),
        ({"rate": "fast"}, "rate is 'fast', and it must be a number"),
        ({"rate": True}, "rate is True, and it must be a number"),
        ({"rate": float("nan")}, "rate=nan: it must be at least 0 and finite"),
        ({"rate": None}, "rate is None"),
        ({"steps": 1.5}, "steps is 1.5, and it must be a whole number"),
        ({"steps": 10**400}, "steps=10+: it must be at least 1 and finite"),
        ({"flag": 1}, "flag is 1, and it must be true or false"),
        ({"name": []}, r"name is \(\), and it must be a text"),
        ({"others": []}, r"others is \(\), and it must be a mapping"),
        ({"new": 1}, "unknown setting new"),
    ],
)
def test_another_type_or_size_is_an_error_that_names_the_field(saved, message):
    with pytest.raises(InputError, match=message):
        from_saved(Example, {**GOOD, **saved})


@pytest.mark.parametrize("saved", [None, 3, [], "a"])
def test_what_is_not_a_mapping_is_refused(saved):
    with pytest.raises(InputError, match="is not a mapping of settings"):
        from_saved(Example, saved)


def test_a_missing_field_without_a_default_is_named():
    with pytest.raises(InputError, match="shape missing"):
        from_saved(Example, {})
