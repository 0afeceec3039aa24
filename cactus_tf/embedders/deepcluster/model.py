"""DeepCluster's network, head and pseudo-labels, with the step that trains the first two."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from sklearn.metrics import normalized_mutual_info_score

from cactus_tf.embedders._base.image_arrays import in_chunks
from cactus_tf.embedders._base.network import Network, NetworkContext
from cactus_tf.embedders._base.replicas import own
from cactus_tf.embedders.deepcluster import crops, epochs, networks
from cactus_tf.embedders.deepcluster.options import BATCH, Options, clusters_of, dims_of
from cactus_tf.errors import RunError
from cactus_tf.utils import seeds

log = logging.getLogger(__name__)

_WHITENED = 100_000  # most images that principal components are found from, which bounds the memory


def pseudo_label_loss(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    """Mean of -log softmax(logits)[label] (Caron et al. 2018, eq. 1, with clusters for labels).

    Args:
      logits: [n, k].
      labels: [n] integers in 0..k-1.
    """
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


class DeepCluster(Network):
    """Network, head and pseudo-labels.

    Attributes:
      assignments: [images] int32, the pseudo-labels of `epoch`; a weight, so that a stopped fit resumes in an epoch.
      epoch: the one that was begun last; -1 before the first.
    """

    def __init__(self, options: Options, context: NetworkContext):
        super().__init__(name="deepcluster")
        self._options, self._seed = options, context.seed
        self.views = crops.Views(context.image_shape, options.side, options.crop_scale, options.flip, context.seed)
        shape = (*self.views.size, context.image_shape[2])
        self.body = networks.Body(shape, options.network, options.sobel, options.dropout, context.seed)
        self.clusters = clusters_of(options, context.images)
        head_seed = seeds.derive(context.seed, "deepcluster weights")
        self.head = networks.linear(self.body.units, self.clusters, networks.LINEAR_STDDEV, head_seed, "head")
        self._add_state(context)
        self.epoch_steps = max(1, context.images // (options.batch or BATCH))
        self.compile_players(
            keras.optimizers.SGD(options.rate, options.momentum),
            keras.optimizers.SGD(options.rate),
        )
        signature = tf.TensorSpec((None, *context.image_shape), tf.uint8)
        self._features = tf.function(self.features, input_signature=[signature])
        self._encoded = tf.function(self.encode, input_signature=[signature])

    def _add_state(self, context: NetworkContext) -> None:
        units = self.body.units
        dims = dims_of(self._options, context.images, units)
        add = functools.partial(self.add_weight, initializer="zeros", trainable=False)
        self.assignments = add(shape=(context.images,), dtype="int32", name="assignments")
        self.epoch = add(shape=(), dtype="int32", name="epoch")
        self.epoch.assign(-1)
        self.agreement, self.used_clusters = add(shape=(), name="agreement"), add(shape=(), name="used_clusters")
        self.mean, self.whitening = add(shape=(units,), name="mean"), add(shape=(units, dims), name="whitening")

    def _stream(self, purpose: str) -> int:
        return seeds.derive(self._seed, f"deepcluster {purpose}")

    @property
    def players(self) -> tuple[list[keras.Variable], list[keras.Variable]]:
        """Weights of the network, and of its head."""
        return self.body.trainable_variables, self.head.trainable_variables

    def features(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> [n, units] features of the embedded views."""
        return self.body.features(self.views.embedded(images))

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """[n, h, w, c] uint8 -> [n, dims] rows of length 1: whitened principal components of the features."""
        centered = self.features(images) - tf.convert_to_tensor(self.mean)
        return tf.math.l2_normalize(centered @ tf.convert_to_tensor(self.whitening), axis=1)

    def replica_step(self, step: tf.Tensor, images: tf.Tensor, labels: tf.Tensor) -> dict[str, tf.Tensor]:
        """One step of network and head; `labels` are [batch] int32 pseudo-labels of the whole batch."""
        x, labels = self.views.cropped(images, step), own(labels)
        with tf.GradientTape() as tape:
            logits = self.head(tf.nn.relu(self.body.features(x, step)))
            loss = pseudo_label_loss(logits, labels)
        gradients = tape.gradient(loss, self.players)
        for optimizer, player, grads in zip(self.optimizers, self.players, gradients, strict=True):
            optimizer.apply([g + self._options.weight_decay * v for g, v in zip(grads, player, strict=True)], player)
        hits = tf.equal(tf.argmax(logits, axis=1, output_type=labels.dtype), labels)
        return {
            "loss": loss,
            "accuracy": tf.reduce_mean(tf.cast(hits, tf.float32)),
            "agreement": tf.convert_to_tensor(self.agreement),
            "used_clusters": tf.convert_to_tensor(self.used_clusters),
        }

    def pictures(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The picture of INFO, in gray."""
        whole, crop = self.views.embedded(images) / 255, self.views.cropped(images, tf.constant(0, tf.int64)) / 255
        maps = networks.sobel(crop) / 8 + 0.5  # a Sobel map of pixels in 0..1 lies in -4..4
        rows = [*(tf.reduce_mean(x, axis=-1) for x in (whole, crop)), *tf.unstack(maps, axis=-1)]
        return {"inputs": tf.stack(rows)[..., None]}

    def data(self, images: np.ndarray, batch: int, seed: int, first: int, steps: int) -> tf.data.Dataset:
        """(step, [batch, h, w, c] uint8, [batch] int32 pseudo-labels), each gathered when its step begins.

        An epoch's order is a function of (pseudo-labels, seed, epoch).
        """

        @functools.lru_cache(maxsize=1)
        def ordered(epoch: int) -> tuple[np.ndarray, np.ndarray]:
            assert epoch == int(self.epoch.numpy()), "a batch was fetched before its epoch had begun"
            assignments = self.assignments.numpy()
            rng = seeds.counter_rng(seed, epoch)
            order = epochs.balanced_order(assignments, rng, self._options.legacy_sampling)
            return order, assignments[order]

        return epochs.batches(images, batch, first, steps, ordered)

    def between_steps(self, images: np.ndarray) -> Sequence[keras.callbacks.Callback]:
        """Begins each epoch."""
        begin = functools.partial(self.begin, images)
        return [epochs.AtEpochs(self.epoch_steps, begin, lambda: int(self.epoch.numpy()))]

    def begin(self, images: np.ndarray, epoch: int) -> None:
        """Clusters all the images and resets the head; a function of the weights, the seed and the epoch."""
        rng = seeds.counter_rng(self._stream("k-means"), epoch)
        rows = self.reduced(images)
        labels = epochs.cluster(rows, self.clusters, self._options.kmeans_iterations, int(rng.integers(2**32)))
        used = len(np.unique(labels))
        agreement = normalized_mutual_info_score(self.assignments.numpy(), labels) if epoch else 0.0
        log.info("deepcluster: epoch %d, %d of %d clusters, agreement %.3f", epoch, used, self.clusters, agreement)
        self.reset_head(epoch)
        self.used_clusters.assign(used)
        self.agreement.assign(agreement)
        self.assignments.assign(labels)
        self.epoch.assign(epoch)  # last, so that an interrupted beginning is repeated

    def reset_head(self, epoch: int) -> None:
        """Weights N(0, 0.01^2) of this epoch, biases 0; its optimizer has no state."""
        seed = (self._stream("head"), epoch)
        self.head.kernel.assign(tf.random.stateless_normal(self.head.kernel.shape, seed, 0, networks.LINEAR_STDDEV))
        self.head.bias.assign(tf.zeros(self.clusters))

    def reduced(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dims] as `encode` does, with principal components of these images."""
        centered = self.fit_whitening(images)
        if len(centered) < len(images):
            return in_chunks(self._encoded, images)
        return epochs.unit(centered @ self.whitening.numpy())

    def fit_whitening(self, images: np.ndarray) -> np.ndarray:
        """Sets what `encode` needs besides the network, from 100,000 evenly spaced images at most.

        Returns:
          [those, units] their features without the mean.
        """
        features = in_chunks(self._features, images[:: math.ceil(len(images) / _WHITENED)], chunk=256)
        if not np.isfinite(features).all():
            step = int(self.optimizer.iterations.numpy())
            raise RunError(f"deepcluster: features are NaN or infinite after step {step}; lower --deepcluster_rate")
        mean, matrix = epochs.whitening(features, self.whitening.shape[1])
        self.mean.assign(mean)
        self.whitening.assign(matrix)
        return features

    def finish(self, images: np.ndarray) -> None:
        """Finds the principal components of the final features."""
        self.fit_whitening(images)
