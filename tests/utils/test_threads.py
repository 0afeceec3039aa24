import os
import sys

import pytest
from threadpoolctl import threadpool_info

from cactus_tf.utils import threads


@pytest.mark.skipif(sys.platform != "linux", reason="affinity masks exist on Linux only")
def test_cores_are_those_of_the_affinity_mask(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5})
    assert threads.cores() == 3


def test_results_come_in_order_from_calls_with_one_thread_each():
    results = threads.parallel_map(lambda i: (i, {pool["num_threads"] for pool in threadpool_info()}), 20)
    assert [i for i, _ in results] == list(range(20))
    assert all(number <= {1} for _, number in results)


def test_the_first_error_ends_the_map():
    def call(i):
        if i == 3:
            raise ValueError("three")

    with pytest.raises(ValueError, match="three"):
        threads.parallel_map(call, 100)
