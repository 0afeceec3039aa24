"""DeepCluster: a network that learns to tell the clusters of its own features apart (Caron et al. 2018).

Before every epoch the features of all images (output of the second fully connected layer, before its ReLU) are reduced
to 256 whitened principal components, scaled to length 1 and clustered. The epoch trains the network, under a new head,
to predict each image's cluster from a random crop. The embedding is the reduced feature of the final network.

An epoch is floor(images / batch) steps. Where the authors' code and paper differ, the paper is followed: clusters come
up equally often (`legacy_sampling` undoes it). Arrays below are [batch, height, width, channels].
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import normalized_mutual_info_score

from cactus_tf.config.schema import option
from cactus_tf.contracts import Embedder, EmbedderContext
from cactus_tf.embedders._base.fitting import Network, Plan
from cactus_tf.embedders._base.image_arrays import in_chunks
from cactus_tf.embedders._base.trained import TrainedEmbedder
from cactus_tf.embedders.deepcluster import crops as crops
from cactus_tf.embedders.deepcluster import epochs as epochs
from cactus_tf.embedders.deepcluster import networks as networks
from cactus_tf.errors import InputError, RunError
from cactus_tf.utils import seeds

log = logging.getLogger(__name__)

# 200 epochs of the usual batch, as the authors; digits: 20. Elsewhere 200 epochs of the images there are.
STEPS = {"omniglot": 200 * 85, "mnist": 200 * 195, "miniimagenet": 200 * 150, "celeba": 200 * 635, "digits": 20 * 31}
EPOCHS = 200
# The authors' batch; ours where an epoch, at whose end the head is new, would be a few steps: 30 steps an epoch.
BATCH, _LEAST_BATCH, _STEPS_PER_EPOCH = 256, 16, 30
CLUSTERS = {"omniglot": 500, "miniimagenet": 500, "celeba": 1000}  # ours; the first two as many as CACTUs makes
_IMAGES_PER_CLUSTER, _CLUSTERS = 44, (10, 10_000)  # elsewhere: as on Omniglot, within bounds; the authors' k is 10,000
# Whitening needs many images per component. On the 1000 digits, k-means of consecutive epochs agrees by 0.33 with 256
# components and by 0.78 with 25. The paper's data sets have more than 40 for each of its 256.
_DIMS, _IMAGES_PER_DIM = 256, 40
_WHITENED = 100_000  # images at most from which the principal components are found, which bounds the memory
METRICS = {
    "loss": "cross-entropy of the pseudo-labels of the step's crops, in nats",
    "accuracy": "fraction of the step's crops whose pseudo-label was predicted",
    "agreement": "normalised mutual information, 0..1, of the epoch's pseudo-labels and the last one's; at first 0",
    "used_clusters": "number of the epoch's clusters that have images",
}
PICTURES = {
    "inputs": "images as they are embedded, a random crop of each as in training, and its Sobel maps, grey for zero",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of DeepCluster; the defaults are the authors', with the crops of CACTUs."""

    network: str | None = option(None, "alexnet, vgg16 or conv4; unsaid alexnet for sides from 64 on, else conv4")
    clusters: int | None = option(
        None,
        "pseudo-labels; unsaid 500 on Omniglot and miniImageNet, 1000 on CelebA, else images / 44",
        symbol="k",
        low=2,
    )
    dims: int | None = option(
        None, "principal components that are clustered and embed; unsaid 256, or images / 40 where that is less", low=1
    )
    batch: int | None = option(
        None, "images per step; unsaid 256, or a power of two that leaves 30 steps an epoch", low=2
    )
    rate: float = option(0.05, "rate of SGD, constant", low=0)
    momentum: float = option(0.9, "momentum of SGD; the head has none", low=0, high=0.999)
    weight_decay: float = option(1e-5, "times the weight, added to its gradient", low=0)
    dropout: float = option(0.5, "part of the inputs of fully connected layers that is dropped", low=0, high=0.99)
    kmeans_iterations: int = option(20, "iterations of k-means", low=1)
    legacy_sampling: bool = option(False, "large clusters come up more often, as in the authors' code")
    sobel: bool = option(True, "replace the images by their Sobel maps")
    side: int = option(64, "side of the crops; images with a smaller one keep their size and are embedded whole", low=8)
    crop_scale: float | None = option(
        None, "least area of a random crop, as a part; unsaid 0.08, or 0.5 for images below `side`", low=0.01, high=1
    )
    flip: bool | None = option(
        None, "mirror half of the crops; unsaid for colour only, as characters have a handedness"
    )


