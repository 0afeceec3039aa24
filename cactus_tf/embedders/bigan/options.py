"""The settings of BiGAN."""

from __future__ import annotations

import dataclasses

from cactus_tf.config.schema import option

NETWORKS = ("mlp", "conv")
DIMS: dict[str | None, int] = {"mnist": 50, "digits": 50, None: 200}  # the authors' u-50 and u-200


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of BiGAN; the defaults are those of Donahue et al. 2017 and their scripts."""

    network: str | None = option(
        None,
        "mlp or conv; default: mlp for images with a side below 64, else conv",
        source="Donahue et al. 2017, code; the choice by size: ours",
    )
    dims: int | None = option(
        None,
        "size of the code; default: 50 for mnist and digits, else 200",
        low=1,
        source="Donahue et al. 2017, code; digits: ours",
    )
    units: int = option(1024, "units of each hidden layer (mlp)", low=1, source="Donahue et al. 2017, code")
    filters: int = option(
        64,
        "channels of the discriminator's first layer, a multiple of 4 (conv)",
        low=4,
        source="Donahue et al. 2017, code",
    )
    rate: float = option(
        2e-4,
        "learning rate of both Adams in the first half; it decays to a hundredth",
        low=0,
        source="Donahue et al. 2017, code",
    )
    beta: float = option(
        0.5, "decay of Adam's mean of gradients", symbol="beta_1", low=0, high=0.999, source="Donahue et al. 2017, code"
    )
    decay: float = option(
        2.5e-5,
        "L2 decay of all weights but gamma of the norms, added to the gradient",
        low=0,
        source="Donahue et al. 2017, code",
    )
    batch: int = option(128, "images per step", low=2, source="Donahue et al. 2017, code")
    deploy_batches: int = option(
        1000, "batches whose statistics are averaged for encoding", low=1, source="Donahue et al. 2017, code"
    )
