"""Trains learners in float64 on logical CPUs, or without a strategy, for test_replicas.py: FILE.npz REPLICAS.

A process of its own, because TensorFlow divides the CPU only before it starts, and has one group of devices.
"""

import contextlib
import sys

import numpy as np
import tensorflow as tf

import cactus_tf as ct
from cactus_tf import backbones
from cactus_tf.fewshot.augmenting import EpisodeAugmentation
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.learners._adaptation.networks import everything, everything_but_norms
from cactus_tf.learners.maml import MAML, Options
from cactus_tf.learners.protonets import ProtoNets
from cactus_tf.learners.reptile import Options as AdaptationOptions
from cactus_tf.learners.reptile import Reptile

SHAPE, WAY, TASKS, STEPS = (28, 28, 1), 3, 4, 3


def protonets():
    return ProtoNets(backbones.build("conv4", SHAPE, filters=4, norm="running", dtype="float64"))


def maml():
    network = backbones.build("conv4", SHAPE, WAY, filters=4, norm="batch", dtype="float64")
    options = Options(inner_steps=2, clip=0.1)
    adapted = AdaptedNetwork(network, rates=lambda _: options.inner_lr, adapts=everything_but_norms)
    return MAML(adapted, options, name="maml")


def reptile():
    network = backbones.build("conv4", SHAPE, WAY, filters=4, norm="batch", dtype="float64")
    options = AdaptationOptions(inner_steps=2)
    adapted = AdaptedNetwork(network, rates=lambda _: options.inner_lr, adapts=everything)
    return Reptile(adapted, options, name="reptile")


def affine(images, seed):
    """The augmentation, which computes in float32."""
    varied = ct.augmentations.build("affine")(tf.cast(images, tf.float32), seed)
    return tf.cast(varied, images.dtype)


LEARNERS = {
    "protonets": (protonets, None),
    "maml": (maml, None),
    "reptile": (reptile, None),
    "augmented": (protonets, EpisodeAugmentation(affine, rotate_classes=True)),
}


def trained(build, augment, scope, tasks):
    with scope:
        learner = build()
    losses = []
    ct.meta_train(
        learner, tasks, tasks_per_step=TASKS, steps=STEPS, augment=augment,
        on_step=lambda _, s: losses.append(s["loss"]),
    )  # fmt: skip
    return {f"v{i}": np.asarray(v.value) for i, v in enumerate(learner.variables)} | {"losses": np.array(losses)}


def main():
    file, replicas = sys.argv[1], int(sys.argv[2])
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * TASKS)
    data = ct.datasets.load("digits").train
    rows = data.images.astype(np.float64) / 255
    tasks = ct.episodes(rows, data.partitions, way=WAY, shot=1, query=2, seed=0)
    arrays = {}
    strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)]) if replicas else None
    for learner, (build, augment) in LEARNERS.items():
        scope = strategy.scope() if replicas else contextlib.nullcontext()
        for name, array in trained(build, augment, scope, tasks).items():
            arrays[f"{learner}-{name}"] = array
    np.savez(file, **arrays)


if __name__ == "__main__":
    main()
