"""Training from scratch on each support set: gradient descent from random weights. Hsu et al. 2019, table 1, line 1."""

from __future__ import annotations

import dataclasses

from cactus_tf.config import option
from cactus_tf.learners._adaptation import AdaptedNetwork, build_model, everything_but_norms
from cactus_tf.types import LearnerContext

INTRA_OP_THREADS = 1


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of training from scratch."""

    inner_lr: float = option(0.1, "rate of gradient descent on the support loss", low=0, source="the authors' script")
    eval_steps: int = option(200, "steps of gradient descent", low=1, source="the authors' code")
    transductive: bool = option(
        True, "queries are normalised with their own statistics, as in the paper; false: with those of the support set"
    )


def build(context: LearnerContext, options: Options | None = None) -> AdaptedNetwork:
    """MAML's network with weights that nothing was learned into; one draw of them serves all tasks.

    Raises:
      InputError: a norm or an input that the network cannot take.
    """
    options = options or Options()
    model, consumes = build_model(context)
    return AdaptedNetwork(
        model,
        rates=lambda variable: options.inner_lr,
        adapts=everything_but_norms,
        eval_steps=options.eval_steps,
        transductive=options.transductive,
        consumes=consumes,
    )
