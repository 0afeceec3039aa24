"""Meta-SGD: MAML whose inner rates are meta-learned, one per weight. Li et al. 2017. An extension, not in the paper."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.contracts import LearnerContext
from cactus_tf.learners import maml
from cactus_tf.learners._adaptation.networks import build_network, everything_but_norms
from cactus_tf.learners._adaptation.options import Options

__all__ = ["INFO", "Options", "build"]

INFO = dataclasses.replace(maml.INFO, title="Meta-SGD")


def build(context: LearnerContext, options: Options | None = None) -> maml.MAML:
    """As MAML, with theta' = theta - alpha * grad L element by element and alpha trained too. Li et al. 2017, eq. 2.

    Every alpha starts at `inner_lr` (the paper draws them from 0.005..0.1) and may become negative, as in the paper.

    Raises:
      InputError: a norm or an input that the network cannot take.
    """
    options = options or Options()
    rates: dict[int, keras.Variable] = {}

    def rate(variable: keras.Variable) -> tf.Tensor:
        return tf.convert_to_tensor(rates[id(variable)])

    network = build_network(context, options, adapts=everything_but_norms, rates=rate)
    for variable in network.adapted_variables:
        start = np.full(variable.shape, options.inner_lr, np.float32)
        rates[id(variable)] = keras.Variable(start, name=f"{variable.name}_rate")
    return maml.MAML(network, options, name="meta_sgd", meta_variables=tuple(rates.values()))
