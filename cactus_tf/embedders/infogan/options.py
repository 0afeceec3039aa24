"""The settings of InfoGAN."""

from __future__ import annotations

import dataclasses

from cactus_tf.config.schema import option

FEATURES = ("codes", "all", "hidden")


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of InfoGAN; the defaults are the authors' for MNIST."""

    noise: int = option(62, "size of the incompressible noise", symbol="z", low=0)
    categories: int = option(10, "values of the categorical code", symbol="c", low=2)
    codes: int = option(2, "continuous codes", symbol="c", low=1)
    weight: float = option(1.0, "weight of the mutual information", symbol="lambda", low=0)
    depth: int = option(64, "channels of the first convolution; all layers are multiples of it", low=1)
    discriminator_rate: float = option(2e-4, "learning rate of discriminator and recognition network", low=0)
    generator_rate: float = option(1e-3, "learning rate of the generator", low=0)
    batch: int = option(128, "images per step", low=2)
    features: str = option(
        "codes",
        "the embedding: codes (category logits and code means), all (with the untrained variances) or hidden (the "
        "layer below)",
    )
