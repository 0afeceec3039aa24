"""An embedder around a network that is trained step by step."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from cactus_tf.config import keys
from cactus_tf.config.schema import check_ranges, from_saved, option
from cactus_tf.embedders._base import image_arrays, saving
from cactus_tf.embedders._base.estimator import ImageTransformer
from cactus_tf.embedders._base.fitting import fit_steps
from cactus_tf.embedders._base.network import Network, NetworkContext
from cactus_tf.errors import InputError
from cactus_tf.utils import history, seeds, weights
from cactus_tf.utils.keras_defaults import keras_defaults
from cactus_tf.utils.paths import expanded

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Description:
    """The content of embedder.json."""

    image_shape: tuple[int, ...] = option(dataclasses.MISSING, "(height, width, channels)", low=1, high=1 << 16)
    images: int = option(dataclasses.MISSING, "number of training images", low=1)
    steps: int = option(dataclasses.MISSING, "length of the training", low=1)
    seed: int = option(dataclasses.MISSING, "of the fit", low=0)
    options: Mapping[str, Any] = option(dataclasses.MISSING, "the embedder's own settings")


class TrainedEmbedder(ImageTransformer):
    """An embedder around a network that is trained step by step.

    Args:
      name: of the embedder.
      network: (options, context) -> compiled model with its initial weights.
      options: frozen dataclass with a field `batch`, images per step.
      steps: length of the training.
      sized: (options, steps, number of images) -> (options, steps): fills what depends on the number of images.

    If it is built in the scope of a `tf.distribute` strategy, its replicas share every batch of a fit.

    Attributes:
      model: the trained network, on one device; None before `fit` or `load`.
      curve: the learning curve: {"step": finished steps, scalar: value, ...} in the order of steps.

    Raises:
      InputError: an option out of its range.
    """

    def __init__(
        self,
        name: str,
        network: Callable[[Any, NetworkContext], Network],
        options: Any,
        steps: int | None,
        sized: Callable[[Any, int | None, int], tuple[Any, int]] | None = None,
    ):
        check_ranges(options, f"--{name}_")
        self.name, self.network, self.options, self.steps, self.sized = name, network, options, steps, sized
        self._strategy = tf.distribute.get_strategy() if tf.distribute.has_strategy() else None
        self.model: Network | None = None
        self.curve: list[dict[str, float]] = []

    def fit(
        self, images: np.ndarray, y: Any = None, *, seed: int = 0, folder: Path | None = None, callbacks: Sequence = ()
    ) -> TrainedEmbedder:
        """Trains on [n, h, w, c] uint8 images and returns itself; see `contracts.Embedder`.

        Raises:
          InputError: images that the network does not take, fewer than a batch, or an open scope of a strategy.
          RunError: the training diverged.
        """
        if tf.distribute.has_strategy():
            raise InputError("fit must run outside of strategy.scope(): only build the embedder in it")
        image_arrays.check_images(images)
        options, steps = self._sized(len(images))
        context = NetworkContext(tuple(images.shape[1:]), len(images), steps, seed)
        strategy = self._dividing(options.batch)
        with strategy.scope() if strategy else contextlib.nullcontext():
            model = self._made(options, context)
        order = seeds.derive(seed, f"{self.name} batches")
        identity = {"embedder": self.name, **_description(options, context)}
        identity["options"] = keys.relevant(self.name, options)  # a later setting at its default changes no fit
        if not model.scheduled:
            del identity["steps"]  # a longer fit resumes a shorter one
        self.curve = fit_steps(
            self.name,
            model,
            functools.partial(model.data, images, options.batch, order, steps=steps),
            steps,
            folder=None if folder is None else expanded(folder),
            identity=identity,
            callbacks=[*model.between_steps(images), *callbacks],
        )
        model.finish(images)
        if strategy:  # from now on, one device
            divided, model = model, self._made(options, context)
            model.set_weights(divided.get_weights())
        self._set_fitted(model, options, context)
        return self

    def transform(self, images: np.ndarray) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32, in bounded memory.

        Raises:
          InputError: not fitted yet, or images of another shape.
        """
        self._check_fitted()
        image_arrays.check_images(images, self._context.image_shape)
        return image_arrays.in_chunks(lambda part: self._encode(part).numpy(), images)

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """As `transform`, of a tensor, all at once.

        Raises:
          InputError: not fitted yet.
        """
        self._check_fitted()
        return self._encode(images)

    def pictures(self, images: Any) -> dict[str, tf.Tensor]:
        """{name: [rows, columns, h, w, c] in 0..1} for a few images, [m, h, w, c] uint8, by the names of INFO.pictures.

        Raises:
          InputError: not fitted yet.
        """
        return self._check_fitted().pictures(tf.convert_to_tensor(images))

    def save(self, folder: Path) -> None:
        """Writes embedder.json, arrays.npz (Keras' `model.weights`, in their order) and history.csv."""
        arrays = [weight.numpy() for weight in self._check_fitted().weights]
        folder = saving.write(folder, self.name, _description(self._options, self._context), arrays)
        history.write(folder / history.NAME, self.curve)

    def load(self, folder: Path) -> TrainedEmbedder:
        """Restores what `save` wrote, with the options of that fit, and returns itself.

        Raises:
          InputError: the folder holds no such embedder, a damaged one, or one with an unknown setting.
        """
        with saving.reading(folder, self.name) as (description, arrays):
            saved: _Description = from_saved(_Description, description)
            context = NetworkContext(saved.image_shape, saved.images, saved.steps, saved.seed)
            options = saving.options(type(self.options), saved.options, folder)
            with weights.limited(sum(array.nbytes for array in arrays), expanded(folder)):
                model = self._made(options, context)
            model.set_weights(arrays)
        self.curve = history.read(expanded(folder) / history.NAME, context.steps)
        self._set_fitted(model, options, context)
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return self.model is not None

    @keras_defaults()
    def _made(self, options: Any, context: NetworkContext) -> Network:
        """The network with its initial weights."""
        return self.network(options, context)

    def _sized(self, images: int) -> tuple[Any, int]:
        options, steps = self.sized(self.options, self.steps, images) if self.sized else (self.options, self.steps)
        if images < options.batch:
            raise InputError(
                f"{self.name}: {images} images are fewer than a batch of {options.batch}: "
                f"lower --{self.name}_batch or give more images"
            )
        assert steps is not None
        return options, steps

    def _dividing(self, batch: int) -> tf.distribute.Strategy | None:
        """The strategy that divides the batches; None for one device, also where they cannot be divided in pairs."""
        devices = self._strategy.num_replicas_in_sync if self._strategy else 1
        if devices > 1 and batch % (2 * devices):
            message = "%s: batches of %d images cannot be divided in pairs among %d devices: it is fitted on one device"
            log.warning(message, self.name, batch, devices)
            return None
        if self._strategy:
            log.info("%s: %d devices share each batch of %d images", self.name, devices, batch)
        return self._strategy

    def _set_fitted(self, model: Network, options: Any, context: NetworkContext) -> None:
        self.model, self._options, self._context = model, options, context
        signature = tf.TensorSpec((None, *context.image_shape), tf.uint8)
        self._encode = tf.function(model.encode, input_signature=[signature])

    def _check_fitted(self) -> Network:
        if self.model is None:
            raise InputError(f"{self.name} is not fitted yet; call fit or load first")
        return self.model


def _description(options: Any, context: NetworkContext) -> dict[str, Any]:
    return {
        "image_shape": list(context.image_shape),
        "images": context.images,
        "steps": context.steps,
        "seed": context.seed,
        "options": dataclasses.asdict(options),
    }