def pseudo_label_loss(logits, labels):
    """Mean of -log softmax(logits)[label] (Caron et al. 2018, eq. 1, with clusters for labels).

    Args:
      logits: [n, k].
      labels: [n] integers in 0..k-1.
    """
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def clusters_of(options: Options, images: int) -> int:
    """k: as said, or images / 44 within 10..10,000.

    Raises:
      InputError: more clusters than images.
    """
    low, high = _CLUSTERS
    clusters = options.clusters or min(max(images // _IMAGES_PER_CLUSTER, low), high, images)
    if clusters > images:
        raise InputError(f"--deepcluster_clusters={clusters} is more than the {images} training images: lower it")
    return clusters


def dims_of(options: Options, images: int, units: int) -> int:
    """Number of principal components: as said, else min(256, images / 40) or as many as there are.

    Raises:
      InputError: more than features or images allow.
    """
    most = min(units, images - 1)
    if options.dims and options.dims > most:
        raise InputError(
            f"--deepcluster_dims={options.dims}: {images} images with {units} features have at most {most}: lower it"
        )
    return options.dims or min(_DIMS, max(images // _IMAGES_PER_DIM, 2), most)


class DeepCluster(Network):
    """Network, head and pseudo-labels, with the step that trains the first two.

    Attributes:
      assignments: [images] int32, the pseudo-labels of `epoch`, so that a stopped fit goes on inside an epoch.
      epoch: the one that was begun last; -1 before the first.
    """

    def __init__(self, options: Options, plan: Plan):
        super().__init__(name="deepcluster")
        self._options, self._seed = options, plan.seed
        self.views = crops.Views(plan.image_shape, options.side, options.crop_scale, options.flip, plan.seed)
        shape = (*self.views.size, plan.image_shape[2])
        self.body = networks.Body(shape, options.network, options.sobel, options.dropout, plan.seed)
        self.clusters = clusters_of(options, plan.images)
        head_seed = seeds.derive(plan.seed, "deepcluster weights")
        self.head = networks.linear(self.body.units, self.clusters, networks.LINEAR_STDDEV, head_seed, "head")
        self._set_state(plan)
        self.epoch_steps = max(1, plan.images // (options.batch or BATCH))
        self.compile(optimizer=keras.optimizers.SGD(options.rate, options.momentum), jit_compile=False)
        self.head_optimizer = keras.optimizers.SGD(options.rate)
        for optimizer, player in zip(self.optimizers, self.players, strict=True):
            optimizer.build(player)
        self.built = True
        signature = tf.TensorSpec((None, *plan.image_shape), tf.uint8)
        self._features = tf.function(self.features, input_signature=[signature])
        self._encoded = tf.function(self.encode, input_signature=[signature])

    def _set_state(self, plan: Plan) -> None:
        units = self.body.units
        dims = dims_of(self._options, plan.images, units)
        add = functools.partial(self.add_weight, initializer="zeros", trainable=False)
        self.assignments = add(shape=(plan.images,), dtype="int32", name="assignments")
        self.epoch = add(shape=(), dtype="int32", name="epoch")
        self.epoch.assign(-1)
        self.agreement, self.used_clusters = add(shape=(), name="agreement"), add(shape=(), name="used_clusters")
        self.mean, self.whitening = add(shape=(units,), name="mean"), add(shape=(units, dims), name="whitening")

    def _stream(self, purpose: str) -> int:
        return seeds.derive(self._seed, f"deepcluster {purpose}")

    @property
    def players(self) -> tuple[list, list]:
        """Weights of the network, and of its head."""
        return self.body.trainable_variables, self.head.trainable_variables

    @property
    def optimizers(self) -> list:
        """The network's and the head's."""
        return [self.optimizer, self.head_optimizer]

    def features(self, images):
        """[n, h, w, c] uint8 -> [n, units] features of the embedded views."""
        return self.body.features(self.views.embedded(images))

    def encode(self, images):
        """[n, h, w, c] uint8 -> [n, dims] rows of length 1: whitened principal components of the features."""
        centred = self.features(images) - tf.convert_to_tensor(self.mean)
        return tf.math.l2_normalize(centred @ tf.convert_to_tensor(self.whitening), axis=1)

    def train_step(self, data):
        """One step of network and head; data is (step, [batch, h, w, c] uint8, [batch] int32 pseudo-labels)."""
        step, images, labels = data
        x = self.views.cropped(images, step)
        with tf.GradientTape() as tape:
            logits = self.head(tf.nn.relu(self.body.features(x, step)))
            loss = pseudo_label_loss(logits, labels)
        gradients = tape.gradient(loss, self.players)
        for optimizer, player, slopes in zip(self.optimizers, self.players, gradients, strict=True):
            optimizer.apply([g + self._options.weight_decay * v for g, v in zip(slopes, player, strict=True)], player)
        hits = tf.equal(tf.argmax(logits, axis=1, output_type=labels.dtype), labels)
        return {
            "loss": loss,
            "accuracy": tf.reduce_mean(tf.cast(hits, tf.float32)),
            "agreement": tf.convert_to_tensor(self.agreement),
            "used_clusters": tf.convert_to_tensor(self.used_clusters),
        }

    def pictures(self, images):
        """The picture of PICTURES, in grey."""
        whole, crop = self.views.embedded(images) / 255, self.views.cropped(images, tf.constant(0, tf.int64)) / 255
        maps = networks.sobel(crop) / 8 + 0.5  # a Sobel map of pixels in 0..1 lies in -4..4
        rows = [*(tf.reduce_mean(x, axis=-1) for x in (whole, crop)), *tf.unstack(maps, axis=-1)]
        return {"inputs": tf.stack(rows)[..., None]}

    def data(self, images, batch, seed, first, steps):
        """(step, [batch, h, w, c] uint8, [batch] int32 pseudo-labels), each gathered when its step has begun.

        An epoch's order is a function of (pseudo-labels, seed, epoch).
        """

        @functools.lru_cache(maxsize=1)
        def ordered(epoch: int) -> tuple[np.ndarray, np.ndarray]:
            assert epoch == int(self.epoch), "a batch was fetched before its epoch had begun"
            assignments = self.assignments.numpy()
            rng = seeds.counter_rng(seed, epoch)
            order = epochs.balanced_order(assignments, rng, self._options.legacy_sampling)
            return order, assignments[order]

        return epochs.batches(images, batch, first, steps, ordered)

    def between_steps(self, images: np.ndarray) -> Sequence[keras.callbacks.Callback]:
        """Begins each epoch."""
        begin = functools.partial(self.begin, images)
        return [epochs.AtEpochs(self.epoch_steps, begin, lambda: int(self.epoch))]

    def begin(self, images: np.ndarray, epoch: int) -> None:
        """Clusters all the images anew and makes a new head; a function of the weights, the seed and the epoch."""
        rng = seeds.counter_rng(self._stream("k-means"), epoch)
        rows = self.reduced(images)
        found = epochs.cluster(rows, self.clusters, self._options.kmeans_iterations, int(rng.integers(2**32)))
        used = len(np.unique(found))
        agreement = normalized_mutual_info_score(self.assignments.numpy(), found) if epoch else 0.0
        log.info("deepcluster: epoch %d, %d of %d clusters, agreement %.3f", epoch, used, self.clusters, agreement)
        self.reset_head(epoch)
        self.used_clusters.assign(used)
        self.agreement.assign(agreement)
        self.assignments.assign(found)
        self.epoch.assign(epoch)  # last: an interrupted beginning is made again

    def reset_head(self, epoch: int) -> None:
        """Weights N(0, 0.01^2) of this epoch, biases 0; its optimizer remembers nothing."""
        seed = (self._stream("head"), epoch)
        self.head.kernel.assign(tf.random.stateless_normal(self.head.kernel.shape, seed, 0, networks.LINEAR_STDDEV))
        self.head.bias.assign(tf.zeros(self.clusters))

    def reduced(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dims] as `encode` does, with principal components of these images."""
        centred = self.fit_whitening(images)
        if len(centred) < len(images):
            return in_chunks(self._encoded, images)
        return epochs.unit(centred @ self.whitening.numpy())

    def fit_whitening(self, images: np.ndarray) -> np.ndarray:
        """Sets what `encode` needs beside the network, from 100,000 evenly spaced images at most.

        Returns:
          [those, units] their features without the mean.

        Raises:
          RunError: a feature is NaN or infinite.
        """
        features = in_chunks(self._features, images[:: math.ceil(len(images) / _WHITENED)], chunk=256)
        if not np.isfinite(features).all():
            step = int(self.optimizer.iterations)
            raise RunError(f"deepcluster: features are NaN or infinite after step {step}; lower --deepcluster_rate")
        mean, matrix = epochs.whitening(features, self.whitening.shape[1])
        self.mean.assign(mean)
        self.whitening.assign(matrix)
        return features

    def finish(self, images: np.ndarray) -> None:
        """Finds the principal components of the final features."""
        self.fit_whitening(images)


def build(context: EmbedderContext | None = None, options: Options | None = None) -> Embedder:
    """DeepCluster, not fitted yet; 200 epochs on the data sets of STEPS unless the context says otherwise.

    `fit` raises InputError for images too small for the network and for more clusters than images.
    """
    context, options = context or EmbedderContext(), options or Options()
    name = context.dataset or ""
    if options.clusters is None:
        options = dataclasses.replace(options, clusters=CLUSTERS.get(name))
    steps = context.steps or STEPS.get(context.dataset or "")
    return TrainedEmbedder("deepcluster", DeepCluster, options, steps, functools.partial(sized, steps))


def sized(steps: int | None, options: Options, images: int) -> tuple[Options, int]:
    """Batch and length for a number of images, where they are unsaid."""
    batch = options.batch or usual_batch(images)
    return dataclasses.replace(options, batch=batch), steps or EPOCHS * max(1, images // batch)


def usual_batch(images: int) -> int:
    """256, or the largest power of two from 16 on that leaves 30 steps an epoch."""
    room = max(_LEAST_BATCH, images // _STEPS_PER_EPOCH)
    return min(BATCH, 2 ** int(np.log2(room)))
