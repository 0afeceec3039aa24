"""An embedder around a network that is trained step by step."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cactus_tf.config.schema import check_ranges
from cactus_tf.embedders._base import image_arrays, saving
from cactus_tf.embedders._base.fitting import HISTORY, Network, Plan, fit_steps
from cactus_tf.embedders._base.transformer import Transformer
from cactus_tf.errors import InputError, RunError
from cactus_tf.utils import history, seeds


class TrainedEmbedder(Transformer):
    """An embedder around a network that is trained step by step.

    Args:
      name: of the embedder.
      network: (options, plan) -> compiled model with its initial weights.
      options: frozen dataclass with a field `batch`, images per step.
      steps: length of the training.
      sized: (options, number of images) -> (options, steps), what only the number of images can tell; None where all
        is told.

    Raises:
      InputError: an option out of its range.
    """

    def __init__(
        self,
        name: str,
        network: Callable[[Any, Plan], Network],
        options: Any,
        steps: int | None,
        sized: Callable[[Any, int], tuple[Any, int]] | None = None,
    ):
        check_ranges(options, f"--{name}_")
        self._name, self._network, self._options, self._steps, self._sized = name, network, options, steps, sized
        self._plan: Plan | None = None
        self._history: list[dict[str, float]] = []
        self.model: Network | None = None

    def fit(
        self, images: np.ndarray, y: Any = None, *, seed: int = 0, folder: Path | None = None, callbacks: Sequence = ()
    ):
        """Learns from [n, h, w, c] uint8 images and returns itself; see `contracts.Embedder`.

        Raises:
          InputError: images that the network does not take, or fewer than a batch.
          RunError: the training diverged.
        """
        image_arrays.check_images(images)
        if self._sized:
            self._options, self._steps = self._sized(self._options, len(images))
        if len(images) < self._options.batch:
            raise InputError(
                f"{self._name}: {len(images)} images are fewer than a batch of {self._options.batch}: "
                f"lower --{self._name}_batch or give more images"
            )
        assert self._steps is not None
        plan = Plan(tuple(images.shape[1:]), len(images), self._steps, seed)
        model = self._network(self._options, plan)
        order = seeds.derive(seed, f"{self._name} batches")
        data = functools.partial(model.data, images, self._options.batch, order, steps=self._steps)
        identity = {"embedder": self._name, **self._description(plan)}
        if not model.scheduled:
            del identity["steps"]  # a longer fit goes on from a shorter one
        self._history = fit_steps(
            self._name,
            model,
            data,
            self._steps,
            folder=None if folder is None else Path(folder),
            identity=identity,
            callbacks=[*model.between_steps(images), *callbacks],
        )
        model.finish(images)
        self._hold(model, plan)
        return self

    @property
    def curve(self) -> list[dict[str, float]]:
        """The learning curve: {"step": finished steps, scalar: value, ...} in the order of steps."""
        return self._history

    def transform(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32, in bounded memory.

        Raises:
          InputError: not fitted yet, or images of another shape.
          RunError: an embedding is NaN or infinite.
        """
        _, plan = self._fitted()
        image_arrays.check_images(images, plan.image_shape)
        rows = image_arrays.in_chunks(lambda part: self._encode(part).numpy(), images)
        if not np.isfinite(rows).all():
            raise RunError(f"{self._name} gives NaN or infinite embeddings; fit it anew, with a lower rate")
        return rows

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """As `transform`, of a tensor, all at once.

        Raises:
          InputError: not fitted yet.
        """
        self._fitted()
        return self._encode(images)

    def save(self, folder: Path) -> None:
        """Writes embedder.json, arrays.npz (Keras' `model.weights`, in their order) and history.csv."""
        model, plan = self._fitted()
        weights = [weight.numpy() for weight in model.weights]
        folder = saving.write(folder, self._name, self._description(plan), weights)
        history.write(folder / HISTORY, self._history)

    def load(self, folder: Path):
        """Restores what `save` wrote, with the options it was fitted with, and returns itself.

        Raises:
          InputError: the folder holds no such embedder, or a damaged one.
        """
        with saving.reading(folder, self._name) as (there, weights):
            plan = Plan(tuple(there["image_shape"]), there["images"], there["steps"], there["seed"])
            self._options = type(self._options)(**there["options"])
            model = self._network(self._options, plan)
            model.set_weights(weights)
        self._history = history.read(Path(folder) / HISTORY, plan.steps)
        self._hold(model, plan)
        return self

    def _description(self, plan: Plan) -> dict[str, Any]:
        return {
            "image_shape": list(plan.image_shape),
            "images": plan.images,
            "steps": plan.steps,
            "seed": plan.seed,
            "options": dataclasses.asdict(self._options),
        }

    def _hold(self, model: Network, plan: Plan) -> None:
        self.model, self._plan = model, plan
        signature = tf.TensorSpec((None, *plan.image_shape), tf.uint8)
        self._encode = tf.function(model.encode, input_signature=[signature])

    def _fitted(self) -> tuple[Network, Plan]:
        if self.model is None or self._plan is None:
            raise InputError(f"{self._name} is not fitted yet; call fit or load first")
        return self.model, self._plan
