"""Readers of people's files end in a result or in one line, whatever a file holds.

CACTUS_FUZZ_INPUTS=100000 asks for that many inputs of each reader, other ones each time.
"""

import os
import random

import pytest
from fuzz.findings import CORPUS, check, mutation, seeds_of
from fuzz.readers import READERS
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

ASKED = int(os.environ.get("CACTUS_FUZZ_INPUTS", 0))
FEW = {"settings": 5, "classifier": 10, "run": 5}  # those that take long
FAST = [name for name in READERS if name != "run"]  # making a run takes seconds


@pytest.fixture(autouse=True)
def without_tracing():
    """Networks compute without graphs, which take longer to make than what is tested."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


def _fuzz(name, inputs):
    @settings(
        max_examples=inputs, derandomize=not ASKED, database=None, deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.integers(0, 2**64 - 1))
    @example(0)
    def ends_in_a_result_or_one_line(seed):
        check(name, mutation(name, random.Random(seed)))

    ends_in_a_result_or_one_line()


@pytest.mark.parametrize("name", FAST)
def test_a_mutated_file_ends_in_a_result_or_one_line(name):
    _fuzz(name, ASKED or FEW.get(name, 100))


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_mutated_files_end_in_a_result_or_one_line(name):
    _fuzz(name, ASKED or 50 * FEW.get(name, 100))


@pytest.mark.parametrize("name", FAST)
def test_any_bytes_end_in_a_result_or_one_line(name):
    @settings(max_examples=5, derandomize=True, database=None, deadline=None)
    @given(st.binary(max_size=200))
    def ends_in_a_result_or_one_line(content):
        check(name, content)

    ends_in_a_result_or_one_line()


def _kept(path):
    """A parameter of an input in the corpus; slow where a run must be made first."""
    marks = () if path.parent.name in FAST else (pytest.mark.slow,)
    return pytest.param(path, id=f"{path.parent.name}-{path.name}", marks=marks)


@pytest.mark.parametrize("path", [_kept(path) for path in sorted(CORPUS.glob("*/*"))])
def test_a_file_that_once_broke_a_reader_does_not_again(path):
    check(path.parent.name, path.read_bytes())


@pytest.mark.parametrize("name", FAST)
def test_whole_files_can_be_read(name):
    for content in seeds_of(name):
        check(name, content)


def test_the_corpus_is_small():
    assert sum(path.stat().st_size for path in CORPUS.glob("*/*")) < 200_000
