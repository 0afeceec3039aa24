"""The settings of InfoGAN."""

from __future__ import annotations

import dataclasses

from cactus_tf.config.schema import option

FEATURES = ("codes", "all", "hidden")


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of InfoGAN; the defaults are the authors' for MNIST."""

    noise: int = option(62, "size of the incompressible noise", symbol="z", low=0, source="Chen et al. 2016, code")
    categories: int = option(10, "values of the categorical code", symbol="c_1", low=2, source="Chen et al. 2016, code")
    codes: int = option(2, "continuous codes", symbol="c_2, c_3", low=1, source="Chen et al. 2016, code")
    weight: float = option(
        1.0, "weight of the mutual information", symbol="lambda", low=0, source="Chen et al. 2016, code"
    )
    depth: int = option(
        64, "channels of the first convolution; all layers are multiples of it", low=1, source="Chen et al. 2016, code"
    )
    discriminator_rate: float = option(
        2e-4, "learning rate of discriminator and recognition network", low=0, source="Chen et al. 2016, code"
    )
    generator_rate: float = option(1e-3, "learning rate of the generator", low=0, source="Chen et al. 2016, code")
    batch: int = option(128, "images per step", low=2, source="Chen et al. 2016, code")
    features: str = option(
        "codes",
        "the embedding: codes (category logits and code means), all (with the untrained variances) or hidden (the "
        "layer below)",
        source="ours",
    )
