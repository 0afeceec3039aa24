"""Meta-SGD: MAML whose inner rates are meta-learned, one per weight. Li et al. 2017. An extension, not in the paper."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from cactus_tf.contracts import LearnerContext
from cactus_tf.learners._adaptation import DEFAULTS, Options, build_model, everything_but_norms, is_vectorized
from cactus_tf.learners._adapted_network import AdaptedNetwork
from cactus_tf.learners.maml import FIXED_HEAD, INTRA_OP_THREADS, MAML

__all__ = ["FIXED_HEAD", "INTRA_OP_THREADS", "DEFAULTS", "Options", "build"]


def build(context: LearnerContext, options: Options | None = None) -> MAML:
    """As MAML; theta' = theta - alpha * grad L element by element, alpha trained with theta. Li et al. 2017, eq. 2.

    Every alpha starts at `inner_lr` (the paper draws them from 0.005..0.1) and may become negative, as in the paper.

    Raises:
      InputError: a norm or an input that the network cannot take.
    """
    options = options or Options()
    model, consumes = build_model(context, pooled=options.pooled, vectorized=is_vectorized(options))
    rates: dict[int, keras.Variable] = {}
    network = AdaptedNetwork(
        model,
        rates=lambda variable: tf.convert_to_tensor(rates[id(variable)]),
        adapts=everything_but_norms,
        eval_steps=options.eval_steps,
        transductive=options.transductive,
        consumes=consumes,
    )
    for variable in network.adapted_variables:
        start = np.full(variable.shape, options.inner_lr, np.float32)
        rates[id(variable)] = keras.Variable(start, name=f"{variable.name}_rate")
    return MAML(network, options, name="meta_sgd", meta_variables=tuple(rates.values()))
