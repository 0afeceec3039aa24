"""BiGAN: a generator, its inverse, and a discriminator of (image, code) pairs (Donahue, Kraehenbuehl, Darrell 2017).

The discriminator tells (x, E(x)) of the data from (G(z), z) of the prior; generator and encoder learn to deceive it,
which succeeds only if E inverts G. The code of an image is E(x).
"""

from __future__ import annotations

import dataclasses

from cactus_tf.contracts import Embedder, EmbedderContext, EmbedderInfo
from cactus_tf.embedders._base.trained import TrainedEmbedder
from cactus_tf.embedders.bigan.model import Bigan
from cactus_tf.embedders.bigan.options import DIMS, NETWORKS, Options
from cactus_tf.errors import InputError

__all__ = ["INFO", "Options", "build"]

EPOCHS, MOST_STEPS = 400, 200_000
INFO = EmbedderInfo(
    trained=True,
    divided=True,
    # The authors' scripts: 200 epochs at a constant rate and 200 of decay, of 390 batches on MNIST. Hsu et al. 2019
    # give no length: 400 epochs (171 batches on Omniglot), at most 200,000 steps. Digits have 7 batches.
    steps={
        "mnist": EPOCHS * 390,
        "omniglot": EPOCHS * 171,
        "miniimagenet": EPOCHS * 300,
        "celeba": MOST_STEPS,
        "digits": EPOCHS * 7,
    },
    metrics={
        "discriminator_loss": "cross-entropy of telling (image, code) from (sample, code), in nats; ln 2 is a guess",
        "generator_loss": "the same with the answers swapped, which generator and encoder minimize",
        "reconstruction_error": "mean squared difference of images and G(E(x)); pixels are in [0, 1] (conv: [-1, 1])",
    },
    pictures={
        "reconstructions": "images, and below them what the generator makes of their codes",
        "samples": "what the generator makes of 64 fixed codes of the prior",
        "interpolations": "a row per pair of images: the generator on mixes of their codes, from one to the other",
    },
)


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """BiGAN, not fitted yet.

    Raises:
      InputError: an unknown network, or filters that do not divide into the encoder's groups.
    """
    context, options = context or EmbedderContext(), options or Options()
    if options.network not in (None, *NETWORKS):
        raise InputError(f"--bigan_network={options.network}: it must be {' or '.join(NETWORKS)}; or leave it out")
    if options.filters % 4:
        raise InputError(f"--bigan_filters={options.filters}: it must be a multiple of 4, for two groups of 1.5 x it")
    options = dataclasses.replace(options, dims=options.dims or DIMS.get(context.dataset, DIMS[None]))
    return TrainedEmbedder("bigan", Bigan, options, context.steps or INFO.default_steps(context.dataset), sized)


def sized(options: Options, steps: int | None, images: int) -> tuple[Options, int]:
    """Without a length: 400 epochs, at most 200,000 steps."""
    return options, steps or min(MOST_STEPS, EPOCHS * max(1, images // options.batch))
