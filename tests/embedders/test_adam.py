"""Adam in one kernel, and the rate that is constant, then decays."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cactus_tf.embedders import bigan
from cactus_tf.embedders._base import adam


def test_the_fused_adam_is_keras_adam():
    rng = np.random.default_rng(0)
    start, gradients = rng.normal(size=(4, 3)).astype(np.float32), rng.normal(size=(6, 4, 3)).astype(np.float32)
    ends = []
    for kind in (keras.optimizers.Adam, adam.FusedAdam):
        v = keras.Variable(start)
        optimizer = kind(adam.ConstantThenDecay(6, 0.1, 0.01), beta_1=0.5, epsilon=1e-2)
        optimizer.build([v])
        for gradient in gradients:
            optimizer.apply([tf.constant(gradient)], [v])
        ends.append([v.numpy(), *(o.numpy() for o in optimizer.variables)])
    for a, b in zip(*ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def rates(steps, *at):
    return [float(adam.decayed_rate(tf.constant(step, tf.int64), steps, 2e-4, 0.01)) for step in at]


def test_the_rate_is_constant_for_half_the_steps_and_ends_at_a_hundredth():
    for steps in (2, 7, 1000, 200_000):
        half = steps // 2
        np.testing.assert_allclose(rates(steps, 0, half - 1), 2e-4, rtol=1e-6)
        assert rates(steps, half)[0] < 2e-4
    np.testing.assert_allclose(rates(200_000, 100_000), 2e-4 * 0.01 ** (1 / 200), rtol=1e-5)
    np.testing.assert_allclose(rates(200_000, 199_999), 2e-6, rtol=1e-5)


@pytest.mark.parametrize(("dataset", "batches"), [("mnist", 390), ("omniglot", 171), ("digits", 7)])
def test_the_rate_decays_by_epochs_as_in_the_original(dataset, batches):
    steps = bigan.INFO.steps[dataset]
    assert steps == 400 * batches
    for e in (0, 1, 57, 198, 199):
        first = (200 + e) * batches
        expected = 2e-4 * 0.01 ** ((e + 1) / 200)
        np.testing.assert_allclose(rates(steps, first, first + batches - 1), expected, rtol=1e-5)
