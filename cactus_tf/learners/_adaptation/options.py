"""The settings of the learners that adapt."""

from __future__ import annotations

import dataclasses

from cactus_tf.config.schema import TrainingSettings, option

DEFAULTS = TrainingSettings(backbone="conv4", filters=32, norm="batch", on_embeddings=False, query=5, tasks_per_step=8)
"""Meta-training of CACTUs-MAML on every data set."""
SOURCE = "Hsu et al. 2019, table 5 (query, tasks_per_step) and scripts (network)"

TRANSDUCTIVE = "normalize queries with their own statistics, as in the MAML paper; false: with those of the support set"


@dataclasses.dataclass(frozen=True)
class AdaptationOptions:
    """Settings of every learner that is meta-trained to adapt."""

    inner_lr: float = option(
        0.05,
        "learning rate of the inner loop; the authors' scripts for resnet use 0.005 or 0.001",
        symbol="alpha",
        low=0,
        source="Hsu et al. 2019, table 5",
    )
    inner_steps: int = option(5, "inner steps in training", symbol="U", low=1, source="Hsu et al. 2019, table 5")
    eval_steps: int = option(
        50, "inner steps in evaluation", low=1, source="Hsu et al. 2019, table 5", evaluation_only=True
    )
    transductive: bool = option(True, TRANSDUCTIVE, source="Hsu et al. 2019, code", evaluation_only=True)
    pooled: bool | None = option(
        None,
        "max-pooled conv4 instead of the strided one; default: from 64 pixels a side",
        source="Hsu et al. 2019, code",
    )
    clip: float | None = option(
        None,
        "bound of each element of the outer gradient, 0 for none; default: 10 from 64 pixels a side, else none",
        low=0,
        source="Hsu et al. 2019, code",
    )
    vectorized: bool | None = option(
        None,
        "run all tasks of a step in the same kernels instead of side by side; default: on a GPU only",
        source="ours",
        evaluation_only=True,
    )


@dataclasses.dataclass(frozen=True)
class Options(AdaptationOptions):
    """Settings of the learners whose outer gradient goes through the inner loop."""

    first_order: bool = option(
        False, "treat inner gradients as constants in the outer loop: first-order MAML", source="Hsu et al. 2019, code"
    )
    recompute: bool = option(
        False,
        "save memory: recompute inner steps in the outer gradient instead of storing them",
        source="ours",
        evaluation_only=True,
    )
