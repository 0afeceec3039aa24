"""Trains learners in float64 on logical CPUs, or without a strategy, for test_replicas.py: FILE.npz REPLICAS.

A process of its own, because TensorFlow divides the CPU only before it starts, and has one group of devices.
"""

import contextlib
import sys

import numpy as np
import tensorflow as tf

import cactus_tf as ct
from cactus_tf import backbones
from cactus_tf.learners._adaptation.inner_loop import AdaptedNetwork
from cactus_tf.learners._adaptation.networks import everything_but_norms
from cactus_tf.learners.maml import MAML, Options
from cactus_tf.learners.protonets import ProtoNets

SHAPE, WAY, TASKS, STEPS = (28, 28, 1), 3, 4, 3


def protonets():
    return ProtoNets(backbones.build("conv4", SHAPE, filters=4, norm="running", dtype="float64"))


def maml():
    network = backbones.build("conv4", SHAPE, WAY, filters=4, norm="batch", dtype="float64")
    options = Options(inner_steps=2, clip=0.1)
    adapted = AdaptedNetwork(network, rates=lambda _: options.inner_lr, adapts=everything_but_norms)
    return MAML(adapted, options, name="maml")


def trained(build, scope, tasks):
    with scope:
        learner = build()
    losses = []
    ct.meta_train(learner, tasks, tasks_per_step=TASKS, steps=STEPS, on_step=lambda _, s: losses.append(s["loss"]))
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
    for build in (protonets, maml):
        scope = strategy.scope() if replicas else contextlib.nullcontext()
        for name, array in trained(build, scope, tasks).items():
            arrays[f"{build.__name__}-{name}"] = array
    np.savez(file, **arrays)


if __name__ == "__main__":
    main()
