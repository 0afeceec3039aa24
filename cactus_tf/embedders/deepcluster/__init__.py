"""DeepCluster: a network that learns to tell the clusters of its own features apart (Caron et al. 2018).

Before every epoch the features of all images (output of the second fully connected layer, before its ReLU) are reduced
to 256 whitened principal components, scaled to length 1 and clustered. The epoch trains the network, under a new head,
to predict each image's cluster from a random crop. The embedding is the reduced feature of the final network.

An epoch is floor(images / batch) steps. Where the authors' code and paper differ, the paper is followed: clusters are
drawn equally often (`legacy_sampling` undoes it). Arrays below are [batch, height, width, channels].
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cactus_tf.contracts import Embedder, EmbedderContext, EmbedderInfo
from cactus_tf.embedders._base.trained import TrainedEmbedder
from cactus_tf.embedders.deepcluster.model import DeepCluster
from cactus_tf.embedders.deepcluster.options import BATCH, CLUSTERS, Options

__all__ = ["INFO", "Options", "build"]

EPOCHS = 200
INFO = EmbedderInfo(
    trained=True,
    divided=True,
    # 200 epochs of 256 images a batch, as the authors; digits: 20 of 32. Elsewhere: 200 epochs of the default batch.
    steps={
        "omniglot": EPOCHS * 85,
        "mnist": EPOCHS * 195,
        "miniimagenet": EPOCHS * 150,
        "celeba": EPOCHS * 635,
        "digits": 20 * 31,
    },
    metrics={
        "loss": "cross-entropy of the pseudo-labels of the step's crops, in nats",
        "accuracy": "fraction of the step's crops whose pseudo-label was predicted",
        "agreement": "normalized mutual information, 0..1, of this epoch's and the last epoch's pseudo-labels; "
        "0 in the first",
        "used_clusters": "number of the epoch's clusters that have images",
    },
    pictures={
        "inputs": "images as they are embedded, a random training crop of each, and its Sobel maps; zero is gray"
    },
)
_LEAST_BATCH, _STEPS_PER_EPOCH = 16, 30  # ours: a new head in every epoch needs more than a few steps


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """DeepCluster, not fitted yet.

    `fit` raises InputError for images too small for the network and for more clusters than images.
    """
    context, options = context or EmbedderContext(), options or Options()
    if options.clusters is None:
        options = dataclasses.replace(options, clusters=CLUSTERS.get(context.dataset or ""))
    steps = context.steps or INFO.default_steps(context.dataset)
    return TrainedEmbedder("deepcluster", DeepCluster, options, steps, sized)


def sized(options: Options, steps: int | None, images: int) -> tuple[Options, int]:
    """Fills batch and length: 200 epochs."""
    batch = options.batch or default_batch(images)
    return dataclasses.replace(options, batch=batch), steps or EPOCHS * max(1, images // batch)


def default_batch(images: int) -> int:
    """256, or the largest power of two from 16 on that leaves 30 steps an epoch."""
    most = max(_LEAST_BATCH, images // _STEPS_PER_EPOCH)
    return min(BATCH, 2 ** int(np.log2(most)))
