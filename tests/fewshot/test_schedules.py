import keras
import numpy as np
import pytest

from cactus_tf.config import schema
from cactus_tf.errors import InputError
from cactus_tf.fewshot.schedules import SCHEDULES, outer_rate
from cactus_tf.fewshot.training import adam

RATE, STEPS = 0.02, 50


def rates(schedule, warmup, steps=STEPS):
    rate = outer_rate(RATE, schedule, warmup, steps)
    return [float(rate(s)) if callable(rate) else rate for s in range(steps)]


def by_hand(schedule, warmup):
    values = []
    for s in range(STEPS):
        after = RATE if schedule == "constant" else RATE * (1 + np.cos(np.pi * (s - warmup) / (STEPS - warmup))) / 2
        values.append(RATE * s / warmup if s < warmup else after)
    return values


@pytest.mark.parametrize("schedule", schema.SCHEDULES)
@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_every_rate_is_the_papers_equation_after_a_linear_warm_up(schedule, warmup):
    np.testing.assert_allclose(rates(schedule, warmup), by_hand(schedule, warmup), rtol=1e-5, atol=1e-9)


def test_the_constant_rate_without_warm_up_is_the_number_itself():
    assert outer_rate(RATE) is RATE
    assert not isinstance(adam(outer_rate(RATE))._learning_rate, keras.optimizers.schedules.LearningRateSchedule)


def test_the_values_of_the_flag_are_the_schedules_that_there_are():
    assert tuple(SCHEDULES) == schema.SCHEDULES


def test_an_unknown_schedule_and_a_warm_up_as_long_as_a_cosine_are_refused():
    with pytest.raises(InputError, match="--outer_schedule=step: choose from constant, cosine"):
        outer_rate(RATE, "step")
    with pytest.raises(InputError, match="--outer_warmup=50 leaves none of --steps=50"):
        outer_rate(RATE, "cosine", 50, 50)
    assert rates("constant", 50)[-1] == pytest.approx(RATE * 49 / 50)
