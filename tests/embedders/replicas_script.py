"""Fits embedders on logical CPUs, or without a strategy, for test_replicas.py: REPLICAS FOLDER STOP FILE.npz.

Each fit resumes what FOLDER holds of it, and is stopped after STOP steps unless that is 0. A process of its own, as
TensorFlow divides the CPU only before it starts, and has one group of devices.
"""

import contextlib
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from cactus_tf import embedders
from cactus_tf.embedders._base.fitting import state

DEVICES = 4
CASES = {
    "acai": ("acai", 16, {"depth": 4, "batch": 8}),
    "bigan, mlp": ("bigan", 16, {"units": 16, "batch": 16, "network": "mlp", "deploy_batches": 2}),
    "bigan, conv": ("bigan", 66, {"filters": 4, "batch": 16, "network": "conv", "deploy_batches": 2}),
    "infogan": ("infogan", 28, {"depth": 4, "batch": 16}),
    "deepcluster": ("deepcluster", 16, {"batch": 16, "clusters": 6, "dims": 8, "flip": True}),
}


class Watch(keras.callbacks.Callback):
    """Keeps each step's scalars, and ends the fit as Ctrl-C does."""

    def __init__(self, stop):
        super().__init__()
        self.stop, self.scalars = stop, []

    def on_train_batch_end(self, batch, logs=None):
        self.scalars.append(dict(logs))
        if batch + 1 == self.stop:
            raise KeyboardInterrupt


def fitted(name, side, settings, strategy, folder, stop):
    """Everything that a fit changes, by name; the scalars of its steps; embeddings, unless it was stopped."""
    images = np.random.default_rng(0).integers(0, 256, (48, side, side, 1), np.uint8)
    with strategy.scope() if strategy else contextlib.nullcontext():
        embedder = embedders.build(name, steps=4, **settings)
    watch, embeddings = Watch(stop), {}
    with contextlib.suppress(KeyboardInterrupt):
        embedder.fit(images, folder=folder, callbacks=[watch])
        embeddings = {"embeddings": embedder.transform(images)}
        assert not any(isinstance(v.value, tf.distribute.DistributedValues) for v in embedder.model.weights)
    assert isinstance(watch.model.weights[0].value, tf.distribute.DistributedValues) == (strategy is not None)
    variables = {f"{i} {v.path.split('/')[-1]}": v.numpy() for i, v in enumerate(state(watch.model))}
    scalars = {f"each step's {name}": [one[name] for one in watch.scalars] for name in watch.scalars[0]}
    return {**variables, **scalars, **embeddings}


def main():
    replicas, folder, stop, file = int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * DEVICES)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)]) if replicas else None
    arrays = {}
    for case, (name, side, settings) in CASES.items():
        for key, array in fitted(name, side, settings, strategy, folder / case, stop).items():
            arrays[f"{case}: {key}"] = array
    np.savez(file, **arrays)


if __name__ == "__main__":
    main()
