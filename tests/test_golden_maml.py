"""MAML against numbers that the original code computed: golden files hold weights, meta-batches and outcomes.

In float32, what processors agree on is the first inner step; see docs/algorithm.md, "What rounding does to MAML". The
later steps and the meta-gradient are thus held to the recorded numbers as closely as rounding leaves them determined on
the processor that runs the tests. In float64 all numbers agree: tests/test_golden_float64.py.
"""

import numpy as np
import pytest
import tensorflow as tf
from golden_files import golden_files, golden_id, relative_error
from golden_maml import DRAWS, Golden

from cactus_tf.fewshot.training import adam

FILES = golden_files("maml_*.npz")
FIRST_STEP = 1e-5
TOLERANCE = 1e-4  # relative norm per tensor; float32 sums of another order differ by about 1e-6
RATE = 1e-3
# ReLU and max-pool decide between values that may be equal but for rounding, and a gradient jumps where one decision
# differs; inner steps amplify it. So the recorded numbers may be off by what rounding the weights does, times a factor:
# a few draws do not find the largest jump (in the paper's 20-way setting, float64 is up to 1.5 times as far away).
FACTOR = 4


@pytest.fixture(scope="module", params=FILES, ids=golden_id)
def golden(request):
    return Golden.read(request.param)


def assert_equal_but_for_rounding(compute, expected):
    """Holds every array to the tolerance, at the recorded weights or nearby, or to what rounding does to it.

    Args:
      compute: number of the draw -> {name: array}; 0 is at the recorded weights.
      expected: {name: array}.
    """

    def errors(arrays, expected):
        return {name: relative_error(array, expected[name]) for name, array in arrays.items()}

    ours = compute(0)
    missed = errors(ours, expected)
    if max(missed.values()) < TOLERANCE:
        return
    nearby = (errors(compute(draw), expected) for draw in range(DRAWS + 1, 2 * DRAWS + 1))
    if any(max(found.values()) < TOLERANCE for found in nearby):
        return
    noise = [errors(compute(draw), ours) for draw in range(1, DRAWS + 1)]
    for name, error in missed.items():
        largest = max(draw[name] for draw in noise)
        assert error < max(TOLERANCE, FACTOR * largest), (name, error, largest)


def test_golden_maml_files_exist():
    assert FILES


def test_golden_maml_every_recorded_tensor_has_a_variable_of_its_shape(golden):
    assert set(golden.variables()) == set(golden["names"])
    for name, variable in golden.variables().items():
        assert variable.shape == golden[f"weight0/{name}"].shape


def assert_traces_agree(golden, step, group):
    losses, accuracies = golden.recorded_trace(group)

    def trace(draw):
        golden.load(step, draw)
        return golden.trace(group)[:, : len(losses)]

    def by_name(values):
        return {f"{group}, loss after {i} steps": value for i, value in enumerate(values)}

    ours = trace(0)
    np.testing.assert_allclose(ours[:, :2], [losses[:2], accuracies[:2]], rtol=FIRST_STEP)
    assert_equal_but_for_rounding(lambda draw: by_name(trace(draw)[0] if draw else ours[0]), by_name(losses))
    determined = np.isclose(ours[0], losses, rtol=FIRST_STEP)
    np.testing.assert_allclose(ours[1, determined], accuracies[determined], rtol=FIRST_STEP)


def test_golden_maml_losses_and_accuracies_after_each_inner_step(golden):
    for step in range(golden.steps):
        assert_traces_agree(golden, step, f"step{step}")


def test_golden_maml_evaluation(golden):
    assert_traces_agree(golden, golden.steps, "eval")


def test_golden_maml_meta_gradients(golden):
    for step in range(golden.steps):
        assert_equal_but_for_rounding(
            lambda draw, step=step: golden.gradients(step, draw), golden.recorded_gradients(step)
        )


def test_golden_maml_optimizer_on_recorded_gradients(golden):
    names, variables = zip(*golden.matter().items(), strict=True)
    optimizer = adam(RATE)
    optimizer.build(variables)
    limit = golden.clip or np.inf
    for step in range(golden.steps):
        golden.load(step)
        recorded = [golden[f"step{step}/meta_gradient/{name}"].clip(-limit, limit) for name in names]
        optimizer.apply([tf.constant(g) for g in recorded], variables)
        for name, variable in golden.matter().items():
            expected = golden[f"step{step}/weight_after/{name}"]
            rounding = 2 * np.spacing(np.abs(expected))  # of the recorded weight and of ours
            assert (np.abs(np.array(variable) - expected) < TOLERANCE * RATE + rounding).all(), (step, name)


@pytest.mark.slow
def test_golden_maml_loss_and_clipping_of_the_compiled_training_step(golden):
    loss, gradients = golden.recorded_training(0)

    def train(draw):
        ours, taken = golden.train(0, draw)
        return {"loss": ours, **taken}

    assert_equal_but_for_rounding(train, {"loss": loss, **gradients})
