"""Looks for the reason why BiGAN does not invert Omniglot: trainings that differ in one thing. No label is used.

    python benchmarks/bigan_collapse.py --data_dir=DATA [--variants=omniglot,mnist,...] [--steps=6000] [--out=FILE]

DATA has the folders omniglot and mnist. Each variant trains the fully connected networks (omniglot_conv: the
convolutional ones), at the constant rate of the first half of a training unless --length says otherwise, and prints at
500, 1000, 2000, 4000, 6000 and 8000 steps and at the end:

- loss: the discriminator's, over the last 50 steps (0.693 is a guess, 0 is certainty),
- reconstruction: mean squared difference of G(E(x)) from x, relative to the variance of the images (1: no better than
  their mean),
- spread: the variance of samples G(z) over z, relative to that of the images (0: every code gives the same sample),
- codes: the variance of E(x) over images, relative to the prior's 1/3,
- logits of the discriminator for pairs: real (x, E(x)) and made (G(z), z), which it is trained to tell apart, and the
  mixed (x, z) and (G(z), E(x)). If (x, z) is near real and (G(z), E(x)) near made, it judges the image alone.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cactus_tf import datasets, embedders
from cactus_tf.embedders.bigan.losses import prior
from cactus_tf.utils import sealed
from cactus_tf.utils.machine import machine

# isort: split
# TensorFlow comes after cactus_tf, which chooses its faster kernels
import keras
import numpy as np
import tensorflow as tf

AT, LAST, IMAGES = (500, 1000, 2000, 4000, 6000, 8000), 50, 512
HEAD = ["training", "step", "loss", "reconstruction", "spread", "codes", "real", "made", "(x, z)", "(G(z), E(x))"]


def smooth(images: np.ndarray) -> np.ndarray:
    """Each pixel becomes the mean of the 3x3 around it: gray edges, as MNIST has."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0))).astype(np.uint16)
    shifts = [padded[:, i : i + 28, j : j + 28] for i in range(3) for j in range(3)]
    return (sum(shifts) // 9).astype(np.uint8)


def binary(images: np.ndarray) -> np.ndarray:
    """Ink or paper, as Omniglot has."""
    return np.where(images > 127, 255, 0).astype(np.uint8)


VARIANTS: dict[str, tuple[str, Callable[[np.ndarray], np.ndarray] | None, dict[str, Any]]] = {
    "omniglot": ("omniglot", None, {"dims": 200}),
    "omniglot_50": ("omniglot", None, {"dims": 50}),
    "omniglot_smooth": ("omniglot", smooth, {"dims": 200}),
    "omniglot_conv": ("omniglot", None, {"dims": 200, "network": "conv", "filters": 16}),
    "mnist": ("mnist", None, {"dims": 50}),
    "mnist_binary": ("mnist", binary, {"dims": 50}),
}


class Measurements(keras.callbacks.Callback):
    """Measures at the steps of AT, and ends the training at the step `stop`."""

    def __init__(self, images: np.ndarray, stop: int):
        super().__init__()
        self.images = images[np.linspace(0, len(images) - 1, IMAGES).astype(int)]
        self.at, self.stop = {*(step for step in AT if step < stop), stop}, stop
        self.losses: list[float] = []
        self.lines: list[list[str]] = []

    def on_train_batch_end(self, batch, logs=None):
        self.losses.append(float(logs["discriminator_loss"]))
        if batch + 1 in self.at:
            values = [float(np.mean(self.losses[-LAST:])), *self.measured()]
            self.lines.append([f"{batch + 1:,}", *(f"{value:.2f}" for value in values)])
            print(" | ".join(self.lines[-1]), flush=True)
        self.model.stop_training = batch + 1 >= self.stop

    def measured(self) -> list[float]:
        """What HEAD names after the loss."""
        model = self.model
        x = model.form.encoding(tf.constant(self.images))
        z = prior((IMAGES, model.encoder.output_shape[-1]), tf.constant([1, 2], tf.int64))
        codes, samples = model.encoder(x, training=True), model.generator(z, training=True)
        pairs = [(x, codes), (samples, z), (x, z), (samples, codes)]
        logits = [float(tf.reduce_mean(model.discriminator(list(pair), training=True))) for pair in pairs]
        variance = float(tf.reduce_mean(tf.math.reduce_variance(x, axis=0)))
        again = model.generator(codes, training=True)
        return [
            float(tf.reduce_mean((again - x) ** 2)) / variance,
            float(tf.reduce_mean(tf.math.reduce_variance(samples, axis=0))) / variance,
            3 * float(tf.reduce_mean(tf.math.reduce_variance(codes, axis=0))),
            *logits,
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, default=os.environ.get("CACTUS_DATA_DIR"))
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--length", type=int, help="steps of the whole training; default: twice --steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a JSON file of all lines; finished variants are not repeated")
    args = parser.parse_args()
    if not args.data_dir:
        parser.error("give --data_dir=FOLDER or set CACTUS_DATA_DIR")
    saved = sealed.read(args.out, "delete it") if args.out and args.out.exists() else {}
    lines = saved.get("lines", [])
    settings = {"steps": args.steps, "length": args.length, "seed": args.seed}
    if any(saved.get(name, value) != value for name, value in settings.items()):
        parser.error(f"--out={args.out} has trainings of another --steps, --length or --seed: name another file")
    for name in args.variants.split(","):
        dataset, change, options = VARIANTS[name]
        part = "whole training" if args.length == args.steps else "part of a training"
        title = f"{name}, {part} of {args.length:,} steps" if args.length else name
        if any(line[0] == title for line in lines):
            continue
        print(title, flush=True)
        images = datasets.load(dataset, args.data_dir / dataset).train.images
        images = change(images) if change else images
        measurements = Measurements(images, args.steps)
        embedder = embedders.build(
            "bigan", dataset=dataset, steps=args.length or 2 * args.steps, deploy_batches=1, **options
        )
        embedder.fit(images, seed=args.seed, callbacks=[measurements])
        lines += [[title, *line] for line in measurements.lines]
        if args.out:
            sealed.write(args.out, {**settings, "machine": machine(), "head": HEAD, "lines": lines})


if __name__ == "__main__":
    main()
