"""ANIL: MAML whose inner loop adapts the head only. Raghu et al. 2020. An extension, not in the paper's tables."""

from __future__ import annotations

import dataclasses

from cactus_tf.contracts import LearnerContext
from cactus_tf.learners import maml
from cactus_tf.learners._adaptation.networks import build_network, head_only
from cactus_tf.learners._adaptation.options import Options

__all__ = ["INFO", "Options", "build"]

INFO = dataclasses.replace(maml.INFO, title="ANIL")


def build(context: LearnerContext, options: Options | None = None) -> maml.MAML:
    """As MAML, in training and in evaluation; all tasks share the features.

    Raises:
      InputError: a norm or an input that the network cannot take.
    """
    options = options or Options()
    return maml.MAML(build_network(context, options, adapts=head_only), options, name="anil")
