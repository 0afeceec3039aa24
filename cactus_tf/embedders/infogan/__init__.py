"""InfoGAN: a GAN part of whose noise is a code that can be read off its images (Chen et al. 2016).

A generator makes images of incompressible noise, a category and continuous codes; a discriminator tells them from true
images; a recognition network, which shares the discriminator's trunk, recovers category and codes. Its output for true
images is the embedding. Images are [batch, height, width, channels] in 0..1.
"""

from __future__ import annotations

from cactus_tf.contracts import Embedder, EmbedderContext, EmbedderInfo
from cactus_tf.embedders._base.trained import TrainedEmbedder
from cactus_tf.embedders.infogan.model import Infogan
from cactus_tf.embedders.infogan.options import FEATURES, Options
from cactus_tf.errors import InputError

__all__ = ["INFO", "Options", "build"]

INFO = EmbedderInfo(
    trained=True,
    divided=True,
    steps=5000,  # 50 epochs of 100, the authors' MNIST script
    metrics={
        "discriminator_loss": "- mean of log D(image) + log(1 - D(made image)); 2 ln 2 = 1.386 where D cannot tell",
        "generator_loss": "- mean of log D(made image); ln 2 = 0.693 where D cannot tell",
        "categorical_information": "information about the category in made images, in nats; at most ln 10 = 2.303",
        "continuous_information": "information about the codes in made images, in nats, at unit variance; "
        "at most about 1/6 a code",
    },
    pictures={
        "samples": "images made of random noise, categories and codes, the same at every step",
        "categories": "a row per category; a column has the same noise and codes throughout",
        "codes": "a row per continuous code and category: the code from -2 to 2, all else fixed",
    },
)


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """InfoGAN, not fitted yet.

    `fit` raises InputError for images whose sides are no multiples of 4.

    Raises:
      InputError: a setting out of its range.
    """
    context, options = context or EmbedderContext(), options or Options()
    if options.features not in FEATURES:
        raise InputError(f"--infogan_features={options.features}: it must be one of {', '.join(FEATURES)}")
    return TrainedEmbedder("infogan", Infogan, options, context.steps or INFO.default_steps(context.dataset))
