"""Training from scratch on each support set: gradient descent from random weights. Hsu et al. 2019, table 1, line 1."""

from __future__ import annotations

import dataclasses
import functools

from cactus_tf.config.schema import network_only, option
from cactus_tf.contracts import LearnerContext, LearnerInfo
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.learners._adaptation.learner import AdaptedLearner
from cactus_tf.learners._adaptation.networks import build_network, everything_but_norms
from cactus_tf.learners._adaptation.options import DEFAULTS, TRANSDUCTIVE, AdaptationOptions

INFO = LearnerInfo(
    title="training from scratch", network=network_only(DEFAULTS), source="Hsu et al. 2019, scripts", intra_op_threads=1
)


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of training from scratch."""

    inner_lr: float = option(
        0.1,
        "learning rate of gradient descent on the support loss",
        symbol="alpha",
        low=0,
        source="Hsu et al. 2019, scripts",
        evaluation_only=True,
    )
    eval_steps: int = option(
        200, "steps of gradient descent", low=1, source="Hsu et al. 2019, code", evaluation_only=True
    )
    transductive: bool = option(True, TRANSDUCTIVE, source="Hsu et al. 2019, code", evaluation_only=True)


def build(context: LearnerContext, options: Options | None = None) -> Scratch:
    """MAML's network with random initial weights.

    Raises:
      InputError: a norm or an input that the network cannot take.
    """
    return Scratch(context, options or Options())


class Scratch(AdaptedLearner):
    """Gradient descent from one draw of weights for all tasks of a way; the head has as many outputs as the task.

    Args:
      context: describes the network; its way does not change any answer.
      options: of the descent.
    """

    remedy = "lower --scratch_inner_lr"

    def __init__(self, context: LearnerContext, options: Options):
        adaptation = AdaptationOptions(inner_lr=options.inner_lr, vectorized=False)

        def network_for(way: int) -> AdaptedNetwork:
            of_this_way = dataclasses.replace(context, way=way)
            return build_network(of_this_way, adaptation, adapts=everything_but_norms)

        self._networks, self.eval_steps = functools.cache(network_for), options.eval_steps
        network = self.network_for(context.way)
        self.consumes = network.consumes
        self.transductive = options.transductive and network.uses_batch_statistics

    def network_for(self, way: int) -> AdaptedNetwork:
        """The network of tasks of this way, built on first use."""
        return self._networks(way)
