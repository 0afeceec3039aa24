"""The features of a trained learner: what meta-learning on earlier clusters has learned becomes the next embedding."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cactus_tf import plugins
from cactus_tf.config import saved_embedders, saved_learners
from cactus_tf.config.schema import option
from cactus_tf.contracts import (
    BuiltByName,
    EmbedderContext,
    EmbedderInfo,
    FeatureLearner,
    GraphEncoder,
    Learner,
    MetaLearner,
)
from cactus_tf.embedders._base import image_arrays
from cactus_tf.embedders._base.estimator import ImageTransformer, built
from cactus_tf.errors import InputError
from cactus_tf.fewshot.training import weights_folder
from cactus_tf.utils import files, sealed, weights
from cactus_tf.utils.checkpoints import newest_digest
from cactus_tf.utils.keras_defaults import keras_defaults
from cactus_tf.utils.paths import expanded

if TYPE_CHECKING:
    import tensorflow as tf

_DESCRIPTION, _WEIGHTS, _EMBEDDER = "learner.json", "learner.weights.h5", "embedder"
_REMEDY = "embed again"


@dataclasses.dataclass(frozen=True)
class Options:
    """Settings of a learner's features."""

    run: str | None = option(None, "folder of the run that trained it; needed", source="ours", path=True)
    algo: str = option("protonets", "which learner of the run", source="ours")


def _fingerprint(options: Options | None) -> str:
    """A digest of the newest weights, or of the selected ones."""
    folder = _folder(options)
    assert options is not None
    digest = newest_digest(weights_folder(folder / options.algo))
    if digest is None:
        raise InputError(f"--learner_run={folder} has no trained {options.algo}: choose another run or --learner_algo")
    return digest


def _folder(options: Options | None) -> Path:
    if options is None or options.run is None:
        raise InputError("--embedder=learner needs a trained run: add --learner_run=RUN")
    folder = expanded(options.run)
    if not (folder / "config.json").is_file():
        raise InputError(f"--learner_run={folder} is not a run: name the folder that python -m cactus_tf.main printed")
    return folder


INFO = EmbedderInfo(seeded=False, fingerprint=_fingerprint, takes_learner=True, takes_names=True)


def build(context: EmbedderContext, options: Options | None = None) -> LearnerFeatures:
    """The features of a learner that `use` is given."""
    return LearnerFeatures()


class LearnerFeatures(ImageTransformer):
    """z = f(x), the features of a trained learner such as ProtoNets; f(g(x)) if it takes the embeddings g(x) of images.

    Nothing is fitted.
    """

    def __init__(self) -> None:
        self._learner: Any = None
        self._embedder: Any = None  # one that was built by name

    def use(self, learner: Learner) -> LearnerFeatures:
        """Takes the learner, and the embedder that it was built with if it takes embeddings; returns itself.

        Raises:
          InputError: a learner without features of single images, or one that was not built by name.
        """
        name, context, _ = saved_learners.of(learner)
        if not isinstance(learner, FeatureLearner):
            raise InputError(f"{name} has no features of single images: take a learner that has, such as protonets")
        on_embeddings = learner.consumes == "embeddings"
        if on_embeddings and not isinstance(context.embedder, BuiltByName):
            raise InputError(f"{name} takes embeddings, and no embedder of ours makes them: take a learner of images")
        self._learner, self._embedder = learner, context.embedder if on_embeddings else None
        return self

    def fit(
        self,
        images: np.ndarray,
        y: Any = None,
        *,
        seed: int = 0,
        folder: Path | None = None,
        callbacks: Sequence = (),
        names: np.ndarray | None = None,
    ) -> LearnerFeatures:
        """Checks the images and returns itself.

        Raises:
          InputError: there is no learner, or the images are of another shape.
        """
        image_arrays.check_images(images)
        own, these = self._shape(), images.shape[1:]
        if these != own:
            remedy = f"set --image_size={own[0]}, or choose" if these[2] == own[2] else "choose"
            raise InputError(
                f"--learner_run: its learner takes {image_arrays.text(own)} images, and these are "
                f"{image_arrays.text(these)}: {remedy} another run"
            )
        return self

    def transform(self, images: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        """[n, h, w, c] uint8 -> [n, dim] float32.

        Args:
          images: to embed.
          names: [n] bytes, their files, for an embedder before the learner that takes them.

        Raises:
          InputError: there is no learner, or the images are of another shape.
        """
        image_arrays.check_images(images, self._shape())
        rows = images
        if self._embedder is not None:
            looks_up = plugins.info("embedders", self._embedder.recipe.name).takes_names
            rows = self._embedder.transform(images, **({"names": names} if looks_up and names is not None else {}))
        return image_arrays.in_chunks(self._learner.features, rows, chunk=1024)

    def encode(self, images: tf.Tensor) -> tf.Tensor:
        """As `transform`, of a tensor, by TensorFlow.

        Raises:
          InputError: the learner, or the embedder before it, does not work in a graph.
        """
        for part in (self._embedder, self._learner):
            if part is not None and not isinstance(part, GraphEncoder):
                name = part.recipe.name
                raise InputError(f"{name} does not run in a TensorFlow graph, so this embedder cannot be exported")
        return self._learner.encode(self._embedder.encode(images) if self._embedder else images)

    def save(self, folder: Path) -> None:
        """Writes the learner's recipe and weights, and the embedder before it."""
        self._shape()
        folder = files.make_folder(Path(folder), "save")
        weights.save(self._learner.variables, folder / _WEIGHTS)
        description = saved_learners.described(saved_learners.of(self._learner))
        if self._embedder is not None:
            self._embedder.save(files.make_folder(folder / _EMBEDDER, "save"))
            description |= saved_embedders.described(self._embedder.recipe)
        sealed.write(folder / _DESCRIPTION, description)

    def load(self, folder: Path) -> LearnerFeatures:
        """Restores what `save` wrote and returns itself.

        Raises:
          InputError: the folder holds no such embedder, or a damaged one.
        """
        folder, embedder = Path(folder), None
        saved = sealed.read(folder / _DESCRIPTION, _REMEDY)
        if "embedder" in saved:
            recipe = saved_embedders.read(saved["embedder"], saved["embedder_context"], saved["embedder_options"])
            embedder = built(recipe).load(folder / _EMBEDDER)
        recipe = saved_learners.read(saved["learner"], saved["context"], saved["options"], embedder)
        path = folder / _WEIGHTS
        with keras_defaults(), weights.limited(path.stat().st_size if path.is_file() else 0, folder / _DESCRIPTION):
            learner = plugins.load("learners", recipe.name).build(recipe.context, recipe.options)
        learner.recipe = recipe
        assert isinstance(learner, MetaLearner)
        weights.load(learner.variables, path)
        return self.use(learner)

    def __sklearn_is_fitted__(self) -> bool:
        return self._learner is not None

    def _shape(self) -> tuple[int, ...]:
        """(height, width, channels) of the learner's images."""
        if self._learner is None:
            raise InputError("there is no learner yet: call use with a trained one, or load")
        return tuple(self._learner.recipe.context.image_shape)
