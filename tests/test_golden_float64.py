"""MAML against what an independent implementation computes in float64, where rounding hides nothing."""

import numpy as np
import pytest
import tensorflow as tf
from golden_files import golden_files, golden_id, relative_error
from golden_maml import Golden

FILES = golden_files("float64/maml_*.npz")
TOLERANCE = 1e-9  # relative, of a loss and of the norm of a tensor


@pytest.fixture(scope="module", params=FILES, ids=golden_id)
def golden(request):
    return Golden.read(request.param)


@pytest.fixture(params=["eager", "compiled"])
def steps(request, golden):
    """The outer steps to look at: the first alone when run eagerly, which is slow."""
    tf.config.run_functions_eagerly(request.param == "eager")
    yield range(1 if request.param == "eager" else golden.steps)
    tf.config.run_functions_eagerly(False)


def assert_gradients_agree(ours, expected):
    for name, gradient in ours.items():
        assert gradient.dtype == np.float64
        assert relative_error(gradient, expected[name]) < TOLERANCE, name


def test_golden_float64_files_exist():
    assert FILES


def test_golden_float64_losses_after_each_inner_step(golden, steps):
    for step in steps:
        golden.load(step)
        expected = golden.recorded_trace(f"step{step}")[0]
        np.testing.assert_allclose(golden.trace(f"step{step}")[0, : len(expected)], expected, rtol=TOLERANCE)


def test_golden_float64_meta_gradients(golden, steps):
    for step in steps:
        assert_gradients_agree(golden.gradients(step), golden.recorded_gradients(step))


def test_golden_float64_training_step(golden):
    for step in range(golden.steps):
        loss, gradients = golden.recorded_training(step)
        ours, taken = golden.train(step)
        np.testing.assert_allclose(ours, loss, rtol=TOLERANCE)
        assert_gradients_agree(taken, gradients)
