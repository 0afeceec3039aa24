"""Training from scratch on each support set: gradient descent from random weights. Hsu et al. 2019, table 1, line 1."""

from __future__ import annotations

import dataclasses
from typing import Literal

from cactus_tf.config.schema import network_only, option
from cactus_tf.contracts import Answer, LearnerContext
from cactus_tf.learners import _adaptation
from cactus_tf.learners._adapted_network import AdaptedNetwork
from cactus_tf.learners._inputs import network_input
from cactus_tf.types import Array, Trace

INTRA_OP_THREADS = 1
NETWORK = network_only(_adaptation.DEFAULTS)
"""MAML's."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of training from scratch."""

    inner_lr: float = option(
        0.1, "rate of gradient descent on the support loss", low=0, source="the authors' script", evaluation_only=True
    )
    eval_steps: int = option(200, "steps of gradient descent", low=1, source="the authors' code", evaluation_only=True)
    transductive: bool = option(
        True,
        "queries are normalised with their own statistics, as in the paper; false: with those of the support set",
        evaluation_only=True,
    )


def build(context: LearnerContext, options: Options | None = None) -> Scratch:
    """MAML's network with weights that nothing was learned into.

    Raises:
      InputError: a norm or an input that the network cannot take.
    """
    return Scratch(context, options or Options())


class Scratch:
    """Gradient descent from one draw of weights for all tasks of a way; the head has as many outputs as the task.

    Args:
      context: says which network; its way does not matter.
      options: of the descent.
    """

    remedy = "lower --scratch_inner_lr"

    def __init__(self, context: LearnerContext, options: Options):
        self._context, self._options = context, options
        self.consumes: Literal["images", "embeddings"] = network_input(context)[0]
        self._networks: dict[int, AdaptedNetwork] = {}
        self.transductive = self.network(context.way).transductive

    def network(self, way: int) -> AdaptedNetwork:
        """The network of the tasks of this way."""
        if way not in self._networks:
            model, consumes = _adaptation.build_model(dataclasses.replace(self._context, way=way))
            self._networks[way] = AdaptedNetwork(
                model,
                rates=lambda variable: self._options.inner_lr,
                adapts=_adaptation.everything_but_norms,
                eval_steps=self._options.eval_steps,
                transductive=self._options.transductive,
                consumes=consumes,
            )
        return self._networks[way]

    def classify(self, support: Array, support_labels: Array, query: Array, way: int):
        """Logits [m, way] of the queries after the last step."""
        return self.network(way).classify(support, support_labels, query, way)

    def answerer(self, support: Array, support_labels: Array, way: int, transductive: bool = False) -> Answer:
        """Descends once; the function from queries [m, ...] to logits [m, way]."""
        return self.network(way).answerer(support, support_labels, way, transductive)

    def trace(self, support: Array, support_labels: Array, query: Array, way: int, steps: int | None = None) -> Trace:
        """Logits at the start and after each step, `eval_steps` unless said."""
        return self.network(way).trace(support, support_labels, query, way, steps)
