"""ANIL: MAML whose inner loop adapts the head only. Raghu et al. 2020. An extension, not in the paper's tables."""

from __future__ import annotations

from cactus_tf.contracts import LearnerContext
from cactus_tf.learners._adaptation import DEFAULTS, Options, head_only
from cactus_tf.learners.maml import FIXED_HEAD, INTRA_OP_THREADS, MAML, network_of

__all__ = ["FIXED_HEAD", "INTRA_OP_THREADS", "DEFAULTS", "Options", "build"]


def build(context: LearnerContext, options: Options | None = None) -> MAML:
    """As MAML, in training and in evaluation; the features are shared by all tasks.

    Raises:
      InputError: a norm or an input that the network cannot take.
    """
    options = options or Options()
    return MAML(network_of(context, options, adapts=head_only), options, name="anil")
