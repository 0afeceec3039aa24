"""Learning rates of the outer loop: exact functions of the step, so that a resumed training has the same ones."""

from __future__ import annotations

from typing import Any

import keras

from cactus_tf.config.schema import check_warmup
from cactus_tf.errors import InputError

Rate = Any  # a number, or one of keras.optimizers.schedules


def outer_rate(rate: float, schedule: str = "constant", warmup: int = 0, steps: int = 1) -> Rate:
    """The rate of every step, W steps of warm-up first: Goyal et al. 2017, section 2.2.

    Steps count from 0. Step s < W has the rate beta s / W, so the first one only starts Adam's averages.

    Args:
      rate: beta, the highest rate.
      schedule: "constant" or "cosine".
      warmup: W, steps of warm-up; 0 for none.
      steps: S, length of the training; only the cosine depends on it.

    Raises:
      InputError: an unknown schedule, or a cosine that the warm-up leaves no step.
    """
    if schedule not in SCHEDULES:
        raise InputError(f"--outer_schedule={schedule}: choose from {', '.join(SCHEDULES)}")
    check_warmup(schedule, warmup, steps)
    return SCHEDULES[schedule](rate, warmup, steps)


def constant(rate: float, warmup: int, steps: int) -> Rate:
    """Beta after the warm-up."""
    if not warmup:
        return rate
    return keras.optimizers.schedules.PolynomialDecay(0.0, warmup, rate, power=1.0)


def cosine(rate: float, warmup: int, steps: int) -> Rate:
    """Half a cosine after the warm-up: beta (1 + cos(pi (s - W) / (S - W))) / 2. Loshchilov and Hutter 2017, eq. 5."""
    left = max(1, steps - warmup)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(rate, left)
    return keras.optimizers.schedules.CosineDecay(0.0, left, warmup_target=rate, warmup_steps=warmup)


SCHEDULES = {"constant": constant, "cosine": cosine}
"""By the value of `--outer_schedule`."""
